"""Keeps requests to a portal within the portal's limits, together with all other workers that share a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.budget import Answer, Budget, methods_of
from airflow_provider_workflows.bitrix24.limits.operating_time import UNDER_WAY
from airflow_provider_workflows.bitrix24.limits.shared_budget import SharedBudget
from airflow_provider_workflows.bitrix24.portal import Portal, budget_name
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.protocol import RateLimiter

T = TypeVar("T")

#: Seconds too short to wait for, and seconds after which a wait is computed again, as the rate may have changed.
NEGLIGIBLE, RECHECK = 0.01, 10.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A call's place in the queue.

    :param number: its number in the bucket.
    :param shared: whether that is the shared bucket.
    :param under_way_until: until when it counts as under way, if nothing more is heard of it.
    :param wait: seconds until it may be sent.
    :param held: seconds until its methods may run; nothing is sent before.
    """

    number: int = 0
    shared: bool = False
    under_way_until: float = 0.0
    wait: float = 0.0
    held: float = 0.0


class PortalRateLimiter(RateLimiter[Call]):
    """Says when a call may be sent to a portal, and learns from what comes back. Safe for threads.

    What is known is one record in a store, so all workers that share the store know it. Each request changes it once,
    before it is sent; what its answer says is stored with the next one, unless others must know at once.

    :param limits: the portal's limits.
    :param store: where the budget is kept; default: in this object.
    :param away: makes the store of the budget that is kept while that one is not available, given the time; default:
        in this object.
    :param name: the record's name in the store, of :func:`~airflow_provider_workflows.bitrix24.portal.budget_name`.
    :param credential: an id of the credential, not the credential itself: each has its own running time.
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
        self._budget = SharedBudget(self._limits, store or MemoryRecordStore(clock), name, away=away, clock=clock)
        self._credential = credential
        self._lock = threading.Lock()
        #: What was learnt since the budget was changed last.
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
            # Also if the bucket in which the place was taken is lost or was replaced.
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
        """Learn from what became of a call. Errors of a blocked method are given the time to wait."""
        place = self._places.pop(id(call), _Place())
        answer = Answer.of(call, outcome, place.under_way_until, self._budget.now())
        if answer.is_urgent(self._limits):
            self._change(lambda *_: None, answer)
        else:
            with self._lock:
                self._answers.append(answer)

    def _refuse_if_held(self, call: Call, place: _Place) -> None:
        if place.held > 0:
            text = "not sent: the method's running time is used up"
            raise OperatingTimeLimitError(str(call), text=text, retry_after=place.held)

    def _change(self, step: Callable[[Budget, float, bool], T], urgent: Answer | None = None) -> T:
        """Change the budget, after it has taken in what was learnt since the last change.

        :param step: as for :meth:`.SharedBudget.change`.
        :param urgent: what was learnt just now.
        """
        with self._lock:
            answers, self._answers = [*self._answers, *([urgent] if urgent else [])], []

        def learn_first(budget: Budget, now: float, shared: bool) -> tuple[T, list[list[float | None]]]:
            waits = [answer.learn(budget, self._credential, self._limits, now) for answer in answers]
            return step(budget, now, shared), waits

        result, waits = self._budget.change(learn_first)
        for answer, told in zip(answers, waits, strict=True):
            for (_, blocked, _), wait in zip(answer.blocked, told, strict=True):
                blocked.retry_after = wait
        return result


def host_limiter(portal: Portal, clock: Callable[[], float] = time.time) -> PortalRateLimiter:
    """Return a limiter that keeps the usual limits, shared with this user's other processes on this host.

    :param clock: returns the Unix time.
    """
    return PortalRateLimiter(
        store=host_store(clock), name=budget_name(portal.base_url), credential=portal.credential_id, clock=clock
    )
