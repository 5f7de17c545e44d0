"""Reading calls made at about the same time, sent in one request: one portal allows two requests a second."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from airflow_provider_workflows.bitrix24.calls import BATCH, Call, Reply
from airflow_provider_workflows.bitrix24.limits.batch_size import BatchSize
from airflow_provider_workflows.bitrix24.sending import fit_batch_size, make_batch
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotProcessedError,
    RedirectedError,
    ReplyLostError,
)

Outcome: TypeAlias = Reply | ApiError


@dataclass(slots=True, eq=False)
class _Question:
    call: Call
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list)


class RequestCoalescer:
    """Sends reading calls up to 50 to a batch, equal ones once. Belongs to one event loop.

    :param attempt: sends a call and returns its result or error.
    :param in_flight: requests under way at once.
    :param window: seconds to wait for others that ask.
    """

    def __init__(self, attempt: Callable[[Call], Awaitable[Outcome]], in_flight: int, *, window: float) -> None:
        self._attempt = attempt
        self._window = window
        self._wanted: dict[str, _Question] = {}
        self._under_way: set[_Question] = set()
        self._size = BatchSize(BATCH)
        self._slots = asyncio.Semaphore(in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._collecting = False

    async def load(self, call: Call) -> Outcome:
        """Return the result or error of a reading call. Who is cancelled takes the question back.

        :param call: a call that changes nothing.
        """
        key = json.dumps([call.method, call.params])
        question = self._wanted.setdefault(key, _Question(call))
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        question.waiters.append(waiter)
        if not self._collecting:
            self._collecting = True
            self._spawn(self._send_all())
        try:
            outcome = await waiter
        finally:
            question.waiters.remove(waiter)
            if not question.waiters and self._wanted.get(key) is question:
                del self._wanted[key]
        # Each waiter raises it, and an exception keeps where it was raised.
        return copy.copy(outcome) if isinstance(outcome, ApiError) else outcome

    def close(self) -> None:
        """Stop sending; who still asks is cancelled."""
        for task in self._tasks:
            task.cancel()
        for waiter in _waiting([*self._wanted.values(), *self._under_way]):
            waiter.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        await asyncio.sleep(self._window)
        while self._wanted:
            await self._slots.acquire()
            some = [
                self._wanted.pop(key) for key in list(islice(self._wanted, self._size.next_size(len(self._wanted))))
            ]
            self._under_way.update(some)
            self._spawn(self._send(some))
        self._collecting = False

    async def _send(self, questions: Sequence[_Question]) -> None:
        try:
            outcomes = await self._outcomes([question.call for question in questions])
        except Exception as error:
            for waiter in _waiting(questions):
                waiter.set_exception(error)
        else:
            for question, outcome in zip(questions, outcomes, strict=True):
                for waiter in _waiting([question]):
                    waiter.set_result(outcome)
        finally:
            self._under_way.difference_update(questions)
            self._slots.release()

    async def _outcomes(self, calls: Sequence[Call]) -> list[Outcome]:
        if not calls:
            return []
        outcome = await self._attempt(make_batch(calls))
        fit_batch_size(self._size, len(calls), outcome)
        if len(calls) == 1:
            return [outcome]
        if isinstance(outcome, Reply):
            return list(outcome.result.values())
        if isinstance(outcome, (NotProcessedError, ReplyLostError, AuthenticationError, RedirectedError)):
            return [outcome] * len(calls)
        # Perhaps it is one of them that the portal cannot answer.
        half = len(calls) // 2
        return await self._outcomes(calls[:half]) + await self._outcomes(calls[half:])


def _waiting(questions: Sequence[_Question]) -> list[asyncio.Future[Outcome]]:
    """Return those who still wait for an answer to one of these."""
    return [waiter for question in questions for waiter in question.waiters if not waiter.done()]
