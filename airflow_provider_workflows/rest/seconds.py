"""Numbers of seconds as somebody gives them to a task or a trigger."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.rest.errors import ArgumentError


def check_poll_interval(value: Any, argument: str = "poll_interval") -> None:
    """Check a pause between two polls.

    :raises ArgumentError: if it is no number of seconds, or not more than 0.
    """
    check_seconds(value, argument)
    if not value:
        raise ArgumentError(f"{argument} must be more than 0 seconds")


def check_seconds(value: Any, argument: str) -> None:
    """Check a number of seconds.

    :raises ArgumentError: if it is none, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ArgumentError(f"{argument} must be a number of seconds, 0 or more, not {value!r}")
