"""Filters over running workflows (API page "Get a list of running workflows").

The portal silently drops a filter key that it does not know and then lists *more*. So each key is checked
before it is sent, and each row that comes back is checked against the filter again.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self

from airflow_provider_workflows.bitrix24.calls import WORKFLOW_FIELDS
from airflow_provider_workflows.bitrix24.models import DATE_FIELDS, Workflow
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.spelling import did_you_mean

#: The dates that change while a workflow runs.
CHANGING_DATES = frozenset({"MODIFIED", "OWNED_UNTIL"})
NUMBER_FIELDS = frozenset({"STARTED_BY", "TEMPLATE_ID"})

#: The operators that every version of the portal knows; equality has none.
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "!": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UP_TO = {"", "<", "<="}
#: Newer spellings, sent in the old way, which both old and new portals understand.
SPELLINGS = {"=": "", "!=": "!"}


class FilterError(ArgumentError):
    """A filter that is not sent, because the portal would read it as a wider one."""


def parse_key(key: Any) -> tuple[str, str]:
    """Return operator and field of a key such as ``<STARTED``, in the spelling in which they are sent.

    :raises FilterError: with the key, and what would be right.
    """
    match = re.fullmatch(r"([!<>=]*)(\w+)", str(key))
    sign, name = match.groups() if match else ("", str(key))
    sign, name = SPELLINGS.get(sign, sign), name.upper()
    if name not in WORKFLOW_FIELDS:
        meant = did_you_mean(name.lstrip("%<>=!?@~"), WORKFLOW_FIELDS)
        raise FilterError(f"filters: unknown field {key!r}{meant}; known fields are {', '.join(WORKFLOW_FIELDS)}")
    if sign not in OPERATORS:
        raise FilterError(f"filters: unknown operator in {key!r}; known operators are = != ! < <= > >=")
    return sign, name


def narrows(sign: str, field: str) -> bool:
    """Return whether a key names certain workflows, templates or times, and does not only leave some out."""
    return sign != "!" and field in {"ID", "TEMPLATE_ID", *DATE_FIELDS}


@dataclass(frozen=True, slots=True)
class Condition:
    """One key and value of a filter.

    :param operator: one of ``""`` (equal), ``!``, ``<``, ``<=``, ``>``, ``>=``.
    :param field: name of a field, in capitals.
    :param value: a ``datetime`` with time zone, ``int`` or ``str``, as the field needs.
    """

    operator: str
    field: str
    value: datetime | int | str

    @classmethod
    def parse(cls, key: str, value: Any) -> Self:
        """Read a key such as ``<STARTED`` and its value.

        :raises FilterError: with the field's name, and what would be right.
        """
        sign, name = parse_key(key)
        return cls(sign, name, _typed(name, key, value))

    @property
    def key(self) -> str:
        """The key as it is sent."""
        return self.operator + self.field

    def is_past(self, now: datetime | None) -> bool:
        """Return whether it names a moment that is over.

        :param now: the portal's time, if it is known.
        """
        return isinstance(self.value, datetime) and now is not None and self.value < now

    def is_steady(self, now: datetime | None) -> bool:
        """Return whether a running workflow that does not meet it now never will.

        :param now: the portal's time, if it is known.
        """
        if self.field in CHANGING_DATES:
            # They change to the time of the change, or a later one.
            return self.operator in _UP_TO and self.is_past(now)
        # Documents can be merged.
        return self.field != "DOCUMENT_ID"

    def matching(self, workflows: Iterable[Workflow]) -> list[Workflow]:
        """Return those workflows that meet the condition.

        :raises FilterError: if the portal gave the field in a form that cannot be compared.
        """
        meets, value, blank_meets = OPERATORS[self.operator], self.value, self.operator == "!"
        values = [(workflow, workflow.get(self.field)) for workflow in workflows]
        if isinstance(value, datetime):
            for _, found in values:
                if found is not None and not (isinstance(found, datetime) and found.tzinfo):
                    raise FilterError(
                        f"filters: the portal sends {self.field} as {found!r}, which is no ISO 8601 date with time "
                        f"zone, so the rows cannot be checked against {self.key!r}"
                    )
        return [one for one, found in values if (blank_meets if found is None else meets(found, value))]


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """A checked filter over running workflows.

    :param conditions: all of them must hold; none means every running workflow.
    :param by_clock: whether one of them, on OWNED_UNTIL, was made of the present, by this machine's clock.
    """

    conditions: tuple[Condition, ...] = ()
    by_clock: bool = False

    @classmethod
    def parse(
        cls,
        filters: Mapping[str, Any] | None = None,
        *,
        stuck_for: timedelta | None = None,
        now: datetime | None = None,
    ) -> Self:
        """Check a FILTER object.

        :param filters: e.g. ``{"<STARTED": "2026-01-01T00:00:00Z", "TEMPLATE_ID": 12}``. Field names in any
            case; operators ``=`` (or none), ``!=``, ``!``, ``<``, ``<=``, ``>``, ``>=``. Dates are ISO 8601
            texts or ``datetime``; without a time zone they are UTC; parts of a second are dropped.
        :param stuck_for: only workflows whose lock (OWNED_UNTIL) ended this long ago. Bitrix24 calls a workflow
            stuck after 5 minutes.
        :param now: the present by the portal's clock, for ``stuck_for``; default: by this machine's, and where that
            differs from the portal's, listing makes up for it.
        :raises FilterError: with the field's name, and what would be right.
        """
        # An empty text, as a template may leave it, is an error, not a filter that every workflow meets.
        if filters is not None and not isinstance(filters, Mapping):
            raise FilterError(f"filters must be a mapping of field to value, not {type(filters).__name__}")
        conditions = [Condition.parse(key, value) for key, value in (filters or {}).items()]
        if stuck_for is not None:
            if stuck_for < timedelta(0):
                raise FilterError("stuck_for must not be negative")
            since = (now or datetime.now(UTC)) - stuck_for
            conditions.append(Condition.parse("<OWNED_UNTIL", since))
        keys = [condition.key for condition in conditions]
        for key in keys:
            if keys.count(key) > 1:
                raise FilterError(f"filters: {key!r} is given twice (or also by stuck_for); only one could be sent")
        return cls(tuple(conditions), by_clock=stuck_for is not None and now is None)

    @property
    def fields(self) -> set[str]:
        """The fields that must be read to check rows against it, and the id."""
        return {"ID", *(condition.field for condition in self.conditions)}

    def params(self) -> dict[str, int | str]:
        """Return the FILTER object as it is sent."""
        return {
            one.key: one.value.isoformat() if isinstance(one.value, datetime) else one.value for one in self.conditions
        }

    def moved(self, by: timedelta) -> Self:
        """Return the filter for ``stuck_for`` by a clock that is ahead by this much.

        :param by: how much the portal's clock is ahead of this machine's.
        """
        moved = [
            replace(one, value=one.value + by) if one.key == "<OWNED_UNTIL" and isinstance(one.value, datetime) else one
            for one in self.conditions
        ]
        return replace(self, conditions=tuple(moved)) if self.by_clock else self

    def steady(self, now: datetime | None) -> Self:
        """Return the filter without the conditions that a running workflow can begin to meet.

        :param now: the portal's time, if it is known.
        """
        steady = tuple(condition for condition in self.conditions if condition.is_steady(now))
        return self if steady == self.conditions else replace(self, conditions=steady)

    def is_closed(self, now: datetime | None) -> bool:
        """Return whether no workflow that is started from now on can match.

        :param now: the portal's time, if it is known.
        """
        return any(
            condition.operator in _UP_TO and (condition.is_past(now) or condition.field == "ID")
            for condition in self.conditions
        )

    def started_before(self, moment: datetime) -> Self:
        """Return the filter of those that match and were started before."""
        return self._bounded("<STARTED", min, moment)

    def started_since(self, moment: datetime) -> Self:
        """Return the filter of those that match and were started then or later."""
        return self._bounded(">=STARTED", max, moment)

    def _bounded(self, key: str, tighter: Callable[..., datetime], moment: datetime) -> Self:
        given = [one.value for one in self.conditions if one.key == key and isinstance(one.value, datetime)]
        others = (one for one in self.conditions if one.key != key)
        return replace(self, conditions=(*others, Condition.parse(key, tighter([moment, *given]))))

    def matching(self, workflows: Iterable[Workflow]) -> list[Workflow]:
        """Return those workflows that meet every condition.

        :raises FilterError: if the portal gave a field in a form that cannot be compared.
        """
        found = list(workflows)
        for condition in self.conditions:
            found = condition.matching(found)
        return found

    def matches(self, workflow: Workflow) -> bool:
        """Return whether the workflow meets every condition.

        :raises FilterError: if the portal gave a field in a form that cannot be compared.
        """
        return bool(self.matching([workflow]))


def _typed(name: str, key: str, value: Any) -> datetime | int | str:
    if name in DATE_FIELDS:
        return _date(key, value)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or str(value).strip() in {"", "None"}:
        # A template that finds nothing renders the last two; with "!" they would match all.
        raise FilterError(f"filters: the value of {key!r} must be one text or number, not {value!r}")
    if name not in NUMBER_FIELDS:
        return str(value)
    if not re.fullmatch(r"\d+", str(value).strip()):
        raise FilterError(f"filters: the value of {key!r} must be a whole number, not {value!r}")
    return int(value)


def _date(key: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise FilterError(f"filters: the value of {key!r} must be an ISO 8601 date, not {value!r}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.replace(microsecond=0)
