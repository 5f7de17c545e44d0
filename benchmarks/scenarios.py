"""What is measured, and on what portals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.job import Limits


@dataclass(frozen=True)
class Scenario:
    """One row for each contestant.

    :param key: short name, for ``--only``.
    :param title: for the table.
    :param action: ``list`` or ``end``.
    :param count: how many workflows run on the portal.
    :param settings: of the simulator, besides the bucket.
    :param limits: the portal's limits.
    :param processes: how many share the job; each lists all, or ends its part.
    :param cap: seconds after which a contestant is stopped.
    :param runs: how often each is measured; the median is shown.
    :param variants: contestants besides the usual ones.
    :param within: target: how many times as long as the limit this provider may take; default: no target.
    :param refused: target: less than this part of its requests is refused; default: none is.
    """

    key: str
    title: str
    action: str
    count: int
    settings: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    processes: int = 1
    cap: float = 150.0
    runs: int = 1
    variants: tuple[str, ...] = ()
    within: float | None = None
    refused: float = 0.0


@dataclass(frozen=True)
class Group:
    """Scenarios on the same kind of portal.

    :param title: heading.
    :param text: what the portal is like.
    :param scenarios: one table each.
    """

    title: str
    text: str
    scenarios: tuple[Scenario, ...]


SLOW = {"command_seconds": 0.25}
OTHER = {"bucket_other": 1.0}
#: 480 s in 600 s, at a fifteenth of the time.
SCALED = Limits(operating_limit=32.0, operating_window=40.0)
OPERATING = {
    "operating_model": "documented",
    "operating_limit": SCALED.operating_limit,
    "operating_window": SCALED.operating_window,
    "command_seconds": 0.085,
}
PATIENT = ("b24pysdk-70s",)

GROUPS = (
    Group(
        "A portal with its limits on",
        "Bucket of 50 requests that drains 2 a second; commands take as long as the simulator needs for them.",
        (
            Scenario("list-3000", "List 3,000", "list", 3_000, runs=5),
            Scenario("list-30000", "List 30,000", "list", 30_000, runs=5),
            Scenario("end-3000", "End 3,000", "end", 3_000, within=1.05),
            Scenario("end-6000", "End 6,000", "end", 6_000, within=1.05),
        ),
    ),
    Group(
        "Slow commands",
        "The same, and each command takes 0.25 s, so that 50 of them take 12.5 s. 600 are ended here, as 3,000 such "
        "commands would be over the operating limit of 480 s.",
        (
            Scenario("slow-list-3000", "List 3,000", "list", 3_000, SLOW, variants=PATIENT, cap=60),
            Scenario("slow-end-600", "End 600", "end", 600, SLOW, variants=PATIENT, cap=60, within=1.25),
        ),
    ),
    Group(
        "Another application uses half of the bucket",
        "It sends one request a second all the time, and no contestant is told, save the limit.",
        (
            Scenario("other-list-30000", "List 30,000", "list", 30_000, OTHER, runs=5),
            Scenario("other-end-5000", "End 5,000", "end", 5_000, OTHER, within=1.05, refused=0.03),
        ),
    ),
    Group(
        "Four processes on one host",
        "Each ends its quarter, or lists all. The limit is that of one process: the portal counts by address.",
        (
            Scenario("four-list-30000", "List 30,000, four times", "list", 30_000, processes=4, runs=5),
            Scenario("four-end-6000", "End 6,000", "end", 6_000, processes=4, within=1.15, refused=0.02),
        ),
    ),
    Group(
        "An operating limit that bites",
        "Scaled down to a fifteenth: a method may run 32 s in a window of 40 s (on a real portal 480 s in 600 s), "
        "and a command takes 0.085 s. All are told these figures, as far as they can be told.",
        (Scenario("operating-end-900", "End 900", "end", 900, OPERATING, SCALED, within=1.1),),
    ),
)
QUICK = ("list-3000", "end-3000", "memory", "imports", "waiting")
