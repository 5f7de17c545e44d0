"""Sending many calls, several at once, with the outcome of each call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_workflows.rest.errors import (
    ApiError,
    NotProcessedError,
    RejectedError,
    StoppedError,
    UnknownOutcomeError,
)
from airflow_provider_workflows.rest.plans import (
    Collect,
    Collected,
    Count,
    MaxInFlight,
    Plan,
    Progress,
    RetryState,
    Sendable,
    Submit,
)

#: Calls of unknown outcome that may come together before they are settled.
MOST_UNKNOWN = 50

K = TypeVar("K")


class Batching:
    """How calls go together into requests; this one: a request for each call."""

    def next_size(self, left: int, *, trial: bool, places: int = 1) -> int:  # noqa: ARG002
        """Return how many of the calls left the next request carries.

        :param left: how many are left.
        :param trial: whether it is the one more that was not under way before: an early answer shows if that helps.
        :param places: how many further requests may be under way.
        """
        return 1

    def make_batch(self, calls: Sequence[Any]) -> Sendable:
        """Return one call that does them all."""
        return calls[0]  # type: ignore[no-any-return]

    def outcomes(self, items: Sequence[K], outcome: Any) -> dict[K, Any]:
        """Return each item's own result or error out of that of the request."""
        return {items[0]: outcome}

    def learn(self, size: int, outcome: Any) -> None:
        """Learn from a request how many calls the next one may carry."""


def send_each(
    items: Iterable[K],
    call_for: Callable[[K], Sendable],
    done: Callable[[K, Any], None],
    settle: Callable[[Mapping[K, ApiError]], Plan[list[K]]],
    *,
    what: str,
    batching: Batching,
) -> Plan[None]:
    """Send one call for each item, until the outcome of each is known.

    Has as many requests under way as the server works on without getting slower, and one at a time while it refuses.

    :param items: what to send a call for.
    :param call_for: returns the call of an item.
    :param done: called with each item that is done, and its result.
    :param settle: called with items of unknown or failed outcome, and returns those to send again.
    :param what: what the items are, for the log.
    :param batching: how the calls go together into requests.
    :raises ApiError: if nothing goes on; what was under way is collected and settled before.
    """
    work = _Work(deque(items), batching)
    total, retries = len(work.queue), RetryState()
    in_flight = items_in_flight = limit = 0
    grown = False
    stopped_by: ApiError | None = None
    while in_flight or (work.left and stopped_by is None):
        while work.goes_on and stopped_by is None:
            before, limit = limit, (yield MaxInFlight())
            grown = limit > before or (grown and limit == before)
            if in_flight >= limit:
                break
            trial = grown and in_flight + 1 == limit
            grown = grown and not trial
            size = batching.next_size(len(work.queue), trial=trial, places=limit - in_flight)
            some = [work.queue.popleft() for _ in range(size)]
            yield Submit(batching.make_batch([call_for(item) for item in some]), some, what, len(some))
            in_flight, items_in_flight = in_flight + 1, items_in_flight + len(some)
        try:
            if in_flight:
                collected: Collected = yield Collect()
                some = collected.tag
                in_flight, items_in_flight = in_flight - 1, items_in_flight - len(some)
                batching.learn(len(some), collected.outcome)
                work.sort(some, collected.outcome, done)
                yield Progress(total - work.left - items_in_flight, total, what)
                continue
            # Nothing is under way now. What failed together is settled together, and is one setback.
            failure = yield from work.settle(settle)
            # While anything is done, the next try may come at once: it is the limiter that knows how long it must wait.
            if work.advanced:
                retries = RetryState()
            elif failure is not None:
                yield from retries.wait_out(failure)
            work.advanced = False
        except ApiError as error:
            stopped_by = stopped_by or error
    if stopped_by is not None:
        with suppress(ApiError):
            yield from work.settle(settle)
        raise stopped_by


@dataclass(slots=True)
class _Work(Generic[K]):
    """What :func:`send_each` has to do still.

    :param queue: items to send a call for.
    :param batching: how the calls go together into requests.
    :param refused: items whose call was not processed, with why; they are to be sent again.
    :param unknown: items of which it is not known, with why.
    :param failed: whether a whole request failed since the last settlement.
    :param advanced: whether any item is done since then.
    """

    queue: deque[K]
    batching: Batching
    refused: dict[K, ApiError] = field(default_factory=dict)
    unknown: dict[K, ApiError] = field(default_factory=dict)
    failed: bool = False
    advanced: bool = False

    @property
    def left(self) -> int:
        """How many items are not done, but for those under way."""
        return len(self.queue) + len(self.refused) + len(self.unknown)

    @property
    def goes_on(self) -> bool:
        """Whether more may be sent before something is settled or waited out."""
        return bool(self.queue) and not (self.failed or self.refused) and len(self.unknown) < MOST_UNKNOWN

    def sort(self, items: Sequence[K], outcome: Any, done: Callable[[K, Any], None]) -> None:
        """Sort the outcomes of a request.

        :raises ApiError: an error that is not about any of the items, and ends the work.
        """
        self.failed |= isinstance(outcome, ApiError)
        # A batch that was rejected as a whole: that is nothing about any of its calls.
        if isinstance(outcome, StoppedError) or (isinstance(outcome, RejectedError) and len(items) > 1):
            self.queue.extendleft(reversed(items))
            raise outcome
        for item, its_own in self.batching.outcomes(items, outcome).items():
            if isinstance(its_own, NotProcessedError):
                self.refused[item] = its_own
            elif isinstance(its_own, ApiError):
                self.unknown[item] = its_own
            else:
                done(item, its_own)
                self.advanced = True

    def settle(self, settle: Callable[[Mapping[K, ApiError]], Plan[list[K]]]) -> Plan[ApiError | None]:
        """Put back into the queue what is to be sent again, and return the error that is to be waited out."""
        unknown, self.unknown, self.failed = self.unknown, {}, False
        again = (yield from settle(unknown)) if unknown else []
        if settled := sum(isinstance(unknown[item], UnknownOutcomeError) for item in unknown.keys() - again):
            yield Count("settled", settled)
        self.advanced |= len(again) < len(unknown)
        failures = [*self.refused.values(), *(unknown[item] for item in again)]
        self.queue.extendleft(reversed([*self.refused, *again]))
        self.refused = {}
        return max(failures, key=lambda error: error.retry_after or 0.0, default=None)
