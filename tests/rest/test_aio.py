"""AsyncClient and SharedClients: as the synchronous client, but several plans at once and cancelled at any moment."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import (
    ApiError,
    InvalidCallError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
)
from airflow_provider_workflows.rest.plans import Collect, Pause, PauseDueError, Plan, Progress, Submit
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sharing import SharedClients
from airflow_provider_workflows.rest.sync import Client
from tests.rest.loopback import HANG, RESET, Loopback, closed_port, http, loopback
from tests.rest.test_sync import SECRET, Say, Wire, say


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


@dataclass
class CountingPace:
    """Notes who came and went, and has them wait for their turn."""

    turn: float = 0.0
    refuse: ApiError | None = None
    came: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def acquire(self, call: Any) -> float:
        self.threads.add(threading.get_ident())
        if self.refuse:
            raise self.refuse
        self.came.append(call)
        return self.turn

    def release(self, call: Any, outcome: Any) -> None:
        self.threads.add(threading.get_ident())
        self.left.append((call, outcome))


def on_loop(work: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 10.0) -> Any:
    """Run a coroutine, and see that it leaves nothing behind."""

    async def watched() -> Any:
        result = await asyncio.wait_for(work(), seconds)
        await settled()
        return result

    return asyncio.run(watched())


async def settled() -> None:
    """Wait until only the tests' own task is left; what is cancelled may have a last word first."""
    deadline = asyncio.get_running_loop().time() + 5
    current = asyncio.current_task()
    while others := {task for task in asyncio.all_tasks() if task is not current and not own(task)}:
        assert asyncio.get_running_loop().time() < deadline, others
        await asyncio.sleep(0.005)


def own(task: asyncio.Task[Any]) -> bool:
    return "watched" in repr(task.get_coro())


def run(
    plan: Plan[Any],
    url: str,
    *,
    sleep: Callable[[float], Awaitable[None]] = no_sleep,
    longest_pause: float | None = None,
    wire: Any = None,
    **settings: Any,
) -> Any:
    """Run a plan with a client of its own."""

    async def work() -> Any:
        client = client_of(wire or Wire(url), sleep=sleep, **settings)
        try:
            return await client.run(plan, longest_pause=longest_pause)
        finally:
            await client.close()

    return on_loop(work)


def at(server: Loopback) -> str:
    return f"http://127.0.0.1:{server.port}/{SECRET}"


def status_of_word(request: bytes) -> bytes:
    """Answer with the status that the word is."""
    word = json.loads(request.partition(b"\r\n\r\n")[2])["word"]
    return http(status=f"{word} X")


class TestRun:
    def test_results_are_sent_into_the_plan_and_its_own_result_comes_back(self) -> None:
        def plan() -> Plan[list[int]]:
            first = yield Say(200)
            second = yield Say(201)
            return [first.http_status, second.http_status]

        with loopback(status_of_word) as server:
            assert run(plan(), at(server)) == [200, 201]

    def test_errors_are_raised_inside_the_plan(self) -> None:
        def plan() -> Plan[Any]:
            try:
                yield Say(500)
            except ServerError as error:
                return error.http_status
            return "no error"

        with loopback(status_of_word) as server:
            assert run(plan(), at(server)) == 500

    def test_what_the_plan_does_not_catch_comes_out(self) -> None:
        with loopback(status_of_word) as server, pytest.raises(ServerError, match="say: HTTP 502"):
            run(say(502), at(server))

    def test_a_plan_may_raise_its_own(self) -> None:
        def plan() -> Plan[Any]:
            yield Say(200)
            raise RateLimitError("mine")

        with loopback(status_of_word) as server, pytest.raises(RateLimitError, match="mine"):
            run(plan(), at(server))

    def test_a_plan_of_no_steps_is_a_plan(self) -> None:
        def plan() -> Plan[str]:
            return "done"
            yield

        assert run(plan(), "http://127.0.0.1:9") == "done"

    def test_progress_is_a_step_that_takes_nothing(self) -> None:
        def plan() -> Plan[Any]:
            return (yield Progress(1, 2, "things"))

        assert run(plan(), "http://127.0.0.1:9") is None

    def test_the_body_goes_as_json_with_the_wires_headers(self) -> None:
        with loopback(lambda request: http()) as server:
            run(say(), at(server))
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert json.loads(body) == {"word": "hello"}
        assert b"content-type: application/json" in head.lower()
        assert f"x-token: {SECRET}".encode().lower() in head.lower()

    def test_without_a_body_no_content_type_is_claimed(self) -> None:
        with loopback(lambda request: http()) as server:
            run(say(), at(server), wire=Wire(at(server), "GET"))
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b""
        assert b"content-type" not in head.lower()

    def test_calls_after_each_other_share_one_connection(self) -> None:
        def plan() -> Plan[None]:
            for _ in range(3):
                yield Say(200)

        with loopback(status_of_word) as server:
            run(plan(), at(server))
            assert (len(server.requests), server.connections) == (3, 1)


class TestPauses:
    def plan(self, seconds: float) -> Plan[str]:
        nothing = yield Pause(seconds, reason="the portal is busy")
        assert nothing is None
        return "done"

    def test_they_are_waited_out_and_explained_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        with caplog.at_level("INFO"):
            assert run(self.plan(12.5), "http://127.0.0.1:9", sleep=sleep) == "done"
        assert waited == [12.5]
        assert "the portal is busy" in caplog.text

    def test_one_longer_than_allowed_gives_the_plan_up_with_the_pause_in_hand(self) -> None:
        with pytest.raises(PauseDueError, match="to be continued after 13 s: the portal is busy") as caught:
            run(self.plan(12.6), "http://127.0.0.1:9", longest_pause=12)
        assert caught.value.pause.seconds == 12.6

    def test_one_as_long_as_allowed_is_waited_out(self) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        assert run(self.plan(12), "http://127.0.0.1:9", longest_pause=12, sleep=sleep) == "done"
        assert waited == [12]

    def test_the_plan_cannot_swallow_it(self) -> None:
        def plan() -> Plan[str]:
            try:
                yield Pause(1, reason="busy")
            except ApiError:
                return "swallowed"
            return "went on"

        with pytest.raises(PauseDueError):
            run(plan(), "http://127.0.0.1:9", longest_pause=0)


def gather(*words: Any) -> Plan[dict[Any, Any]]:
    """Submit a call for each word, then collect them all."""
    for nth, word in enumerate(words):
        yield Submit(Say(word), nth)
    found = {}
    for _ in words:
        collected = yield Collect()
        found[collected.tag] = collected.outcome
    return found


class TestSeveralAtOnce:
    def test_each_outcome_comes_with_its_tag_and_errors_are_outcomes_too(self) -> None:
        with loopback(status_of_word) as server:
            found = run(gather(200, 500, 201), at(server))
        assert isinstance(found[1], ServerError)
        assert (found[0].http_status, found[2].http_status) == (200, 201)

    def test_they_are_under_way_at_the_same_time(self) -> None:
        together = threading.Barrier(3)

        def answer(request: bytes) -> bytes:
            together.wait(5)
            return http()

        with loopback(answer) as server:
            assert len(run(gather(*"abc"), at(server))) == 3

    def test_a_plan_that_ends_leaves_none_under_way(self) -> None:
        def plan() -> Plan[str]:
            yield Submit(Say("a"), "a")
            yield Submit(Say("b"), "b")
            return "done"

        with loopback(lambda request: HANG) as server:
            assert run(plan(), at(server)) == "done"

    def test_many_plans_of_one_client_do_not_take_each_others_outcomes(self) -> None:
        async def work() -> Any:
            client = client_of(Wire(at(server)), sleep=no_sleep)
            try:
                return await asyncio.gather(*(client.run(gather(200 + nth, 250 + nth)) for nth in range(20)))
            finally:
                await client.close()

        with loopback(status_of_word) as server:
            found = on_loop(work)
        assert [[one[0].http_status, one[1].http_status] for one in found] == [[200 + n, 250 + n] for n in range(20)]


class TestAsTheSynchronousClient:
    """One plan, two drivers, one result."""

    def everything(self) -> Plan[list[Any]]:
        seen: list[Any] = [(yield Say(200)).http_status]
        try:
            yield Say(503)
        except ServerError as error:
            seen.append(str(error))
        yield Pause(3, reason="to have done so")
        yield Progress(1, 2, "things")
        found = yield from gather(202, 500)
        seen += [found[0].http_status, str(found[1])]
        return seen

    def test_the_results_are_equal(self) -> None:
        async def sleep(seconds: float) -> None:
            assert seconds == 3

        with loopback(status_of_word) as server:
            with Client(Wire(at(server)), clock=Sleeping(asyncio.sleep)) as client:
                expected: Any = client.run(self.everything())
            assert run(self.everything(), at(server), sleep=sleep) == expected
        assert len(expected) == 4


class TestNoReply:
    """Whether the call may have been done decides over everything that follows; when in doubt, it may."""

    def failure(self, url: str, word: Any = "hello", **settings: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            run(say(word), url, **settings)
        error = caught.value
        assert (error.__cause__, error.__context__) == (None, None)
        for frame, _ in traceback.walk_tb(caught.tb):
            assert "/httpx/" not in frame.f_code.co_filename
            assert "/httpcore/" not in frame.f_code.co_filename
            assert frame.f_code.co_name != "_exchange"
        assert SECRET not in f"{error!r} {error} {vars(error)}"
        return error

    def test_nothing_listens(self) -> None:
        error = self.failure(f"http://127.0.0.1:{closed_port()}/{SECRET}")
        assert type(error) is NotConnectedError
        assert "nothing listens" in str(error)

    def test_the_server_is_silent(self) -> None:
        with loopback(lambda request: HANG) as server:
            error = self.failure(at(server), read_timeout=0.1)
        assert type(error) is ReplyLostError
        assert "read timeout" in str(error)

    def test_the_server_falls_silent_half_way(self) -> None:
        with loopback(lambda request: http(b"{", length=100)) as server:
            assert type(self.failure(at(server), read_timeout=0.1)) is ReplyLostError

    @pytest.mark.parametrize(
        "answer",
        {
            "reset": RESET,
            "closed without a word": b"",
            "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
            "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{",
            "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n{",
        }.items(),
        ids=lambda item: item[0],
    )
    def test_the_connection_or_the_reply_is_broken(self, answer: tuple[str, bytes]) -> None:
        with loopback(lambda request: answer[1]) as server:
            error = self.failure(at(server), read_timeout=5)
            assert len(server.requests) == 1, "the library must not send it again by itself"
        assert type(error) is ReplyLostError
        assert "before a whole reply came" in str(error)

    def test_the_certificate_is_not_trusted(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        with loopback(lambda request: http(), tls) as server:
            error = self.failure(f"https://127.0.0.1:{server.port}/{SECRET}")
            assert server.requests == []
        assert type(error) is NotConnectedError
        assert "TLS certificate is not trusted" in str(error)

    @pytest.mark.parametrize("url", ["http://[evil/", "http://acme example/", "ftp://127.0.0.1/", "http://", "nothing"])
    def test_the_address_is_none(self, url: str) -> None:
        assert type(self.failure(url)) is NotConnectedError

    @pytest.mark.parametrize("word", [float("nan"), float("inf"), [1, {"x": float("-inf")}]])
    def test_an_argument_that_json_cannot_hold_is_not_sent(self, word: Any) -> None:
        with loopback(lambda request: http()) as server:
            error = self.failure(at(server), word)
            assert server.requests == []
        assert type(error) is InvalidCallError
        assert "NaN" in str(error)

    def test_an_argument_that_is_no_json_at_all(self) -> None:
        with pytest.raises(TypeError, match="not JSON serializable") as caught:
            run(say(object()), f"http://127.0.0.1:{closed_port()}/{SECRET}")
        assert "_exchange" not in [frame.name for frame in traceback.extract_tb(caught.tb)]


class TestWithTheServer:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("location", ["/other", "https://evil.example/", "", "https://[evil"])
    def test_no_redirect_is_followed(self, status: int, location: str) -> None:
        with loopback(lambda request: http(b"", f"{status} X", f"Location: {location}")) as server:
            response = run(say(), at(server))
            assert len(server.requests) == 1
        assert (response.http_status, response.headers["Location"]) == (status, location)

    def test_no_cookie_is_kept(self) -> None:
        def plan() -> Plan[None]:
            yield Say(1)
            yield Say(2)

        with loopback(lambda request: http(b"{}", "200 OK", "Set-Cookie: session=mine; Path=/")) as server:
            run(plan(), at(server))
            assert [b"cookie" in request.lower() for request in server.requests] == [False, False]

    def test_nothing_that_is_shown_of_a_response_holds_what_came(self) -> None:
        with loopback(lambda request: http(SECRET.encode(), "200 OK", f"X-Echo: {SECRET}")) as server:
            response = run(say(), at(server))
        assert SECRET not in repr(response)


class TestPace:
    def test_each_request_enters_and_leaves_once_and_is_told_its_outcome(self) -> None:
        pace = CountingPace()
        with loopback(status_of_word) as server:
            run(gather(200, 500), at(server), limiter=pace)
        assert sorted(call.word for call in pace.came) == [200, 500]
        left = {call.word: outcome for call, outcome in pace.left}
        assert len(pace.left) == 2
        assert left[200].http_status == 200
        assert isinstance(left[500], ServerError)

    def test_who_has_to_wait_for_its_turn_does(self) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            assert server.requests == []

        with loopback(lambda request: http()) as server:
            run(say(), at(server), limiter=CountingPace(turn=0.7), sleep=sleep)
        assert waited == [0.7]

    def test_who_may_not_go_is_not_sent_and_does_not_leave(self) -> None:
        pace = CountingPace(refuse=RateLimitError("say", retry_after=9))
        with loopback(lambda request: http()) as server:
            with pytest.raises(RateLimitError):
                run(say(), at(server), limiter=pace)
            assert (server.requests, pace.left) == ([], [])

    def test_it_may_block_as_it_is_never_asked_on_the_event_loop(self) -> None:
        pace = CountingPace()
        with loopback(lambda request: http()) as server:
            run(say(), at(server), limiter=pace)
        assert threading.get_ident() not in pace.threads

    def test_a_call_that_cannot_even_be_made_leaves_too(self) -> None:
        class Broken(Wire):
            def request(self, call: Any) -> Any:
                raise ValueError("cannot be written")

        pace = CountingPace()
        with pytest.raises(ValueError, match="cannot be written"):
            run(say(), "", wire=Broken(), limiter=pace)
        assert len(pace.came) == len(pace.left) == 1


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
        pace = CountingPace()
        with loopback(lambda request: HANG) as server:
            self.cancelled(say(), lambda: bool(server.requests), at(server), limiter=pace)
        assert len(pace.came) == 1
        ((_, outcome),) = pace.left
        assert type(outcome) is ReplyLostError

    def test_so_are_all_that_were_submitted(self) -> None:
        pace = CountingPace()
        with loopback(lambda request: HANG) as server:
            self.cancelled(gather(*range(5)), lambda: len(server.requests) == 5, at(server), limiter=pace)
        assert sorted(call.word for call in pace.came) == sorted(call.word for call, _ in pace.left) == [0, 1, 2, 3, 4]

    def test_who_waits_for_its_turn_is_not_sent(self) -> None:
        pace = CountingPace(turn=60)
        with loopback(lambda request: http()) as server:
            self.cancelled(say(), lambda: bool(pace.came), at(server), limiter=pace)
            assert server.requests == []

    def test_who_waits_for_its_turn_leaves_its_place(self) -> None:
        pace = CountingPace(turn=60)
        self.cancelled(say(), lambda: bool(pace.came), "http://127.0.0.1:9", limiter=pace)
        assert len(pace.left) == len(pace.came) == 1

    def test_who_is_just_taking_its_place_leaves_it_too(self) -> None:
        class Slow(CountingPace):
            def acquire(self, call: Any) -> float:
                entering.set()
                go_on.wait(5)
                return super().acquire(call)

        async def work() -> None:
            client = client_of(Wire("http://127.0.0.1:9"), limiter=pace)
            running = asyncio.create_task(client.run(say()))
            await asyncio.to_thread(entering.wait, 5)
            running.cancel()
            asyncio.get_running_loop().call_later(0.02, go_on.set)
            await asyncio.wait([running])
            await asyncio.to_thread(time.sleep, 0.1)
            await client.close()

        entering, go_on, pace = threading.Event(), threading.Event(), Slow()
        on_loop(work)
        assert len(pace.came) == len(pace.left) == 1

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
            go_on.wait(5)
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


class FakeClient(AsyncClient[Any]):
    """Counts who was made and closed."""

    def __init__(self, settings: Any) -> None:
        super().__init__(Wire(), clock=Sleeping(no_sleep))
        self.settings = settings
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def found(settings: Any) -> Callable[[], Awaitable[Any]]:
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
        assert inside.wait(5)
        on_loop(come)
        leave.set()
        thread.join(5)
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
            go_on.wait(5)
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
            go_on.wait(5)
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
