"""How fast requests go to a portal, for who only looks."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.budget import Budget
from airflow_provider_workflows.records.store import RecordStore


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast requests go to a portal now.

    :param waiting: requests that wait for their turn.
    :param used: how many of those that may go at once are used up.
    :param capacity: how many may go at once.
    :param rate: requests a second that go after that.
    :param full_rate: the same when the portal refuses nothing.
    :param held_for: seconds for which the portal told to send nothing.
    """

    waiting: float
    used: float
    capacity: float
    rate: float
    full_rate: float
    held_for: float


def read_pace(store: RecordStore, name: str, limits: Limits) -> Pace:
    """Return how fast requests go to a portal, and change nothing.

    :param store: where the budget is kept.
    :param name: the record's name.
    :param limits: the portal's limits.
    :raises OSError: if the store is not available now.
    """

    def look(content: bytes | None, now: float) -> tuple[Pace, None]:
        budget = Budget.read(content)
        bucket = (budget.bucket if budget else Bucket(0.0, limits.bucket_drain, now)).drained(now, limits)
        return (
            Pace(
                waiting=round(max(0.0, bucket.level - limits.bucket_capacity)),
                used=round(min(bucket.level, limits.bucket_capacity), 1),
                capacity=limits.bucket_capacity,
                rate=round(bucket.rate(now, limits), 2),
                full_rate=limits.bucket_drain,
                held_for=round(max(0.0, bucket.held_until - now), 1),
            ),
            None,
        )

    return store.change(name, look)
