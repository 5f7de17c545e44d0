"""Sending many calls: in batches, several requests under way at once, each call's outcome known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import BATCH, PAGE, Call, Reply
from airflow_provider_workflows.bitrix24.limits.batch_size import BatchSize
from airflow_provider_workflows.rest.errors import (
    ApiError,
    NotProcessedError,
    RejectedError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import (
    ATTEMPTS,
    Collect,
    Collected,
    MaxInFlight,
    Pause,
    Plan,
    Progress,
    Submit,
    backoff_delay,
    exponential_backoff,
    send,
)

K = TypeVar("K")


def read_all(reads: Sequence[Call]) -> Plan[list[Reply]]:
    """Send up to 50 reading calls in one request, and again those that failed in passing.

    :param reads: calls that change nothing.
    :returns: their replies.
    :raises ApiError: if one of them cannot be had.
    """
    replies: dict[int, Reply] = {}
    for delay in (*exponential_backoff(), None):
        left = [nth for nth in range(len(reads)) if nth not in replies]
        call = make_batch([reads[nth] for nth in left])
        outcomes = _outcomes(left, (yield from send(call)))
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, ApiError)]
        replies |= {nth: outcome for nth, outcome in outcomes.items() if isinstance(outcome, Reply)}
        if not failures:
            break
        worst = min(failures, key=lambda error: error.retry_helps)
        if delay is None or not worst.retry_helps:
            raise worst
        yield Pause(max(delay, worst.retry_after or 0), reason=str(worst))
    return [replies[nth] for nth in range(len(reads))]


def send_each(
    items: Iterable[K],
    call_for: Callable[[K], Call],
    done: Callable[[K, Reply], None],
    settle: Callable[[Mapping[K, ApiError]], Plan[list[K]]],
    *,
    what: str,
) -> Plan[None]:
    """Send one call for each item, until the outcome of each is known.

    Has several requests under way, and one at a time while the portal refuses.
    Batches are sized by the time that the portal takes for a command, and halved when one is cut.

    :param items: what to send a call for.
    :param call_for: gives the call of an item.
    :param done: is told the reply of each item that has one.
    :param settle: is given items whose call failed, unless it was refused, and gives those to send again.
    :param what: what the items are, for the log.
    :raises ApiError: if nothing goes on; what was under way is collected and settled before.
    """
    work, size = _Work(deque(items)), BatchSize(BATCH)
    total, flying, under_way = len(work.queue), 0, 0
    in_flight: int = yield MaxInFlight()
    window, setbacks = in_flight, 0
    stopped_by: ApiError | None = None
    while flying or (work.left and stopped_by is None):
        while work.goes_on and flying < window and stopped_by is None:
            some = [work.queue.popleft() for _ in range(size.next_size(len(work.queue)))]
            yield Submit(make_batch([call_for(item) for item in some]), some)
            flying, under_way = flying + 1, under_way + len(some)
        try:
            if flying:
                collected: Collected = yield Collect()
                some = collected.tag
                flying, under_way = flying - 1, under_way - len(some)
                fit_batch_size(size, len(some), collected.outcome)
                window = _next_window(collected.outcome, window, in_flight)
                work.sort(some, collected.outcome, done)
                yield Progress(total - work.left - under_way, total, what)
                continue
            # Nothing is under way now. What failed together is settled together, and is one setback.
            failure = yield from work.settle(settle)
        except ApiError as error:
            stopped_by = stopped_by or error
            continue
        # While anything is done, the next try may come at once: it is the pace that knows how long it must wait.
        setbacks = 0 if work.advanced else setbacks + 1
        work.advanced = False
        if failure is not None and setbacks >= ATTEMPTS:
            stopped_by = failure
        elif failure is not None and setbacks:
            yield Pause(max(backoff_delay(setbacks), _retry_after(failure)), reason=str(failure))
    if stopped_by is not None:
        with suppress(ApiError):
            yield from work.settle(settle)
        raise stopped_by


@dataclass(slots=True)
class _Work(Generic[K]):
    """What :func:`send_each` has to do still.

    :param queue: items to send a call for.
    :param refused: items whose call was surely not done, with why; they are to be sent again.
    :param unclear: items of which it is not known, with why.
    :param failed: whether a whole request failed since the last settlement.
    :param advanced: whether any item is done since then.
    """

    queue: deque[K]
    refused: dict[K, ApiError] = field(default_factory=dict)
    unclear: dict[K, ApiError] = field(default_factory=dict)
    failed: bool = False
    advanced: bool = False

    @property
    def left(self) -> int:
        """How many items are not done, but for those under way."""
        return len(self.queue) + len(self.refused) + len(self.unclear)

    @property
    def goes_on(self) -> bool:
        """Whether more may be sent before something is settled or waited out."""
        return bool(self.queue) and not (self.failed or self.refused) and len(self.unclear) < BATCH

    def sort(self, items: Sequence[K], outcome: Reply | ApiError, done: Callable[[K, Reply], None]) -> None:
        """Take in what became of a request."""
        self.failed |= isinstance(outcome, ApiError)
        if isinstance(outcome, RejectedError) and len(items) > 1:
            # A batch that was rejected as a whole: that is nothing about any of its commands.
            self.queue.extendleft(reversed(items))
            raise outcome
        for item, its_own in _outcomes(items, outcome).items():
            if isinstance(its_own, Reply):
                done(item, its_own)
                self.advanced = True
            elif isinstance(its_own, NotProcessedError):
                self.refused[item] = its_own
            else:
                self.unclear[item] = its_own

    def settle(self, settle: Callable[[Mapping[K, ApiError]], Plan[list[K]]]) -> Plan[ApiError | None]:
        """Put back into the queue what is to be sent again, and give the error that is to be waited out."""
        unclear, self.unclear, self.failed = self.unclear, {}, False
        again = (yield from settle(unclear)) if unclear else []
        self.advanced |= len(again) < len(unclear)
        failures = [*self.refused.values(), *(unclear[item] for item in again)]
        self.queue.extendleft(reversed([*self.refused, *again]))
        self.refused = {}
        return max(failures, key=_retry_after, default=None)


def read_pages(
    first: Reply,
    page: Callable[[int], Call],
    collect: Callable[[int, Reply], int],
    *,
    what: str,
    limit: int | None = None,
) -> Plan[None]:
    """Read the pages of a list, of which the first is there already: one request for each 50 of the others.

    :param first: the first page.
    :param page: gives the call of the page at an offset.
    :param collect: is told the offset and reply of each page, in any order, and gives how many rows it kept.
    :param what: what the pages are of, for the log.
    :param limit: how many rows are enough; default: all.
    """
    following: dict[int, int | None] = {}
    kept = 0

    def take(start: int, reply: Reply) -> None:
        nonlocal kept
        kept += collect(start, reply)
        following[start] = reply.next

    take(0, first)
    start = first.next
    while start is not None and (limit is None or kept < limit):
        if start in following:
            raise UnreadableReplyError(str(page(start)), text="the pages do not go on")
        starts = range(start, max(first.total or 0, start + 1), PAGE)
        if limit is not None:
            starts = starts[: -(-(limit - kept) // PAGE)]
        yield from send_each(starts, page, take, read_again, what=what)
        start = following[starts[-1]]


def read_again(errors: Mapping[K, ApiError]) -> Plan[list[K]]:
    """Settle reads that failed: all of them are to be sent again.

    :param errors: what each failed with.
    :raises ApiError: if that cannot help.
    """
    yield from ()
    for error in errors.values():
        if not error.retry_helps:
            raise error
    return list(errors)


def _retry_after(error: ApiError) -> float:
    return error.retry_after or 0.0


def fit_batch_size(size: BatchSize, commands: int, outcome: Reply | ApiError) -> None:
    """Learn from a request how many commands the next one may carry.

    :param size: what is learnt.
    :param commands: how many it carried.
    :param outcome: what became of it.
    """
    if isinstance(outcome, Reply):
        size.answered(commands, outcome.time.get("duration"))
    elif isinstance(outcome, (ReplyLostError, ServerError)):
        # Perhaps the portal was still working on it when it was cut.
        size.halve(commands)


def _next_window(outcome: Reply | ApiError, window: int, in_flight: int) -> int:
    """Return the number of requests to have under way."""
    if isinstance(outcome, Reply):
        return min(in_flight, window + 1)
    return 1 if isinstance(outcome, NotProcessedError) else window


def make_batch(commands: Sequence[Call]) -> Call:
    """Return one call that does them all; a single one needs no batch around it.

    :param commands: one to 50 calls.
    """
    if len(commands) == 1:
        return commands[0]
    return calls.batch({f"c{nth}": call for nth, call in enumerate(commands)})


def _outcomes(items: Sequence[K], outcome: Any) -> dict[K, Reply | ApiError]:
    """Return each item's own outcome out of that of the request."""
    if len(items) == 1:
        return {items[0]: outcome}
    if isinstance(outcome, ApiError):
        return dict.fromkeys(items, outcome)
    return dict(zip(items, outcome.result.values(), strict=True))
