"""How fast requests go to a portal, for display."""

from __future__ import annotations

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.budget import Budget
from airflow_provider_workflows.records.store import RecordStore


def read_pace(store: RecordStore, name: str, limits: Limits) -> dict[str, float]:
    """Return how fast requests go to a portal, without changing anything.

    :param store: where the budget is kept.
    :param name: the record's name.
    :param limits: the portal's limits.
    :returns: ``waiting``, requests that wait for their turn; ``used`` of ``capacity``, requests that may go at once;
        ``rate``, requests a second that go after that, and ``full_rate``, when the portal refuses nothing;
        ``held_for``, seconds for which it told to send nothing.
    :raises OSError: if the store is not available now.
    """

    def read(content: bytes | None, now: float) -> tuple[dict[str, float], None]:
        budget = Budget.read(content)
        bucket = (budget.bucket if budget else Bucket(0.0, limits.bucket_drain, now)).drained(now, limits)
        pace = {
            "waiting": round(max(0.0, bucket.level - limits.bucket_capacity)),
            "used": round(min(bucket.level, limits.bucket_capacity), 1),
            "capacity": limits.bucket_capacity,
            "rate": round(bucket.rate(now, limits), 2),
            "full_rate": limits.bucket_drain,
            "held_for": round(max(0.0, bucket.held_until - now), 1),
        }
        return pace, None

    return store.change(name, read)
