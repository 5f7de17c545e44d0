"""Keeps requests to a portal within the portal's limits, together with all other workers that share a store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.bucket import LONGEST_PERIOD, Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.budget import Answer, Budget, methods_of
from airflow_provider_workflows.bitrix24.limits.operating_time import UNDER_WAY
from airflow_provider_workflows.bitrix24.portal import Portal, budget_name
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore
from airflow_provider_workflows.rest.errors import ApiError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that are not worth waiting for, and after which a wait is computed anew: the rate may have changed.
NEGLIGIBLE, RECHECK = 0.01, 10.0
#: Seconds after which an unused budget may be forgotten: nothing of it counts any more then.
KEEP = 6 * 3600.0
#: Seconds after which the budget that was kept while the store was away is one of an earlier time.
STALE = 60.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A call's place in the queue.

    :param number: its number in the bucket.
    :param shared: whether that is the one that is shared.
    :param under_way_until: until when it counts as under way, if nothing more is heard of it.
    :param wait: seconds until it may be sent.
    :param held: seconds until its methods may run; nothing is sent before.
    """

    number: int = 0
    shared: bool = False
    under_way_until: float = 0.0
    wait: float = 0.0
    held: float = 0.0


class PortalRateLimiter:
    """Says when a call may be sent to a portal, and learns from what comes back. Safe for threads.

    What is known is one record in a store, so it is known to all who share that. Each request changes it once, before
    it is sent; what its answer tells goes along with the next one, unless others must know at once.

    :param limits: the portal's limits.
    :param store: where the budget is kept; default: in this object. While it cannot be used, another one is kept, which
        is careful: errors of the store cost speed, never work.
    :param away: makes the store of that other one, given the time; default: in this object.
    :param name: the record's name in the store, of :func:`~airflow_provider_workflows.bitrix24.portal.budget_name`.
    :param credential: what tells the credential from others, and is none: each has its own running time.
    :param clock: returns the Unix time; for tests.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        store: RecordStore | None = None,
        name: str = "portal",
        credential: str = "",
        *,
        away: Callable[[Callable[[], float]], RecordStore] = MemoryRecordStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or Limits()
        self._store = store or MemoryRecordStore(clock)
        self._name = name
        self._credential = credential
        self._clock = clock
        self._ahead = 0.0
        self._lock = threading.Lock()
        self._away, self._own = away(self._now), MemoryRecordStore(self._now)
        self._shared = True
        #: The record as it was when it was had last.
        self._seen: bytes | None = None
        #: What was learnt since.
        self._answers: list[Answer] = []
        #: The places of the calls under way, by the calls' identity.
        self._places: dict[int, _Place] = {}

    def acquire(self, call: Call) -> Iterator[float]:
        """Take a place for the call.

        :returns: seconds to wait, one wait after the other; when there is none more, it is to be sent. There are more
            of them when the portal refuses what is sent meanwhile.
        :raises OperatingTimeLimitError: if one of its methods has no running time left, or is blocked meanwhile;
            nothing is to be sent then.
        """
        methods, place = methods_of(call), _Place()

        def turn(budget: Budget, now: float, shared: bool) -> _Place:
            operating = budget.operating_time(self._credential, self._limits, now)
            held = operating.blocked_for(methods) if place.number else operating.delay_for(methods)
            if held > 0:
                return replace(place, held=held)
            number, until = place.number, place.under_way_until
            if until - now < UNDER_WAY / 2:
                operating.answered(methods, until)
                until = operating.sent(methods)
            # Also if the bucket in which the place was taken is lost, or another one.
            if place.shared is not shared or not 0 < number <= budget.bucket.places:
                budget.bucket = budget.bucket.reserve(now, self._limits)
                number = budget.bucket.places
            wait = budget.bucket.drained(now, self._limits).delay_for(number, self._limits)
            return _Place(number, shared, until, wait)

        place = self._change(turn)
        self._refuse_if_held(call, place)
        self._places[id(call)] = place
        while place.wait > NEGLIGIBLE:
            yield min(place.wait, RECHECK)
            place = self._change(turn)
            self._refuse_if_held(call, place)
            self._places[id(call)] = place

    def release(self, call: Call, outcome: Reply | ApiError) -> None:
        """Learn from what became of a call. Errors of a blocked method are given the time to wait.

        :param call: the call.
        :param outcome: its reply or error.
        """
        place = self._places.pop(id(call), _Place())
        answer = Answer.of(call, outcome, place.under_way_until, self._now())
        if answer.is_urgent(self._limits):
            self._change(lambda *_: None, answer)
        else:
            with self._lock:
                self._answers.append(answer)

    def _now(self) -> float:
        """Return the store's time, as far as it is known."""
        return self._clock() + self._ahead

    def _refuse_if_held(self, call: Call, place: _Place) -> None:
        if place.held > 0:
            text = "held back: its running time is used up"
            raise OperatingTimeLimitError(str(call), text=text, retry_after=place.held)

    def _change(self, step: Callable[[Budget, float, bool], T], urgent: Answer | None = None) -> T:
        """Change the budget that is shared, or while that cannot be had the one of this object.

        :param step: changes a budget, and is told the time and whether it is the one that is shared; it may be called
            several times, with another one.
        :param urgent: what was learnt just now.
        """
        with self._lock:
            answers, self._answers = [*self._answers, *([urgent] if urgent else [])], []
        was_shared = self._shared

        def common(content: bytes | None, now: float) -> tuple[_Changed[T], bytes]:
            # One that was there before has only been lost, and one that comes back knows nothing of what was sent
            # meanwhile: the portal's bucket is not empty for that.
            budget = Budget.read(content) or Budget(self._new_bucket(now, careful=self._seen is not None))
            if not was_shared and self._seen is not None:
                budget.bucket = budget.bucket.filled(now, self._limits)
            return changed(budget, now, shared=True)

        def own(content: bytes | None, now: float) -> tuple[_Changed[T], bytes]:
            known = Budget.read(content)
            if known is None or now - known.bucket.at > STALE:
                seen = Budget.read(self._seen)
                known = Budget(self._new_bucket(now, careful=True), seen.operating if seen else {})
            elif was_shared:
                # It was kept when the store was away before, and knows nothing of what was sent since.
                known.bucket = known.bucket.filled(now, self._limits)
            return changed(known, now, shared=False)

        def changed(budget: Budget, now: float, *, shared: bool) -> tuple[_Changed[T], bytes]:
            blocks = [answer.learn(budget, self._credential, self._limits, now) for answer in answers]
            result = step(budget, now, shared)
            record = budget.dump(now)
            return _Changed(result, blocks, record, now), record

        try:
            done = self._store.change(self._name, common, keep_for=KEEP)
        except OSError as error:
            self._say_if_away(error)
            try:
                done = self._away.change(f"{self._name}-away", own)
            except OSError:
                done = self._own.change(self._name, own)
        else:
            self._ahead, self._seen = done.at - self._clock(), done.record
            # What another thread began before the store failed does not show that it works again.
            if not was_shared and not self._shared:
                self._shared, self._own = True, MemoryRecordStore(self._now)
                log.info("The rate limit is shared again: %s", self._store)
        for answer, waits in zip(answers, done.blocks, strict=True):
            for (_, blocked, _), wait in zip(answer.blocked, waits, strict=True):
                blocked.retry_after = wait
        return done.result

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


@dataclass(frozen=True, slots=True)
class _Changed(Generic[T]):
    """What came of a change.

    :param result: what the step returned.
    :param blocks: for how long the methods are blocked that the answers told of.
    :param record: the record as it is now.
    :param at: the store's time.
    """

    result: T
    blocks: list[list[float | None]]
    record: bytes
    at: float


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
    :raises OSError: if the record cannot be had now.
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


def host_limiter(portal: Portal, clock: Callable[[], float] = time.time) -> PortalRateLimiter:
    """Return a limiter that keeps the usual limits, shared with this user's other processes on this host.

    :param portal: the portal and its credential.
    :param clock: returns the Unix time.
    """
    return PortalRateLimiter(
        store=host_store(clock), name=budget_name(portal.base_url), credential=portal.credential_id, clock=clock
    )
