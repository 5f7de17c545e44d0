"""What only the triggerer's transport does: several plans at once, cancelled at any moment."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import (
    ReplyLostError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan
from airflow_provider_workflows.rest.protocol import HttpSettings
from tests.rest.loopback import HANG, Loopback, http, loopback
from tests.rest.made_up import SECRET, CountingLimiter, Wire, gather, say


async def no_sleep(seconds: float) -> None:
    raise AssertionError("nothing here is to wait")


class Sleeping(Clock):
    """Sleeps as it is told to."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep

    def sleep(self, seconds: float, until: Any) -> None:
        pass

    async def asleep(self, seconds: float) -> None:
        await self._sleep(seconds)


def client_of(wire: Any, *, sleep: Any = asyncio.sleep, limiter: Any = None, **http: Any) -> AsyncClient[Any]:
    return AsyncClient(wire, clock=Sleeping(sleep), limiter=limiter, http=HttpSettings(**http))


def on_loop(work: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 300.0) -> Any:
    """Run a coroutine, and see that it leaves nothing behind."""

    async def watched() -> Any:
        result = await asyncio.wait_for(work(), seconds)
        await settled()
        return result

    return asyncio.run(watched())


async def settled() -> None:
    """Wait until only the tests' own task is left; what is cancelled may have a last word first."""
    deadline = asyncio.get_running_loop().time() + 300
    current = asyncio.current_task()
    while others := {task for task in asyncio.all_tasks() if task is not current and not own(task)}:
        assert asyncio.get_running_loop().time() < deadline, others
        await asyncio.sleep(0.005)


def own(task: asyncio.Task[Any]) -> bool:
    return "watched" in repr(task.get_coro())


def at(server: Loopback) -> str:
    return f"http://127.0.0.1:{server.port}/{SECRET}"


class TestCancelling:
    def cancelled(self, plan: Plan[Any], until: Callable[[], bool], url: str, **settings: Any) -> None:
        """Cancel a run once something holds; nothing is to be left under way."""

        async def work() -> None:
            client = client_of(Wire(url), **settings)
            running = asyncio.create_task(client.run(plan))
            while not until():
                await asyncio.sleep(0.005)
            running.cancel("the user did it")
            with pytest.raises(asyncio.CancelledError, match="the user did it"):
                await running
            await settled()
            await client.close()

        on_loop(work)

    def test_the_request_under_way_is_given_up_and_has_left(self) -> None:
        limiter = CountingLimiter()
        with loopback(lambda request: HANG) as server:
            self.cancelled(say(), lambda: bool(server.requests), at(server), limiter=limiter)
        assert len(limiter.came) == 1
        ((_, outcome),) = limiter.left
        assert type(outcome) is ReplyLostError

    def test_so_are_all_that_were_submitted(self) -> None:
        limiter = CountingLimiter()
        with loopback(lambda request: HANG) as server:
            self.cancelled(gather(*range(5)), lambda: len(server.requests) == 5, at(server), limiter=limiter)
        assert (
            sorted(call.word for call in limiter.came)
            == sorted(call.word for call, _ in limiter.left)
            == [0, 1, 2, 3, 4]
        )

    def test_who_waits_for_its_turn_is_not_sent(self) -> None:
        limiter = CountingLimiter(turn=60)
        with loopback(lambda request: http()) as server:
            self.cancelled(say(), lambda: bool(limiter.came), at(server), limiter=limiter)
            assert server.requests == []

    def test_who_waits_for_its_turn_leaves_its_place(self) -> None:
        limiter = CountingLimiter(turn=60)
        self.cancelled(say(), lambda: bool(limiter.came), "http://127.0.0.1:9", limiter=limiter)
        assert len(limiter.left) == len(limiter.came) == 1

    def test_who_is_just_taking_its_place_leaves_it_too(self) -> None:
        class Slow(CountingLimiter):
            def acquire(self, call: Any) -> Iterator[float]:
                entering.set()
                go_on.wait(300)
                yield from super().acquire(call)

        async def work() -> None:
            client = client_of(Wire("http://127.0.0.1:9"), limiter=limiter)
            running = asyncio.create_task(client.run(say()))
            await asyncio.to_thread(entering.wait, 300)
            running.cancel()
            asyncio.get_running_loop().call_later(0.02, go_on.set)
            await asyncio.wait([running])
            await asyncio.to_thread(time.sleep, 0.1)
            await client.close()

        entering, go_on, limiter = threading.Event(), threading.Event(), Slow()
        on_loop(work)
        assert len(limiter.came) == len(limiter.left) == 1

    def test_a_pause_ends_at_once(self) -> None:
        pausing: list[float] = []

        async def sleep(seconds: float) -> None:
            pausing.append(seconds)
            await asyncio.sleep(seconds)

        def plan() -> Plan[None]:
            yield Pause(3600, reason="busy")

        self.cancelled(plan(), lambda: bool(pausing), "http://127.0.0.1:9", sleep=sleep)

    def test_the_other_plans_of_the_client_go_on(self) -> None:
        async def work() -> Any:
            client = client_of(Wire(at(server)))
            first, second = (asyncio.create_task(client.run(say(word))) for word in ("first", "second"))
            while len(server.requests) < 2:
                await asyncio.sleep(0.005)
            first.cancel()
            await asyncio.wait([first])
            go_on.set()
            try:
                return await second
            finally:
                await client.close()

        go_on = threading.Event()

        def answer(request: bytes) -> bytes:
            go_on.wait(300)
            return http()

        with loopback(answer) as server:
            assert on_loop(work).http_status == 200

    def test_the_frames_that_hold_the_address_are_not_shown(self) -> None:
        async def work() -> Any:
            client = client_of(Wire(at(server)))
            running = asyncio.create_task(client.run(say()))
            while not server.requests:
                await asyncio.sleep(0.005)
            running.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await running
            await client.close()
            return [frame.name for frame in traceback.extract_tb(caught.tb)]

        with loopback(lambda request: HANG) as server:
            names = on_loop(work)
        assert "_exchange" not in names
        assert "attempt" in names
