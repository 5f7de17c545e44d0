"""What holds for every plan, in the worker and in the triggerer: each promise is tested on both."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import Portal, calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import (
    ApiError,
    InvalidCallError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
    StoppedError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import (
    Collect,
    MaxInFlight,
    Now,
    Pause,
    PauseDueError,
    Plan,
    Progress,
    RetryTimeout,
    Submit,
    send,
)
from airflow_provider_workflows.rest.progress import PauseLog
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sync import Client
from tests.rest.loopback import HANG, RESET, Loopback, Trickle, closed_port, http, loopback
from tests.rest.made_up import SECRET, CountingLimiter, NoSleep, Say, Wire, gather, say

NOWHERE = "http://127.0.0.1:9"


class VirtualTime(Clock):
    """Who sleeps is there at once."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0
        self.naps: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, until: Any) -> None:
        self.naps.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds, None)


class World:
    """Runs plans in the worker, or in the triggerer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(
        self,
        plan: Plan[Any],
        url: str = NOWHERE,
        *,
        clock: Clock | None = None,
        http: HttpSettings | None = None,
        wire: Any = None,
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        settings |= {"clock": clock or NoSleep(), "http": http}
        if self.kind == "worker":
            with Client(wire or Wire(url), **settings) as client:
                return client.run(plan, **options or {})

        async def work() -> Any:
            client = AsyncClient(wire or Wire(url), **settings)
            try:
                return await client.run(plan, **options or {})
            finally:
                await client.close()

        return asyncio.run(asyncio.wait_for(work(), 300))


@pytest.fixture(params=["worker", "triggerer"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def at(server: Loopback, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}/{SECRET}"


def status_of_word(request: bytes) -> bytes:
    """Answer with the status that the word is."""
    word = json.loads(request.partition(b"\r\n\r\n")[2])["word"]
    return http(status=f"{word} X")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback(status_of_word) as server:
        yield server


class TestRun:
    def test_results_are_sent_into_the_plan_and_its_own_result_comes_back(self, world: World, server: Loopback) -> None:
        def plan() -> Plan[list[int]]:
            first = yield Say(200)
            second = yield Say(201)
            return [first.http_status, second.http_status]

        assert world.run(plan(), at(server)) == [200, 201]

    def test_errors_are_raised_inside_the_plan(self, world: World, server: Loopback) -> None:
        def plan() -> Plan[Any]:
            try:
                yield Say(500)
            except ServerError as error:
                return error.http_status
            return "no error"

        assert world.run(plan(), at(server)) == 500

    def test_what_the_plan_does_not_catch_comes_out(self, world: World, server: Loopback) -> None:
        with pytest.raises(ServerError, match="say: HTTP 502"):
            world.run(say(502), at(server))

    def test_a_plan_may_raise_its_own(self, world: World, server: Loopback) -> None:
        def plan() -> Plan[Any]:
            yield Say(200)
            raise RateLimitError("mine")

        with pytest.raises(RateLimitError, match="mine"):
            world.run(plan(), at(server))

    def test_a_plan_of_no_steps_is_a_plan(self, world: World) -> None:
        def plan() -> Plan[str]:
            return "done"
            yield

        assert world.run(plan()) == "done"

    def test_it_can_ask_for_the_time_and_for_what_is_allowed(self, world: World) -> None:
        def plan() -> Plan[list[Any]]:
            return [(yield Now()), (yield MaxInFlight()), (yield RetryTimeout()), (yield Progress(1, 2, "things"))]

        clock = VirtualTime()
        found = world.run(plan(), clock=clock, in_flight=3, options={"retry_timeout": 90.0})
        assert found == [clock.now, 3, 90.0, None]


class TestPauses:
    def plan(self, seconds: float) -> Plan[str]:
        nothing = yield Pause(seconds, reason="the portal is busy")
        assert nothing is None
        return "done"

    def test_they_are_waited_out_and_explained_in_the_log(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        clock = VirtualTime()
        with caplog.at_level("INFO"):
            assert world.run(self.plan(12.5), clock=clock) == "done"
        assert clock.naps == [12.5]
        assert "Pausing for 12.5 s, going on at 17:46:52 UTC: the portal is busy" in caplog.text

    def test_an_hour_of_refusals_takes_a_line_a_minute(
        self, world: World, server: Loopback, caplog: pytest.LogCaptureFixture
    ) -> None:
        limiter = CountingLimiter(refuse=RateLimitError("say", text="too many"))
        with caplog.at_level("INFO"), pytest.raises(RateLimitError):
            world.run(send(Say(200)), at(server), clock=VirtualTime(), limiter=limiter)
        lines = [record for record in caplog.records if "too many" in record.getMessage()]
        assert 30 <= len(lines) <= 61

    @pytest.mark.parametrize("seconds", [60.0, 300.0])
    def test_a_long_one_is_a_warning_whatever_was_told_before(
        self, seconds: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        pauses = PauseLog(lambda: 0.0)
        with caplog.at_level("INFO"):
            for each in (5.0, 5.0, seconds):
                pauses.show(Pause(each, "busy"), datetime.now(UTC))
        assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]

    def test_one_longer_than_allowed_gives_the_plan_up_with_the_pause_in_hand(self, world: World) -> None:
        with pytest.raises(PauseDueError, match="to be continued after 13 s: the portal is busy") as caught:
            world.run(self.plan(12.6), options={"longest_pause": 12})
        assert caught.value.pause.seconds == 12.6

    def test_one_as_long_as_allowed_is_waited_out(self, world: World) -> None:
        clock = VirtualTime()
        assert world.run(self.plan(12), clock=clock, options={"longest_pause": 12}) == "done"
        assert clock.naps == [12]

    def test_the_plan_cannot_swallow_it(self, world: World) -> None:
        def plan() -> Plan[str]:
            try:
                yield Pause(1, reason="busy")
            except ApiError:
                return "swallowed"
            return "went on"

        with pytest.raises(PauseDueError):
            world.run(plan(), options={"longest_pause": 0})


class TestSeveralAtOnce:
    def test_each_outcome_comes_with_its_tag_and_errors_are_outcomes_too(self, world: World, server: Loopback) -> None:
        found = world.run(gather(200, 500, 201), at(server))
        assert isinstance(found[1], ServerError)
        assert (found[0].http_status, found[2].http_status) == (200, 201)

    def test_they_are_under_way_at_the_same_time(self, world: World) -> None:
        together = threading.Barrier(3)

        def answer(request: bytes) -> bytes:
            together.wait(300)
            return http()

        with loopback(answer) as server:
            assert len(world.run(gather(*"abc"), at(server))) == 3

    def test_a_plan_that_ends_waits_for_none(self, world: World) -> None:
        def plan() -> Plan[str]:
            yield Submit(Say("a"), "a")
            yield Submit(Say("b"), "b")
            return "done"

        with loopback(lambda request: HANG) as server:
            assert world.run(plan(), at(server)) == "done"


class TestRateLimiter:
    def test_each_call_takes_a_place_and_leaves_it_once_with_its_outcome(self, world: World, server: Loopback) -> None:
        limiter = CountingLimiter()
        world.run(gather(200, 500), at(server), limiter=limiter)
        assert sorted(call.word for call in limiter.came) == [200, 500]
        left = {call.word: outcome for call, outcome in limiter.left}
        assert len(limiter.left) == 2
        assert left[200].http_status == 200
        assert isinstance(left[500], ServerError)

    def test_who_has_to_wait_for_its_turn_does(self, world: World, server: Loopback) -> None:
        clock = VirtualTime()
        world.run(say(200), at(server), limiter=CountingLimiter(turn=0.7), clock=clock)
        assert clock.naps == [0.7]

    def test_who_may_not_go_is_not_sent_and_does_not_leave(self, world: World, server: Loopback) -> None:
        limiter = CountingLimiter(refuse=RateLimitError("say", retry_after=9))
        with pytest.raises(RateLimitError):
            world.run(say(200), at(server), limiter=limiter)
        assert (server.requests, limiter.left) == ([], [])

    def test_it_may_block_as_it_is_never_asked_on_the_event_loop(self, server: Loopback) -> None:
        limiter = CountingLimiter()
        World("triggerer").run(say(200), at(server), limiter=limiter)
        assert threading.get_ident() not in limiter.threads

    def test_a_call_that_cannot_even_be_made_leaves_too(self, world: World) -> None:
        class Broken(Wire):
            def request(self, call: Any) -> Any:
                raise ValueError("cannot be written")

        limiter = CountingLimiter()
        with pytest.raises(ValueError, match="cannot be written"):
            world.run(say(), wire=Broken(), limiter=limiter)
        assert len(limiter.came) == len(limiter.left) == 1


class Interrupted(BaseException):
    """As Airflow's AirflowTaskTimeout: not an Exception, and raised wherever the main thread happens to be."""


class TestStop:
    """A worker's plan ends by itself when the task is told to end, and knows all that was done."""

    def account(self, told: list[Any]) -> Plan[list[Any]]:
        """Have three calls under way, then go on for as long as that is possible."""
        for word in (201, 202, 203):
            yield Submit(Say(word), word)
        for _ in range(3):
            collected = yield Collect()
            told.append(collected.tag if collected.outcome.http_status == collected.tag else collected.outcome)
        try:
            yield Say(204)
        except StoppedError as error:
            told.append(str(error))
        try:
            yield Pause(3600, reason="nothing in particular")
        except StoppedError:
            told.append("not paused")
        return sorted(map(str, told))

    def test_nothing_new_is_sent_and_what_is_under_way_is_collected(self) -> None:
        three, go_on, told = threading.Barrier(4), threading.Event(), []  # type: ignore[var-annotated]

        def answer(request: bytes) -> bytes:
            three.wait(300)
            go_on.wait(300)
            return status_of_word(request)

        with loopback(answer) as server, Client(Wire(at(server)), clock=NoSleep()) as client:

            def stop() -> None:
                three.wait(300)
                client.stop("the task was marked failed")
                go_on.set()

            threading.Thread(target=stop).start()
            assert client.run(self.account(told)) == [
                "201", "202", "203", "not paused",
                "say: not sent: the task was marked failed. See docs/errors.md#stoppederror",
            ]  # fmt: skip
            assert len(server.requests) == 3

    def test_a_pause_ends_at_once(self) -> None:
        pausing = threading.Event()

        class Watched(Clock):
            def sleep(self, seconds: float, until: threading.Event) -> None:
                pausing.set()
                assert until.wait(300), "it went on sleeping"

        def plan() -> Plan[str]:
            try:
                yield Pause(3600, reason="busy")
            except StoppedError:
                return "stopped"
            return "slept"

        with Client(Wire(), clock=Watched()) as client:

            def stop() -> None:
                pausing.wait(300)
                client.stop("killed")

            threading.Thread(target=stop).start()
            assert client.run(plan()) == "stopped"

    def test_who_waits_for_its_turn_is_not_sent_and_leaves_its_place(self, server: Loopback) -> None:
        limiter = CountingLimiter(turn=60)

        class Stopping(Clock):
            def sleep(self, seconds: float, until: threading.Event) -> None:
                client.stop("killed")

        with Client(Wire(at(server)), limiter=limiter, clock=Stopping()) as client, pytest.raises(StoppedError):
            client.run(say(200))
        assert (server.requests, len(limiter.left)) == ([], 1)

    @pytest.mark.parametrize("interruption", [Interrupted, KeyboardInterrupt])
    def test_what_strikes_the_main_thread_goes_on_up_after_the_plan_has_ended(
        self, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
    ) -> None:
        told: list[Any] = []

        def strike(future: Any, timeout: float | None = None) -> Any:
            raise interruption

        monkeypatch.setattr("concurrent.futures.Future.result", strike)
        with loopback(status_of_word) as server:
            client = Client(Wire(at(server)), clock=VirtualTime())
            with pytest.raises(interruption):
                client.run(self.pausing(told))
        assert told == ["begun", "stopped"]

    def pausing(self, told: list[Any]) -> Plan[None]:
        told.append("begun")
        try:
            while True:
                yield Pause(1.0, reason="busy")
        except StoppedError:
            told.append("stopped")


class TestNoReply:
    """Whether the call may have been done decides over everything that follows; when in doubt, it may."""

    def failure(self, world: World, url: str, word: Any = "hello", **http: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            world.run(say(word), url, http=HttpSettings(**http))
        error = caught.value
        for frame, _ in traceback.walk_tb(caught.tb):
            assert not any(name in frame.f_code.co_filename for name in ("/httpx/", "/httpcore/", "/requests/"))
            assert frame.f_code.co_filename == __file__ or SECRET not in repr(frame.f_locals)
        assert (error.__cause__, error.__context__) == (None, None)
        assert SECRET not in f"{error!r} {error} {vars(error)}"
        return error

    def test_nothing_listens(self, world: World) -> None:
        error = self.failure(world, f"http://127.0.0.1:{closed_port()}/{SECRET}")
        assert type(error) is NotConnectedError
        assert "nothing listens" in str(error)
        assert "Check the host in the connection" in str(error)

    def test_the_server_is_silent(self, world: World) -> None:
        with loopback(lambda request: HANG) as server:
            error = self.failure(world, at(server), read_timeout=0.1)
        assert type(error) is ReplyLostError
        assert "read timeout" in str(error)

    def test_the_server_falls_silent_half_way(self, world: World) -> None:
        with loopback(lambda request: http(b"{", length=100)) as server:
            assert type(self.failure(world, at(server), read_timeout=0.1)) is ReplyLostError

    @pytest.mark.parametrize(
        "answer",
        {
            "reset": RESET,
            "closed without a word": b"",
            "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
            "a body shorter than announced": http(b'{"result":', length=1000) + b"HANGUP",
            "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{",
            "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n{",
            "cut compression": http(gzip.compress(b"{}")[:-5], "200 OK", "Content-Encoding: gzip"),
        }.items(),
        ids=lambda item: item[0],
    )
    def test_the_connection_or_the_reply_is_broken(self, world: World, answer: tuple[str, bytes]) -> None:
        with loopback(lambda request: answer[1]) as server:
            error = self.failure(world, at(server), read_timeout=300)
            assert len(server.requests) == 1, "the library must not send it again by itself"
        assert type(error) is ReplyLostError
        assert "before a whole reply came" in str(error)

    def test_the_certificate_is_not_trusted(self, world: World) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        with loopback(lambda request: http(), tls) as server:
            error = self.failure(world, at(server, "https"))
            assert server.requests == []
        assert type(error) is NotConnectedError
        assert "TLS certificate is not trusted" in str(error)

    @pytest.mark.parametrize("word", [float("nan"), float("inf"), [1, {"x": float("-inf")}], {1}])
    def test_an_argument_that_json_cannot_hold_is_not_sent(self, world: World, word: Any) -> None:
        with loopback(lambda request: http()) as server:
            error = self.failure(world, at(server), word)
            assert server.requests == []
        assert type(error) is InvalidCallError
        assert "what JSON does not have" in str(error)


class TestBounds:
    """Whatever a server sends, a request ends, and takes a bounded part of the memory."""

    @pytest.mark.parametrize(
        "head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
    )
    def test_a_byte_now_and_then_does_not_hold_a_call_for_ever(self, world: World, head: bytes) -> None:
        with (
            loopback(lambda request: Trickle(head)) as server,
            pytest.raises(ReplyLostError, match="total timeout"),
        ):
            world.run(say(), at(server), http=HttpSettings(total_timeout=0.4))

    def test_a_small_reply_does_not_become_a_large_one(self, world: World) -> None:
        bomb = gzip.compress(b"x" * 2_000_000)
        with loopback(lambda request: http(bomb, "200 OK", "Content-Encoding: gzip")) as server:
            with pytest.raises(UnreadableReplyError, match="max_reply_size"):
                world.run(say(), at(server), http=HttpSettings(max_reply_size=1_000_000))
            whole = world.run(say(), at(server), http=HttpSettings(max_reply_size=2_000_000))
        assert len(whole.content) == 2_000_000

    def test_a_large_reply_is_not_read_to_its_end(self, world: World) -> None:
        with (
            loopback(lambda request: http(b"x" * 2_000_000)) as server,
            pytest.raises(UnreadableReplyError, match="max_reply_size"),
        ):
            world.run(say(), at(server), http=HttpSettings(max_reply_size=1_000_000))

    def test_what_comes_after_the_end_of_a_reply_is_no_way_around_that(self, world: World) -> None:
        def padded(size: int) -> Any:
            return http(gzip.compress(b"{}") + b"x" * size, "200 OK", "Content-Encoding: gzip")

        with (
            loopback(lambda request: padded(2_000_000)) as server,
            pytest.raises(UnreadableReplyError, match="max_reply_size"),
        ):
            world.run(say(), at(server), http=HttpSettings(max_reply_size=1_000_000))
        with loopback(lambda request: padded(500_000)) as server:
            small = world.run(say(), at(server), http=HttpSettings(max_reply_size=1_000_000))
        assert small.content == b"{}"

    @pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "zstd", "x-gzip"])
    def test_only_the_encoding_that_was_asked_for_is_read(self, world: World, encoding: str) -> None:
        with (
            loopback(lambda request: http(b"{}", "200 OK", f"Content-Encoding: {encoding}")) as server,
            pytest.raises(UnreadableReplyError, match="encoding that was not asked for"),
        ):
            world.run(say(), at(server))

    def test_what_is_no_gzip_is_not_readable(self, world: World) -> None:
        with (
            loopback(lambda request: http(b"not gzip", "200 OK", "Content-Encoding: gzip")) as server,
            pytest.raises(UnreadableReplyError, match="no valid gzip"),
        ):
            world.run(say(), at(server))


HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 503 X\r\n",
    b"HTTP/1.1 302 X\r\nLocation: https://[x\r\n",
    b"HTTP/1.0 200\r\n",
    b"",
]
LENGTHS = [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b""]
BODIES = [
    b"[" * 5000,
    b'{"result": [{"ID": 1}], "total": 1e999, "time": {"operating": "x"}}',
    b'{"result": [], "total": 0}',
    b'{"error": 5}',
]


class TestAnyReply:
    @pytest.mark.parametrize("kind", ["worker", "triggerer"])
    @settings(max_examples=60)
    @given(st.sampled_from(HEADS), st.sampled_from(LENGTHS), st.binary(max_size=200) | st.sampled_from(BODIES))
    def test_ends_in_a_result_or_a_typed_error(self, kind: str, head: bytes, length: bytes, body: bytes) -> None:
        header = length % len(body) if b"%d" in length else length
        with loopback(lambda request: head + header + b"\r\n" + body) as server:
            portal = Portal.from_webhook_url(f"http://127.0.0.1:{server.port}/rest/1/c0de/")
            try:
                outcome = World(kind).run(one_page(), wire=Bitrix24Wire(portal), http=HttpSettings(read_timeout=30))
            except ApiError as error:
                outcome = error
            assert isinstance(outcome, (Reply, ApiError))
            assert len(server.requests) == 1


def one_page() -> Plan[Any]:
    return (yield calls.list_workflows())


class TestWithTheServer:
    def test_the_body_goes_as_json_with_the_wires_headers(self, world: World) -> None:
        with loopback(lambda request: http()) as server:
            world.run(say(), at(server))
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert json.loads(body) == {"word": "hello"}
        assert b"content-type: application/json" in head.lower()
        assert b"accept-encoding: gzip\r\n" in head.lower()
        assert f"x-token: {SECRET}".encode().lower() in head.lower()

    def test_without_a_body_no_content_type_is_claimed(self, world: World) -> None:
        with loopback(lambda request: http()) as server:
            world.run(say(), wire=Wire(at(server), "GET"))
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b""
        assert b"content-type" not in head.lower()

    def test_calls_after_each_other_share_one_connection(self, world: World, server: Loopback) -> None:
        def plan() -> Plan[None]:
            for _ in range(3):
                yield Say(200)

        world.run(plan(), at(server))
        assert (len(server.requests), server.connections) == (3, 1)

    @pytest.mark.parametrize("location", ["/other", "https://evil.example/", "", "https://[evil"])
    def test_no_redirect_is_followed(self, world: World, location: str) -> None:
        for status in (301, 302, 303, 307, 308):
            with loopback(lambda request: http(b"", f"{status} X", f"Location: {location}")) as server:  # noqa: B023
                response = world.run(say(), at(server))
                assert len(server.requests) == 1
            assert (response.http_status, response.headers["Location"]) == (status, location)

    def test_no_cookie_is_kept(self, world: World) -> None:
        def plan() -> Plan[None]:
            yield Say(1)
            yield Say(2)

        with loopback(lambda request: http(b"{}", "200 OK", "Set-Cookie: session=mine; Path=/")) as server:
            world.run(plan(), at(server))
            assert [b"cookie" in request.lower() for request in server.requests] == [False, False]

    def test_nothing_that_is_shown_of_a_response_holds_what_came(self, world: World) -> None:
        with loopback(lambda request: http(SECRET.encode(), "200 OK", f"X-Echo: {SECRET}")) as server:
            response = world.run(say(), at(server))
        assert SECRET not in repr(response)
