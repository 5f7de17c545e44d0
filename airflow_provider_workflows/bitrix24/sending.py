"""Sending many calls: in batches, several requests under way at once, each call's outcome known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import BATCH, PAGE, Call, Reply
from airflow_provider_workflows.bitrix24.pacing import BatchSize
from airflow_provider_workflows.rest.errors import (
    ApiError,
    RefusedError,
    RejectedError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import (
    ATTEMPTS,
    Collect,
    Collected,
    Pause,
    Plan,
    Progress,
    Submit,
    growing_delay,
    growing_delays,
    send,
)

#: Requests under way at once, unless set in the connection.
IN_FLIGHT = 4

K = TypeVar("K")


def read_all(reads: Sequence[Call]) -> Plan[list[Reply]]:
    """Send up to 50 reading calls in one request, and again those that failed in passing.

    :param reads: calls that change nothing.
    :returns: their replies.
    :raises ApiError: if one of them cannot be had.
    """
    replies: dict[int, Reply] = {}
    for delay in (*growing_delays(), None):
        left = [nth for nth in range(len(reads)) if nth not in replies]
        call = together([reads[nth] for nth in left])
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
    in_flight: int = IN_FLIGHT,
) -> Plan[None]:
    """Send one call for each item, until the outcome of each is known.

    Has several requests under way, and one at a time while the portal refuses.
    Batches are sized by the time that the portal takes for a command, and halved when one is cut.

    :param items: what to send a call for.
    :param call_for: gives the call of an item.
    :param done: is told the reply of each item that has one.
    :param settle: is given items whose call failed, unless it was refused, and gives those to send again.
    :param what: what the items are, for the log.
    :param in_flight: requests under way at once.
    :raises ApiError: if nothing goes on; what was under way is collected and settled before.
    """
    queue, size = deque(items), BatchSize(BATCH)
    total, under_way = len(queue), 0
    window, flying, setbacks, advanced = in_flight, 0, 0, False
    held_by: ApiError | None = None
    stopped_by: ApiError | None = None
    while flying or (queue and stopped_by is None):
        while queue and flying < window and held_by is None and stopped_by is None:
            some = [queue.popleft() for _ in range(min(size.now, len(queue)))]
            yield Submit(together([call_for(item) for item in some]), some)
            flying, under_way = flying + 1, under_way + len(some)
        collected: Collected = yield Collect()
        some = collected.tag
        flying, under_way = flying - 1, under_way - len(some)
        fit_batch_size(size, len(some), collected.outcome)
        window = _next_window(collected.outcome, window, in_flight)
        again: dict[K, ApiError] = {}
        try:
            again = yield from _handle(some, collected.outcome, done, settle)
        except ApiError as error:
            stopped_by = stopped_by or error
        queue.extendleft(reversed(again))
        yield Progress(total - len(queue) - under_way, total, what)
        advanced |= len(again) < len(some)
        held_by = max([*again.values(), *([held_by] if held_by else [])], key=_retry_after, default=None)
        # Requests that fail together are one setback, and are waited out once.
        if held_by is not None and not flying and stopped_by is None:
            setbacks = 0 if advanced else setbacks + 1
            if setbacks >= ATTEMPTS:
                stopped_by = held_by
            elif setbacks or held_by.retry_after:
                yield Pause(max(growing_delay(setbacks), _retry_after(held_by)), reason=str(held_by))
            held_by, advanced = None, False
    if stopped_by is not None:
        raise stopped_by


def read_pages(
    first: Reply,
    page: Callable[[int], Call],
    collect: Callable[[int, Reply], int],
    *,
    what: str,
    limit: int | None = None,
    in_flight: int = IN_FLIGHT,
) -> Plan[None]:
    """Read the pages of a list, of which the first is there already: one request for each 50 of the others.

    :param first: the first page.
    :param page: gives the call of the page at an offset.
    :param collect: is told the offset and reply of each page, in any order, and gives how many rows it kept.
    :param what: what the pages are of, for the log.
    :param limit: how many rows are enough; default: all.
    :param in_flight: requests under way at once.
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
        yield from send_each(starts, page, take, _read_again, what=what, in_flight=in_flight)
        start = following[starts[-1]]


def _read_again(errors: Mapping[int, ApiError]) -> Plan[list[int]]:
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
        size.cut(commands)


def _next_window(outcome: Reply | ApiError, window: int, in_flight: int) -> int:
    """Give the number of requests to have under way."""
    if isinstance(outcome, Reply):
        return min(in_flight, window + 1)
    return 1 if isinstance(outcome, RefusedError) else window


def _handle(
    items: Sequence[K],
    outcome: Reply | ApiError,
    done: Callable[[K, Reply], None],
    settle: Callable[[Mapping[K, ApiError]], Plan[list[K]]],
) -> Plan[dict[K, ApiError]]:
    """Give the items to send again, each with why."""
    again: dict[K, ApiError] = {}
    unclear: dict[K, ApiError] = {}
    for item, its_own in _outcomes(items, outcome).items():
        if isinstance(its_own, Reply):
            done(item, its_own)
        elif isinstance(its_own, RefusedError):
            again[item] = its_own
        else:
            unclear[item] = its_own
    if unclear:
        again |= {item: unclear[item] for item in (yield from settle(unclear))}
    return again


def together(commands: Sequence[Call]) -> Call:
    """Give one call that does them all; a single one needs no batch around it.

    :param commands: one to 50 calls.
    """
    if len(commands) == 1:
        return commands[0]
    return calls.batch({f"c{nth}": call for nth, call in enumerate(commands)})


def _outcomes(items: Sequence[K], outcome: Any) -> dict[K, Reply | ApiError]:
    """Give each item's own outcome out of that of the request.

    :raises RejectedError: if a batch as a whole was rejected, which is nothing about any of its commands.
    """
    if len(items) == 1:
        return {items[0]: outcome}
    if isinstance(outcome, RejectedError):
        raise outcome
    if isinstance(outcome, ApiError):
        return dict.fromkeys(items, outcome)
    return dict(zip(items, outcome.result.values(), strict=True))
