"""Reading calls that are asked for at about the same time, sent together: one portal allows two requests a second."""

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
from airflow_provider_workflows.bitrix24.sending import IN_FLIGHT, fit_batch_size, make_batch
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotProcessedError,
    RedirectedError,
    ReplyLostError,
)

#: Seconds to wait for others that ask.
WINDOW = 1.0

Outcome: TypeAlias = Reply | ApiError


@dataclass(slots=True, eq=False)
class _Question:
    call: Call
    askers: list[asyncio.Future[Outcome]] = field(default_factory=list)


class RequestCoalescer:
    """Sends reading calls up to 50 to a batch, equal ones once. Belongs to one event loop.

    :param attempt: sends a call and gives its result or error.
    """

    def __init__(self, attempt: Callable[[Call], Awaitable[Outcome]]) -> None:
        self._attempt = attempt
        self._asked: dict[str, _Question] = {}
        self._under_way: set[_Question] = set()
        self._size = BatchSize(BATCH)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._collecting = False

    async def ask(self, call: Call) -> Outcome:
        """Return the result or error of a reading call. Who is cancelled takes the question back.

        :param call: a call that changes nothing.
        """
        key = json.dumps([call.method, call.params])
        question = self._asked.setdefault(key, _Question(call))
        asker: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        question.askers.append(asker)
        if not self._collecting:
            self._collecting = True
            self._spawn(self._send_all())
        try:
            outcome = await asker
        finally:
            question.askers.remove(asker)
            if not question.askers and self._asked.get(key) is question:
                del self._asked[key]
        # Each asker raises it, and an exception keeps where it was raised.
        return copy.copy(outcome) if isinstance(outcome, ApiError) else outcome

    def close(self) -> None:
        """Stop sending; who still asks is cancelled."""
        for task in self._tasks:
            task.cancel()
        for asker in _waiting([*self._asked.values(), *self._under_way]):
            asker.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        await asyncio.sleep(WINDOW)
        while self._asked:
            await self._slots.acquire()
            some = [self._asked.pop(key) for key in list(islice(self._asked, self._size.next_size(len(self._asked))))]
            self._under_way.update(some)
            self._spawn(self._send(some))
        self._collecting = False

    async def _send(self, questions: Sequence[_Question]) -> None:
        try:
            outcomes = await self._outcomes([question.call for question in questions])
        except Exception as error:
            for asker in _waiting(questions):
                asker.set_exception(error)
        else:
            for question, outcome in zip(questions, outcomes, strict=True):
                for asker in _waiting([question]):
                    asker.set_result(outcome)
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
    return [asker for question in questions for asker in question.askers if not asker.done()]
