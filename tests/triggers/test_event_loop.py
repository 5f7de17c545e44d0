"""Triggers as neighbours: a triggerer runs hundreds of them in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from threading import Event
from typing import Any

import pytest
from airflow.providers.common.compat.connection import get_async_connection
from airflow.triggers.base import BaseTrigger
from fakeredis import FakeRedis, FakeServer

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.hooks import base
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.hooks.stores import record_store
from airflow_provider_workflows.records.files import FileRecordStore
from airflow_provider_workflows.records.redis import RedisRecordStore
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.simulator.bitrix24 import portal
from airflow_provider_workflows.simulator.domo import host
from airflow_provider_workflows.triggers import polling
from airflow_provider_workflows.triggers.bitrix24 import (
    RunningWorkflowsTrigger,
    WorkflowsAppearedTrigger,
    WorkflowsEndedTrigger,
)
from airflow_provider_workflows.triggers.domo import InstancesTrigger
from tests.triggers.clock import revive

INSTANCE = "2052e10a-d142-4391-a731-2be1ab1c0188"
#: Seconds after which what was waited for will not come, on the slowest machine.
PATIENCE = 300.0


def running(template: int = 7) -> RunningWorkflowsTrigger:
    return RunningWorkflowsTrigger(
        bitrix24_conn_id="bitrix24_default",
        filters={"TEMPLATE_ID": template},
        stuck_for=None,
        min_count=1,
        max_count=None,
        poll_interval=0.05,
        deadline=None,
    )


def ended(ids: list[str]) -> WorkflowsEndedTrigger:
    return WorkflowsEndedTrigger(
        bitrix24_conn_id="bitrix24_default", workflow_ids=ids, poll_interval=0.05, deadline=None
    )


def instances(ids: list[str]) -> InstancesTrigger:
    return InstancesTrigger(domo_conn_id="domo_default", instance_ids=ids, poll_interval=0.05, deadline=None)


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no trigger wait until a scheduler has heard of its task."""
    monkeypatch.setattr(polling, "MIN_DEFERRED_SECONDS", 0.0)


async def first_event(trigger: BaseTrigger) -> Any:
    async with aclosing(revive(trigger).run()) as events:  # type: ignore[type-var]
        async for event in events:
            return event.payload
    return None


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def alone() -> None:
    """Wait until nothing else goes on in the event loop."""
    deadline = time.monotonic() + PATIENCE
    while asyncio.all_tasks() != {asyncio.current_task()}:
        assert time.monotonic() < deadline, asyncio.all_tasks()
        await asyncio.sleep(0.01)


class Others:
    """What the event loop has to do besides: it goes on only while nothing blocks the loop."""

    def __init__(self) -> None:
        self._at_work = Event()

    async def work(self) -> None:
        """Go on for ever."""
        while True:
            self._at_work.set()
            await asyncio.sleep(0.001)

    def wait(self) -> None:
        """Take long: until the others have gone on."""
        self._at_work.clear()
        assert self._at_work.wait(PATIENCE), "the event loop stands still"


@pytest.fixture
def before_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what has both systems do something before they answer."""

    def before_answers(do: Callable[[], object]) -> None:
        for module in (portal, host):
            exchange: Any = module.exchange

            async def slowly(*given: Any, exchange: Any = exchange) -> Any:
                await asyncio.to_thread(do)
                return await exchange(*given)

            monkeypatch.setattr(module, "exchange", slowly)

    return before_answers


class TestNotBlocked:
    """Nothing that takes long is done on the loop itself, so the others go on."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 0.02)

    @pytest.fixture
    def others(self) -> Others:
        return Others()

    def beside(self, others: Others, trigger: BaseTrigger) -> Any:
        async def work() -> Any:
            beside = asyncio.create_task(others.work())
            try:
                return await first_event(trigger)
            finally:
                beside.cancel()

        return asyncio.run(asyncio.wait_for(work(), 2 * PATIENCE))

    def test_by_a_portal_that_is_slow(self, control: Control, others: Others, before_answers: Any) -> None:
        control.add_workflows([{"TEMPLATE_ID": 7}])
        before_answers(others.wait)
        assert self.beside(others, running())["status"] == "success"

    def test_by_an_account_that_is_slow(self, control: Control, others: Others, before_answers: Any) -> None:
        ids = control.add_domo_instances([{"status": "COMPLETED"}])
        before_answers(others.wait)
        assert self.beside(others, instances(ids))["status"] == "success"

    @pytest.mark.parametrize("make", [lambda: ended([]), lambda: instances([])])
    def test_by_a_client_that_takes_long_to_be_made(
        self, control: Control, monkeypatch: pytest.MonkeyPatch, others: Others, make: Callable[[], BaseTrigger]
    ) -> None:
        """Trusted certificates are read from disk for each one."""
        for hook in (Bitrix24Hook, DomoHook):
            original = hook._shared._make

            def make_slowly(settings: Any, original: Any = original) -> Any:
                others.wait()
                return original(settings)

            monkeypatch.setattr(hook._shared, "_make", make_slowly)
        assert self.beside(others, make())["status"] == "success"

    def test_by_another_process_that_holds_the_file_of_the_bucket(
        self, control: Control, monkeypatch: pytest.MonkeyPatch, others: Others
    ) -> None:
        change = FileRecordStore.change

        def held(self: FileRecordStore, *arguments: Any, **options: Any) -> Any:
            others.wait()
            return change(self, *arguments, **options)

        monkeypatch.setattr(FileRecordStore, "change", held)
        control.add_workflows([{"TEMPLATE_ID": 7}])
        assert self.beside(others, running())["status"] == "success"

    def test_by_a_shared_store_that_is_far_away(
        self,
        control: Control,
        connect: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        others: Others,
    ) -> None:
        """Making it, which reads a connection, takes as long as calling it."""
        code = control.settings()["webhook_code"]
        connect("BITRIX24_DEFAULT", login="1", password=code, extra={"shared_store": "shared"})
        monkeypatch.setenv("AIRFLOW_CONN_SHARED", "redis://redis.acme.com")
        server, read = FakeServer(), RedisRecordStore._read

        def made_slowly(*arguments: Any) -> Any:
            others.wait()
            return record_store(*arguments)

        def read_slowly(self: RedisRecordStore, name: str) -> Any:
            others.wait()
            return read(self, name)

        monkeypatch.setattr("redis.Redis", lambda **options: FakeRedis(server=server))
        monkeypatch.setattr("airflow_provider_workflows.hooks.stores.record_store", made_slowly)
        monkeypatch.setattr(RedisRecordStore, "_read", read_slowly)
        control.add_workflows([{"TEMPLATE_ID": 7}])
        assert self.beside(others, running())["status"] == "success"
        assert FakeRedis(server=server).keys() != []

    def test_by_looking_up_the_connection(
        self, control: Control, monkeypatch: pytest.MonkeyPatch, others: Others
    ) -> None:
        """A secrets backend may be far away, and Airflow forbids a trigger to wait for it."""
        original = get_async_connection
        awaited: list[str] = []

        async def far_away(conn_id: str, **options: Any) -> Any:
            awaited.append(conn_id)
            await asyncio.to_thread(others.wait)
            return await original(conn_id, **options)

        def synchronous(*args: Any) -> Any:
            raise AssertionError("the connection is looked up on the event loop")

        monkeypatch.setattr(base, "get_async_connection", far_away)
        monkeypatch.setattr(Bitrix24Hook, "get_conn", synchronous)
        control.add_workflows([{"TEMPLATE_ID": 7}])
        assert self.beside(others, running())["status"] == "success"
        assert awaited == ["bitrix24_default"]


class TestCancelled:
    """A triggerer that is stopped, and a task that is cleared or killed, cancel the trigger with a message."""

    @pytest.mark.parametrize("make", [running, lambda: ended(["a.1"]), lambda: instances([INSTANCE])])
    def test_in_the_middle_of_a_poll_it_ends_with_the_message_and_waits_for_no_answer(
        self,
        control: Control,
        monkeypatch: pytest.MonkeyPatch,
        before_answers: Any,
        make: Callable[[], BaseTrigger],
    ) -> None:
        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 0.0)
        asked, over = Event(), Event()

        def answer() -> None:
            asked.set()
            assert over.wait(PATIENCE), "the trigger waits for the answer"

        before_answers(answer)

        async def work() -> None:
            task = asyncio.create_task(first_event(make()))
            await until(asked.is_set)
            task.cancel("killed by a user")
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.args == ("killed by a user",)
            # What was under way has a last word with the bucket, which nobody waits for.
            await alone()
            over.set()

        asyncio.run(work())

    def test_its_question_is_not_asked_any_more(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 2.0)
        control.add_workflows([{"TEMPLATE_ID": 8}])
        cancelled = asyncio.Event()
        nap = Clock.asleep

        async def asleep(clock: Clock, seconds: float) -> None:
            # The first waits for others until the cancels are done.
            await (cancelled.wait() if seconds == 2.0 else nap(clock, seconds))

        monkeypatch.setattr(Clock, "asleep", asleep)
        asked: list[Any] = []
        load = RequestCoalescer.load

        async def counted(*given: Any) -> Any:
            asked.append(given)
            return await load(*given)

        monkeypatch.setattr(RequestCoalescer, "load", counted)

        async def work() -> Any:
            gone = [asyncio.create_task(first_event(running(template))) for template in (7, 7, 9)]
            stays = asyncio.create_task(first_event(running(8)))
            await until(lambda: len(asked) == 4)
            for task in gone:
                task.cancel()
            await asyncio.wait(gone)
            cancelled.set()
            return await stays

        assert asyncio.run(asyncio.wait_for(work(), PATIENCE))["status"] == "success"
        (request,) = control.requests()
        assert request["method"] == "bizproc.workflow.instances"
        assert str(request["params"]["FILTER"]["TEMPLATE_ID"]) == "8"

    def test_when_the_last_is_gone_nothing_goes_on(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 0.1)

        async def work() -> None:
            tasks = [asyncio.create_task(first_event(running(template))) for template in range(1, 6)]
            await until(control.requests)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await alone()

        asyncio.run(work())


class TestAppeared:
    """What a row of polls makes of it, without a portal."""

    @staticmethod
    def fired(polls: list[list[str]]) -> list[list[str]]:
        async def stream() -> AsyncIterator[list[str]]:
            for poll in polls:
                yield poll

        async def work() -> list[list[str]]:
            trigger = WorkflowsAppearedTrigger()
            return [event.payload["workflow_ids"] async for event in trigger.filter_shared_stream(stream())]

        return asyncio.run(work())

    @pytest.mark.parametrize(
        ("polls", "events"),
        [
            ([[], [], []], []),
            ([["a"], ["a"], ["a"]], [["a"]]),
            ([["a"], [], ["a"]], [["a"], ["a"]]),
            ([["a"], ["a", "b"], ["b"], ["a", "b"]], [["a"], ["b"], ["a"]]),
            ([["b", "a"], ["a", "b"]], [["b", "a"]]),
            ([["a"], ["b"], ["c"]], [["a"], ["b"], ["c"]]),
        ],
    )
    def test_each_appearance_fires_once(self, polls: list[list[str]], events: list[list[str]]) -> None:
        assert self.fired(polls) == events

    def test_exactly_a_thousand_are_one_event_and_one_more_is_another(self) -> None:
        ids = [f"id.{number}" for number in range(1001)]
        assert self.fired([ids[:1000]]) == [ids[:1000]]
        assert self.fired([ids]) == [ids[:1000], ids[1000:]]

    def test_what_was_not_taken_yet_is_reported_again_after_a_restart(self) -> None:
        """Told twice is better than never: it is kept as reported only after every event was taken."""

        class Store:
            kept: Any = None

            async def aget(self, key: str) -> Any:
                return self.kept

            async def aset(self, key: str, value: Any) -> None:
                self.kept = value

        async def stream() -> AsyncIterator[list[str]]:
            yield [f"id.{number}" for number in range(1500)]

        async def work() -> None:
            trigger: Any = WorkflowsAppearedTrigger()
            trigger.asset_state_store = store = Store()
            events = trigger.filter_shared_stream(stream())
            assert len((await anext(events)).payload["workflow_ids"]) == 1000
            assert store.kept is None
            assert len((await anext(events)).payload["workflow_ids"]) == 500
            assert store.kept is None
            with suppress(StopAsyncIteration):
                await anext(events)
            assert store.kept == [f"id.{number}" for number in range(1500)]

        asyncio.run(work())
