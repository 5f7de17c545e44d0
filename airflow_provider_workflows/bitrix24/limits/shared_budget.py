"""A portal's budget, shared by all workers, and its substitute while the store is not available."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_workflows.bitrix24.limits.bucket import LONGEST_PERIOD, Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.budget import Budget
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after which an unused budget may be forgotten: nothing of it counts any more then.
KEEP = 6 * 3600.0
#: Seconds after which the substitute budget is too old to use.
STALE = 60.0


class SharedBudget:
    """A portal's budget, one record in a store. Safe for threads.

    While the store is not available, another budget is kept, which is careful: errors of the store cost speed, never
    work.

    :param limits: the portal's limits.
    :param store: where it is kept.
    :param name: the record's name.
    :param away: makes the store of the other one, given the time.
    :param clock: returns the Unix time.
    """

    def __init__(
        self,
        limits: Limits,
        store: RecordStore,
        name: str,
        *,
        away: Callable[[Callable[[], float]], RecordStore],
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._store = store
        self._name = name
        self._clock = clock
        self._ahead = 0.0
        self._away, self._own = away(self.now), MemoryRecordStore(self.now)
        self._shared = True
        #: The record as it was last read or written.
        self._seen: bytes | None = None

    def now(self) -> float:
        """Return the store's time, as far as it is known."""
        return self._clock() + self._ahead

    def change(self, step: Callable[[Budget, float, bool], T]) -> T:
        """Change the shared budget or, while the store is not available, the host's or this object's own.

        :param step: changes a budget, given the time and whether it is the shared one; it may be called
            several times, with another one.
        :returns: what the step returns.
        """
        was_shared = self._shared

        def common(content: bytes | None, now: float) -> tuple[tuple[T, bytes, float], bytes]:
            # A record that was lost, or a store that comes back, knows nothing of what was sent meanwhile: the
            # portal's bucket is not empty.
            budget = Budget.read(content) or Budget(self._new_bucket(now, careful=self._seen is not None))
            if not was_shared and self._seen is not None:
                budget.bucket = budget.bucket.filled(now, self._limits)
            result, record = step(budget, now, True), budget.dump(now)
            return (result, record, now), record

        def own(content: bytes | None, now: float) -> tuple[T, bytes]:
            budget = Budget.read(content)
            if budget is None or now - budget.bucket.at > STALE:
                seen = Budget.read(self._seen)
                budget = Budget(self._new_bucket(now, careful=True), seen.operating if seen else {})
            elif was_shared:
                # It was kept when the store was away before, and knows nothing of what was sent since.
                budget.bucket = budget.bucket.filled(now, self._limits)
            return step(budget, now, False), budget.dump(now)

        try:
            result, record, now = self._store.change(self._name, common, keep_for=KEEP)
        except OSError as error:
            self._say_if_away(error)
            try:
                return self._away.change(f"{self._name}-away", own)
            except OSError:
                return self._own.change(self._name, own)
        self._ahead, self._seen = now - self._clock(), record
        # What another thread began before the store failed does not show that it works again.
        if not was_shared and not self._shared:
            self._shared, self._own = True, MemoryRecordStore(self.now)
            log.info("The rate limit is shared again: %s", self._store)
        return result

    def _say_if_away(self, error: OSError) -> None:
        if self._shared:
            self._shared = False
            text = "The rate limit is kept by %s alone, at half the rate, until it can be shared: %s"
            log.warning(text, "this process" if isinstance(self._away, MemoryRecordStore) else "this host", error)

    def _new_bucket(self, now: float, *, careful: bool) -> Bucket:
        """Return a bucket to begin with: empty, or if others may just have filled it full and with half the drain."""
        limits = self._limits
        if not careful:
            return Bucket(level=0.0, drain=limits.bucket_drain, at=now)
        return Bucket(limits.bucket_capacity, limits.bucket_drain / 2, now, period=LONGEST_PERIOD, slowed_at=now)


def read_pace(store: RecordStore, name: str, limits: Limits) -> dict[str, float]:
    """Return how fast requests go to a portal, without changing anything.

    :returns: ``waiting``, requests that wait for their turn; ``used`` of ``capacity``, requests that may go at once;
        ``rate``, requests a second that go after that, and ``full_rate``, when the portal refuses nothing;
        ``held_for``, seconds for which it asked to send nothing.
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
