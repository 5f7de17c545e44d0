"""Reading calls made at about the same time, sent in one request: one portal allows two requests a second."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from airflow_provider_workflows.bitrix24.batches import Batches
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotProcessedError,
    RedirectedError,
    ReplyLostError,
)

Outcome: TypeAlias = Reply | ApiError


@dataclass(slots=True, eq=False)
class _PendingCall:
    call: Call
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list)


class RequestCoalescer:
    """Sends reading calls in batches of up to 50, equal ones once. Belongs to one event loop.

    :param attempt: sends a call and returns its result or error.
    :param in_flight: requests under way at once.
    :param delay: seconds that a call waits for others to share its batch.
    """

    def __init__(
        self,
        attempt: Callable[[Call], Awaitable[Outcome]],
        in_flight: int,
        *,
        delay: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._attempt = attempt
        self._clock = clock
        self._delay = delay
        self._queue: dict[str, _PendingCall] = {}
        self._under_way: set[_PendingCall] = set()
        self._batches = Batches()
        self._slots = asyncio.Semaphore(in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._collecting = False

    async def load(self, call: Call) -> Outcome:
        """Return the result or error of a reading call. A caller that is cancelled takes its call back.

        :param call: a call that changes nothing.
        """
        key = json.dumps([call.method, call.params])
        one = self._queue.setdefault(key, _PendingCall(call))
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        one.waiters.append(waiter)
        if not self._collecting:
            self._collecting = True
            self._spawn(self._send_all())
        try:
            outcome = await waiter
        finally:
            one.waiters.remove(waiter)
            if not one.waiters and self._queue.get(key) is one:
                del self._queue[key]
        # Each waiter raises it, and an exception keeps where it was raised.
        return copy.copy(outcome) if isinstance(outcome, ApiError) else outcome

    def close(self) -> None:
        """Stop sending; callers that still wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        for waiter in _waiting([*self._queue.values(), *self._under_way]):
            waiter.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        await self._clock.asleep(self._delay)
        while self._queue:
            await self._slots.acquire()
            size = self._batches.next_size(len(self._queue), trial=False)
            some = [self._queue.pop(key) for key in list(islice(self._queue, size))]
            self._under_way.update(some)
            self._spawn(self._send(some))
        self._collecting = False

    async def _send(self, pending: Sequence[_PendingCall]) -> None:
        try:
            outcomes = await self._outcomes([one.call for one in pending])
        except Exception as error:
            for waiter in _waiting(pending):
                waiter.set_exception(error)
        else:
            for one, outcome in zip(pending, outcomes, strict=True):
                for waiter in _waiting([one]):
                    waiter.set_result(outcome)
        finally:
            self._under_way.difference_update(pending)
            self._slots.release()

    async def _outcomes(self, calls: Sequence[Call]) -> list[Outcome]:
        if not calls:
            return []
        outcome = await self._attempt(self._batches.make_batch(calls))
        self._batches.learn(len(calls), outcome)
        if len(calls) == 1:
            return [outcome]
        if isinstance(outcome, Reply):
            return list(outcome.result.values())
        if isinstance(outcome, (NotProcessedError, ReplyLostError, AuthenticationError, RedirectedError)):
            return [outcome] * len(calls)
        # Perhaps only one of them makes the portal fail.
        half = len(calls) // 2
        return await self._outcomes(calls[:half]) + await self._outcomes(calls[half:])


def _waiting(pending: Sequence[_PendingCall]) -> list[asyncio.Future[Outcome]]:
    """Return the waiters that still need the answer to one of these."""
    return [waiter for one in pending for waiter in one.waiters if not waiter.done()]
