"""SharedClients: one client for each account and event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.sharing import SharedClients
from tests.rest.made_up import NoSleep, Wire
from tests.rest.test_aio import on_loop, settled


class FakeClient(AsyncClient[Any]):
    """Counts who was made and closed."""

    def __init__(self, settings: Any) -> None:
        super().__init__(Wire(), clock=NoSleep())
        self.settings = settings
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def found(settings: Any) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Return what finds these settings."""

    async def find() -> Any:
        return settings

    return find


class TestSharedClients:
    def test_equal_settings_share_one_and_the_last_closes_it(self) -> None:
        made: list[FakeClient] = []

        def make(settings: Any) -> FakeClient:
            made.append(FakeClient(settings))
            return made[-1]

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(make)
            async with shared.use(found(("a", 1))) as first:
                async with shared.use(found(("a", 1))) as second:
                    assert first is second
                assert first.closed == 0
            assert first.closed == 1

        on_loop(work)
        assert len(made) == 1

    def test_those_who_look_for_the_same_at_once_look_once(self) -> None:
        looked: list[str] = []

        async def find() -> str:
            looked.append("a")
            await asyncio.sleep(0.01)
            return "a"

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)

            async def user() -> None:
                async with shared.use(find, "conn"):
                    await asyncio.sleep(0)

            users = [asyncio.create_task(user()) for _ in range(30)]
            await asyncio.sleep(0)
            # Who looks for all gives up, and the others do not notice.
            users[0].cancel()
            assert [type(end) for end in await asyncio.gather(*users, return_exceptions=True)][1:] == [type(None)] * 29
            assert len(looked) == 1
            # It is looked up anew later: it may have changed.
            await user()
            assert len(looked) == 2

        on_loop(work)

    def test_all_who_look_are_told_why_it_was_not_found(self) -> None:
        async def find() -> str:
            await asyncio.sleep(0)
            raise KeyError("conn")

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)

            async def user() -> None:
                async with shared.use(find, "conn"):
                    raise AssertionError("there is no client")

            ends = await asyncio.gather(*(user() for _ in range(3)), return_exceptions=True)
            assert [type(end) for end in ends] == [KeyError] * 3

        on_loop(work)

    def test_users_that_come_at_the_same_moment_share_one_too(self) -> None:
        made: list[str] = []
        entered = []

        def make(settings: Any) -> FakeClient:
            made.append(settings)
            return FakeClient(settings)

        async def user(shared: Any, all_there: asyncio.Event) -> None:
            async with shared.use(found("a")) as client:
                entered.append(client)
                if len(entered) == 30:
                    all_there.set()
                await all_there.wait()

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(make)
            all_there = asyncio.Event()
            await asyncio.gather(*(user(shared, all_there) for _ in range(30)))

        on_loop(work)
        assert made == ["a"]
        assert len(set(map(id, entered))) == 1
        assert entered[0].closed == 1

    def test_other_settings_have_another_one(self) -> None:
        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)
            async with shared.use(found("a")) as first, shared.use(found("b")) as second:
                assert (first.settings, second.settings) == ("a", "b")

        on_loop(work)

    def test_after_the_last_has_left_the_next_has_a_new_one(self) -> None:
        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)
            async with shared.use(found("a")) as first:
                pass
            async with shared.use(found("a")) as second:
                assert second is not first
                assert second.closed == 0

        on_loop(work)

    def test_another_event_loop_has_another_one(self) -> None:
        shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)
        inside, leave = threading.Event(), threading.Event()
        seen: list[FakeClient] = []

        async def stay() -> None:
            async with shared.use(found("a")) as client:
                seen.append(client)
                inside.set()
                await asyncio.to_thread(leave.wait, 5)

        async def come() -> None:
            async with shared.use(found("a")) as client:
                seen.append(client)

        thread = threading.Thread(target=on_loop, args=(stay,))
        thread.start()
        assert inside.wait(300)
        on_loop(come)
        leave.set()
        thread.join(300)
        assert seen[0] is not seen[1]
        assert [client.closed for client in seen] == [1, 1]

    def test_loops_that_are_gone_are_forgotten(self) -> None:
        shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)

        async def work() -> None:
            async with shared.use(found("a")):
                pass

        for _ in range(5):
            on_loop(work)
        gc.collect()
        # Something else may still hold the last one.
        assert len(shared._loops) <= 1

    def test_who_leaves_by_an_error_closes_it_as_well(self) -> None:
        seen: list[FakeClient] = []

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(FakeClient)
            async with shared.use(found("a")) as client:
                seen.append(client)
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            on_loop(work)
        assert seen[0].closed == 1

    def test_one_that_cannot_be_made_fails_its_users_and_nobody_after_them(self) -> None:
        failures = iter([ValueError("the settings are wrong")])

        def make(settings: Any) -> FakeClient:
            for failure in failures:
                raise failure
            return FakeClient(settings)

        async def use(shared: Any) -> str:
            try:
                async with shared.use(found("a")):
                    return "there"
            except ValueError as error:
                return str(error)

        async def work() -> Any:
            shared: SharedClients[Any, FakeClient] = SharedClients(make)
            return [*await asyncio.gather(use(shared), use(shared)), await use(shared)]

        assert on_loop(work) == ["the settings are wrong", "the settings are wrong", "there"]

    def test_a_user_who_is_cancelled_while_it_is_made_takes_it_from_nobody(self) -> None:
        go_on = threading.Event()

        def make(settings: Any) -> FakeClient:
            go_on.wait(300)
            return FakeClient(settings)

        async def use(shared: Any) -> FakeClient:
            async with shared.use(found("a")) as client:
                assert client.closed == 0
                return client  # type: ignore[no-any-return]

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(make)
            first, second = (asyncio.create_task(use(shared)) for _ in range(2))
            await asyncio.sleep(0.02)
            first.cancel()
            await asyncio.wait([first])
            go_on.set()
            client = await second
            assert first.cancelled()
            assert client.closed == 1

        on_loop(work)

    def test_one_that_nobody_waited_for_is_closed_when_it_is_made(self) -> None:
        go_on = threading.Event()
        made: list[FakeClient] = []

        def make(settings: Any) -> FakeClient:
            go_on.wait(300)
            made.append(FakeClient(settings))
            return made[-1]

        async def use(shared: Any) -> None:
            async with shared.use(found("a")):
                pass

        async def work() -> None:
            shared: SharedClients[Any, FakeClient] = SharedClients(make)
            only = asyncio.create_task(use(shared))
            await asyncio.sleep(0.02)
            only.cancel()
            await asyncio.wait([only])
            go_on.set()
            await settled()

        on_loop(work)
        assert [client.closed for client in made] == [1]

    def test_it_is_made_off_the_event_loop(self) -> None:
        made_in: list[int] = []

        def make(settings: Any) -> FakeClient:
            made_in.append(threading.get_ident())
            return FakeClient(settings)

        async def work() -> None:
            async with SharedClients(make).use(found("a")):
                pass

        on_loop(work)
        assert made_in != [threading.get_ident()]
