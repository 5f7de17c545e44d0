"""What a check of a connection found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    NotConnectedError,
    NotProcessedError,
    RedirectedError,
)

Level: TypeAlias = Literal["ok", "warning", "defect"]

#: The check that each kind of error is a defect of; any other error is one of ``server``.
_CHECKS: dict[type[ApiError], str] = {
    NotConnectedError: "address",
    RedirectedError: "address",
    AuthenticationError: "credential",
    AccessDeniedError: "rights",
    NotProcessedError: "limits",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found by one check.

    :param check: what was looked at, e.g. ``scopes``.
    :param level: ``ok``; ``warning``, for what may be meant so; or ``defect``.
    :param text: what was found and, unless all is well, what to do about it.
    """

    check: str
    level: Level
    text: str


def defect_of(error: ApiError) -> Finding:
    """Return a failed call as a finding."""
    check = next((check for kind, check in _CHECKS.items() if isinstance(error, kind)), "server")
    return Finding(check, "defect", text_of(error))


def text_of(error: ApiError) -> str:
    """Return what to do about a failed call, and what went wrong, for a reader who knows which connection it is."""
    return f"{error.advice} {error.call}: {error.what}".strip()
