"""Keeps one process's requests to a portal within the portal's limits."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.bucket import LONGEST_PERIOD, Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.operating_time import OperatingTime
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore
from airflow_provider_workflows.rest.errors import ApiError, RateLimitError

log = logging.getLogger(__name__)

_bucket = TypeAdapter(Bucket)

#: Seconds that are not worth waiting for, and after which a wait is computed anew: the drain may have changed.
NEGLIGIBLE, RECHECK = 0.01, 10.0
#: Seconds after which an unused budget may be forgotten: nothing of it counts any more then.
KEEP = 6 * 3600.0


class PortalRateLimiter:
    """Says when a call may be sent to a portal, and learns from what comes back. Safe for threads.

    :param limits: the portal's limits.
    :param store: where the bucket is kept; default: in this object. While it cannot be used, this object keeps a
        bucket of its own, which is careful: errors of the store cost speed, never work.
    :param name: the record's name in the store, of :func:`~airflow_provider_workflows.bitrix24.portal.budget_name`.
    :param clock: returns the Unix time; for tests.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        store: RecordStore | None = None,
        name: str = "portal",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or Limits()
        self._store = store or MemoryRecordStore(clock)
        self._name = name
        self._clock = clock
        self._operating = OperatingTime(self._limits.operating_limit)
        self._lock = threading.Lock()
        self._own = MemoryRecordStore(self._clock)
        self._shared, self._used = True, False

    def acquire(self, call: Call) -> Iterator[float]:
        """Take a place for the call.

        :returns: seconds to wait, one wait after the other; when there is none more, it is to be sent. There are more
            of them when the portal refuses what is sent meanwhile.
        :raises OperatingTimeLimitError: if one of its methods has no running time left; nothing is to be sent then.
        """
        methods = _methods(call)
        with self._lock:
            held = self._operating.delay_for(methods, self._clock())
            if held <= 0:
                self._operating.sent(methods)
        if held > 0:
            raise OperatingTimeLimitError(str(call), text="held back: its running time is used up", retry_after=held)
        place = 0

        def turn(bucket: Bucket, now: float) -> tuple[float, Bucket]:
            nonlocal place
            # Also if the bucket in which the place was taken is lost.
            taken = 0 < place <= bucket.places
            bucket = bucket.drained(now, self._limits) if taken else bucket.reserve(now, self._limits)
            place = place if taken else bucket.places
            return bucket.delay_for(place, self._limits), bucket

        while (wait := self._change(turn)) > NEGLIGIBLE:
            yield min(wait, RECHECK)

    def release(self, call: Call, outcome: Reply | ApiError) -> None:
        """Learn from what became of a call. Errors of a blocked method are given the time to wait.

        :param call: the call.
        :param outcome: its reply or error.
        """
        with self._lock:
            self._operating.answered(_methods(call))
            self._learn(call, outcome)
        if isinstance(outcome, RateLimitError):
            told = outcome.retry_after or 0.0
            self._change(lambda bucket, now: (0.0, bucket.refused(now, self._limits, told)))

    def _change(self, step: Callable[[Bucket, float], tuple[float, Bucket]]) -> float:
        """Change the bucket that is shared, or while that cannot be had the one of this object."""

        def shared(content: bytes | None, now: float) -> tuple[float, bytes]:
            # One that was there before has only been lost: the portal's bucket is not empty for that.
            return changed(content, now, careful=self._used)

        def own(content: bytes | None, now: float) -> tuple[float, bytes]:
            return changed(content, now, careful=True)

        def changed(content: bytes | None, now: float, *, careful: bool) -> tuple[float, bytes]:
            number, bucket = step(_read(content) or self._new_bucket(now, careful=careful), now)
            return number, _bucket.dump_json(bucket)

        was_shared = self._shared
        try:
            number = self._store.change(self._name, shared, keep_for=KEEP)
        except OSError as error:
            if self._shared:
                self._shared = False
                log.warning(
                    "The rate limit is kept by this process alone, at half the rate, until it can be shared: %s", error
                )
            return self._own.change(self._name, own)
        # What another thread began before the store failed does not show that it works again.
        if not was_shared and not self._shared:
            self._shared, self._own = True, MemoryRecordStore(self._clock)
            log.info("The rate limit is shared with this host's other processes again")
        self._used = True
        return number

    def _new_bucket(self, now: float, *, careful: bool) -> Bucket:
        """Return a bucket to begin with: empty, or if others may just have filled it full and with half the drain."""
        limits = self._limits
        if not careful:
            return Bucket(level=0.0, drain=limits.bucket_drain, at=now)
        return Bucket(limits.bucket_capacity, limits.bucket_drain / 2, now, period=LONGEST_PERIOD, slowed_at=now)

    def _learn(self, call: Call, outcome: Reply | ApiError) -> None:
        now = self._clock()
        if isinstance(outcome, OperatingTimeLimitError):
            outcome.retry_after = self._operating.blocked(call.method, now, outcome.retry_after)
        elif isinstance(outcome, Reply):
            times: dict[str, list[Mapping[str, float]]] = defaultdict(list)
            times[call.method].append(outcome.time)
            for key, command in call.commands.items():
                part = outcome.result[key]
                if isinstance(part, Reply):
                    times[command.method].append(part.time)
            for method, some in times.items():
                self._operating.learn(method, some, now)
            for key, command in call.commands.items():
                if isinstance(outcome.result[key], OperatingTimeLimitError):
                    outcome.result[key].retry_after = self._operating.blocked(command.method, now)


def _read(content: bytes | None) -> Bucket | None:
    try:
        return _bucket.validate_json(content or b"")
    except ValidationError:
        # New, or its writer was killed half-way.
        return None


def _methods(call: Call) -> Counter[str]:
    return Counter([call.method, *(command.method for command in call.commands.values())])
