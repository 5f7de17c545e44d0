"""How many requests to have under way at once: a function of what comes back, and of how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.rest.errors import ApiError, NotProcessedError, UnknownOutcomeError

#: Requests under way before anything is known: TCP's initial window (RFC 6928).
FIRST = 10
#: An answer is slow if a call took this many times the best time, and this many seconds more.
SLOWER, QUICK = 1.5, 1.0
#: The fraction of the requests under way that remains after a slow answer.
LESS = 0.7


@dataclass(slots=True)
class Submitted:
    """A request that was submitted.

    :param what: the work that it is a part of; only its parts are compared.
    :param size: how many calls it carries.
    :param in_flight: how many were under way, itself included.
    :param change: how often the limit had changed by then.
    :param seconds: how long it was on its way, if it was sent.
    """

    what: str
    size: int
    in_flight: int
    change: int
    seconds: float | None = None


class Concurrency:
    """How many requests to have under way at once: more while answers get no slower, fewer at once when they do.

    As TCP does it (RFC 5681, 9438): twice as many when the last of those that were allowed is answered, and after the
    first setback one more. After a slow answer a third fewer, after a lost one half. One at a time after a refusal, and
    half as many as before once one is answered.

    :param most: requests under way at most.
    """

    def __init__(self, most: int) -> None:
        #: How many requests may be under way now.
        self.limit = min(FIRST, most)
        self._most = most
        self._under_way = 0
        self._change = 0
        #: How many there are at once after the next answer; ``None`` before the first setback.
        self._again: int | None = None
        #: Seconds that a call takes at best.
        self._best: dict[str, float] = {}

    def submit(self, what: str, size: int) -> Submitted:
        """Note that a request is under way.

        :param what: the work that it is a part of.
        :param size: how many calls it carries.
        """
        self._under_way += 1
        return Submitted(what, size, self._under_way, self._change)

    def collect(self, request: Submitted, outcome: Any) -> None:
        """Learn from what became of a request.

        :param request: what :meth:`submit` returned for it.
        :param outcome: its result or error.
        """
        self._under_way -= 1
        if request.seconds is None:
            return
        slow = not isinstance(outcome, ApiError) and self._is_slow(request, request.seconds)
        # What was submitted before the last change says nothing about the limit as it is.
        if request.change != self._change:
            return
        if isinstance(outcome, NotProcessedError):
            self._set(1, again=self.limit // 2)
        elif isinstance(outcome, UnknownOutcomeError):
            self._set(self.limit // 2, again=0)
        elif slow:
            self._set(int(self.limit * LESS), again=0)
        elif not isinstance(outcome, ApiError) and request.in_flight >= self.limit:
            self._set(2 * self.limit if self._again is None else max(self.limit + 1, self._again), again=self._again)

    def _is_slow(self, request: Submitted, seconds: float) -> bool:
        each = seconds / request.size
        best = self._best.get(request.what, each)
        # One at a time is not slowed down by our own requests: this is how long it takes now.
        alone = self.limit == request.in_flight == 1
        self._best[request.what] = each if alone else min(each, best)
        return not alone and seconds > SLOWER * best * request.size + QUICK

    def _set(self, limit: int, again: int | None) -> None:
        limit = min(max(1, limit), self._most)
        self._again = again if limit != self.limit or self._again is None else self._again
        self._change += limit != self.limit
        self.limit = limit
