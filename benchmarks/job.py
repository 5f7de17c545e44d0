"""What a client is given to do, and how it says what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

#: The bucket of a small cloud plan.
CAPACITY, DRAIN = 50, 2.0
PAGE = BATCH = 50
INSTANCES = "bizproc.workflow.instances"
TERMINATE = "bizproc.workflow.terminate"
USER, CODE = "1", "sim0webhook0code"
#: Matches every workflow that the simulator makes up.
EVERY = {">TEMPLATE_ID": 0}

#: Does the job; what it says stands in the table.
Run = Callable[[], str]


@dataclass(frozen=True)
class Limits:
    """The portal's limits as the contestants are told them.

    :param bucket_capacity: requests that may go at once.
    :param bucket_drain: requests a second after that.
    :param operating_limit: seconds that a method may run in a window.
    :param operating_window: seconds of that window; 600 unless scaled down.
    """

    bucket_capacity: int = CAPACITY
    bucket_drain: float = DRAIN
    operating_limit: float = 480.0
    operating_window: float = 600.0


@dataclass(frozen=True)
class Job:
    """One job for one process.

    :param action: ``list``, ``end``, or ``clean up``: both.
    :param url: the portal's address.
    :param select: the fields to list.
    :param ids: what to end.
    :param limits: what is known of the portal.
    :param drain_left: requests a second that other applications leave; only the reference is told.
    :param command_seconds: how long a command runs; only the reference is told.
    :param options: of the contestant.
    """

    action: str
    url: str
    select: list[str]
    ids: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    drain_left: float = DRAIN
    command_seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return it for the way to another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Job:
        """Read it in the other process."""
        return cls(**given | {"limits": Limits(**given["limits"])})


def rows(ids: set[str]) -> str:
    """Say how many were listed."""
    return f"{len(ids):,} rows"


def ended(done: int, failed: Any) -> str:
    """Say what the client says that it has ended."""
    if not failed:
        return f"reports {done:,} ended"
    first = next(iter(failed.values())) if isinstance(failed, dict) else failed[0]
    reason = first.get("error") or first.get("error_description") if isinstance(first, dict) else first
    return f"reports {done:,} ended, {len(failed):,} failed: {reason}"
