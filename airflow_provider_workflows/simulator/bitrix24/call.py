"""One call of a method, and what can come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.listing import PAGE
from airflow_provider_workflows.simulator.world import World


class ApiError(Exception):
    """
    An error reply.

    :param status: the HTTP status
    :param code: the value of ``error``, which may be empty
    :param description: the value of ``error_description``
    """

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(f"{status} {code}: {description}")
        self.status = status
        self.code = code
        self.description = description

    def body(self) -> dict[str, str]:
        """Return the two keys that stand in the reply."""
        return {"error": self.code, "error_description": self.description}


@dataclass(frozen=True)
class Caller:
    """
    Who sends a request, and what they may do.

    :param app: the webhook or application, which has its own account of running time
    :param user: for whom it acts
    :param auth: how it shows that: ``webhook``, ``auth``, ``access_token`` (parameters) or ``bearer`` (the header)
    :param admin: whether the user is an administrator
    :param scopes: which scopes it was given
    """

    app: str
    user: int
    auth: str
    admin: bool
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """
        Whether it was given a scope; those of users come in three sizes.

        :param scope: the scope, empty for what needs none
        """
        wanted = ("user", "user_basic", "user_brief") if scope == "user" else (scope,)
        return not scope or not set(self.scopes).isdisjoint(wanted)


@dataclass
class Answer:
    """A result, with the two extra keys of a list."""

    result: Any
    total: int | None = None
    next: int | None = None


@dataclass
class Call:
    """One call of a method, alone or in a batch."""

    world: World
    params: dict[str, Any]
    caller: Caller

    def upper(self, name: str) -> Any:
        """
        Return a parameter of a bizproc method, whose names may be in either case; upper case wins.

        :param name: its name in upper case
        """
        if name in self.params:
            return self.params[name]
        return next((value for key, value in self.params.items() if key.upper() == name), None)

    def start(self) -> int:
        """Return the offset of the wanted page."""
        given = self.params.get("start")
        if given is None and self.world.settings.start_any_case:
            given = self.upper("START")
        return php.integer(given)

    def page(self, rows: list[Any], show: Callable[[Any], Any]) -> Answer:
        """
        Return the wanted page of a list.

        :param rows: the whole list
        :param show: makes the result's element of a row
        """
        start = self.start()
        counts = start >= 0 or self.world.settings.start_minus_one == "counts"
        start = max(start, 0)
        end = start + PAGE
        page = [show(row) for row in rows[start:end]]
        if not counts:
            return Answer(page)
        return Answer(page, total=len(rows), next=end if end < len(rows) else None)
