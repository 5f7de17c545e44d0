from __future__ import annotations

import json
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import responses
import trustme
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ReadTimeoutError

from airflow_provider_workflows.bitrix24 import Bitrix24Client, Portal, calls
from airflow_provider_workflows.domo import Account, DomoClient
from airflow_provider_workflows.domo.calls import get_current_user
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import (
    ApiError,
    InvalidCallError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan, send
from airflow_provider_workflows.rest.protocol import HttpSettings, Request, Response
from airflow_provider_workflows.rest.sync import Client
from tests.rest.loopback import HANG, RESET, closed_port, http, loopback

SECRET = "c0deInThePath"
URL = f"https://acme.example/rest/1/{SECRET}/call"


@dataclass(frozen=True)
class Say:
    """A call of a made-up API."""

    word: Any
    repeatable: bool = True

    def __str__(self) -> str:
        return "say"


class Wire:
    """A made-up API: one address, one word, an error for any status above 400."""

    def __init__(self, url: str = URL, http_method: str = "POST") -> None:
        self.url = url
        self.http_method = http_method

    def request(self, call: Say) -> Request:
        body = {"word": call.word} if self.http_method == "POST" else None
        return Request(self.http_method, self.url, {"X-Token": SECRET}, body)

    def result(self, call: Say, response: Response) -> Response:
        if response.http_status >= 400:
            raise ServerError(str(call), http_status=response.http_status)
        return response


class NoSleep(Clock):
    """Nothing here is to wait."""

    def sleep(self, seconds: float, until: Any) -> None:
        raise AssertionError("nothing here is to wait")

    async def asleep(self, seconds: float) -> None:
        raise AssertionError("nothing here is to wait")


def client_of(wire: Any, **settings: Any) -> Client[Any]:
    return Client(wire, clock=NoSleep(), http=HttpSettings(**settings))


def say(word: Any = "hello") -> Plan[Any]:
    return (yield Say(word))


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


class TestRequest:
    def test_the_body_goes_as_json_with_the_wires_headers(self, web: responses.RequestsMock) -> None:
        web.post(URL, json={})
        client_of(Wire()).run(say())
        (call,) = web.calls
        assert json.loads(call.request.body or "") == {"word": "hello"}
        assert call.request.headers["Content-Type"] == "application/json"
        assert call.request.headers["X-Token"] == SECRET

    def test_without_a_body_no_content_type_is_claimed(self, web: responses.RequestsMock) -> None:
        web.get(URL, json={})
        client_of(Wire(http_method="GET")).run(say())
        (call,) = web.calls
        assert call.request.body is None
        assert "Content-Type" not in call.request.headers

    def test_all_calls_share_one_connection(self) -> None:
        with loopback(lambda request: http()) as server:
            client = client_of(Wire(f"http://127.0.0.1:{server.port}/"))
            for _ in range(3):
                client.run(say())
            assert (len(server.requests), server.connections) == (3, 1)

    def test_a_closed_client_gives_its_connections_back(self) -> None:
        with loopback(lambda request: http()) as server:
            wire = Wire(f"http://127.0.0.1:{server.port}/")
            with client_of(wire) as client:
                client.run(say())
            client.run(say())
            assert server.connections == 2


class TestTimeouts:
    def timeouts(self, web: responses.RequestsMock) -> tuple[float, float]:
        (call,) = web.calls
        return call.request.req_kwargs["timeout"]  # type: ignore[attr-defined, no-any-return]

    def test_connecting_and_reading_have_their_own(self, web: responses.RequestsMock) -> None:
        web.post(URL, json={})
        client_of(Wire(), connect_timeout=3.0, read_timeout=65.0).run(say())
        assert self.timeouts(web) == (3.0, 65.0)

    def test_by_default_reading_waits_longer_than_the_60_s_after_which_bitrix24_cuts(
        self, web: responses.RequestsMock
    ) -> None:
        web.post(URL, json={})
        client_of(Wire()).run(say())
        connecting, reading = self.timeouts(web)
        assert reading > 60 > connecting > 0

    def test_so_it_does_with_bitrix24(self, web: responses.RequestsMock) -> None:
        web.post("https://acme.example/rest/batch", json={"result": {}})
        Bitrix24Client(Portal.with_access_token("acme.example", "t0ken0f0acme")).run(send(calls.batch({})))
        assert self.timeouts(web)[1] > 60

    def test_so_it_does_with_domo(self, web: responses.RequestsMock) -> None:
        web.get("https://acme.example/api/content/v2/users/me", json={})
        DomoClient(Account.with_token("acme.example", "t0ken0f0acme")).run(send(get_current_user()))
        assert self.timeouts(web)[1] > 60


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize(
        "location", ["https://acme.example/other", "https://evil.example/", "/other", "", "https://[evil"]
    )
    def test_none_is_followed(self, web: responses.RequestsMock, status: int, location: str) -> None:
        web.post(URL, status=status, headers={"Location": location})
        response = client_of(Wire()).run(say())
        assert response.http_status == status
        assert response.headers["location"] == location
        assert len(web.calls) == 1


def wrapped(kind: type[requests.RequestException], reason: Exception) -> requests.RequestException:
    """Return the exception as requests makes it of urllib3's."""
    return kind(MaxRetryError(None, URL, reason))  # type: ignore[arg-type]


SIMULATED: list[tuple[Exception, type[ApiError], str]] = [
    (wrapped(requests.ConnectTimeout, ConnectTimeoutError(None, URL)), NotConnectedError, "connect timeout"),
    (wrapped(requests.ConnectionError, ConnectTimeoutError(None, URL)), NotConnectedError, "connect timeout"),
    (wrapped(requests.ConnectionError, NewConnectionError(None, URL)), NotConnectedError, "no connection to the host"),  # type: ignore[arg-type]
    (requests.exceptions.ProxyError(URL), NotConnectedError, "proxy"),
    (requests.exceptions.InvalidURL(URL), NotConnectedError, "not valid"),
    (requests.ReadTimeout(ReadTimeoutError(None, URL, URL)), ReplyLostError, "read timeout"),  # type: ignore[arg-type]
    (requests.ConnectionError(ReadTimeoutError(None, URL, URL)), ReplyLostError, "ended"),  # type: ignore[arg-type]
    (requests.exceptions.ChunkedEncodingError(URL), ReplyLostError, "ended"),
    (requests.exceptions.ContentDecodingError(URL), ReplyLostError, "ended"),
    (requests.exceptions.SSLError(URL), ReplyLostError, "TLS"),
    (requests.ConnectionError(URL), ReplyLostError, "ended"),
    (requests.ConnectionError(), ReplyLostError, "ended"),
    (requests.RequestException(URL), ReplyLostError, "ended"),
]


class TestNoReply:
    """Whether the call may have been done decides over everything that follows; when in doubt, it may."""

    def failure(self, url: str = URL, word: Any = "hello", **settings: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            client_of(Wire(url), **settings).run(say(word))
        for frame, _ in traceback.walk_tb(caught.tb):
            assert frame.f_code.co_filename == __file__ or SECRET not in repr(frame.f_locals)
        return caught.value

    @pytest.mark.parametrize(("raised", "kind", "text"), SIMULATED)
    def test_each_way_to_fail_is_told_apart(
        self, web: responses.RequestsMock, raised: Exception, kind: type[ApiError], text: str
    ) -> None:
        web.post(URL, body=raised)
        error = self.failure()
        assert type(error) is kind
        assert text in str(error)
        assert (error.__cause__, error.__context__) == (None, None)

    def test_nothing_listens(self) -> None:
        error = self.failure(f"http://127.0.0.1:{closed_port()}/{SECRET}")
        assert type(error) is NotConnectedError
        assert "no connection to the host" in str(error)
        assert "Check the connection's host" in str(error)

    def test_the_name_is_not_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_such_name(*args: Any, **kwargs: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
        error = self.failure()
        assert type(error) is NotConnectedError
        assert "unknown name" in str(error)

    def test_connecting_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def too_slow(*args: Any, **kwargs: Any) -> Any:
            raise TimeoutError("timed out")

        monkeypatch.setattr(socket.socket, "connect", too_slow)
        error = self.failure(f"http://127.0.0.1:{closed_port()}/{SECRET}")
        assert type(error) is NotConnectedError
        assert "connect timeout" in str(error)

    def test_the_proxy_does_not_listen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        error = self.failure()
        assert type(error) is NotConnectedError
        assert "proxy" in str(error)

    def test_the_server_is_silent(self) -> None:
        with loopback(lambda request: HANG) as server:
            error = self.failure(f"http://127.0.0.1:{server.port}/{SECRET}", read_timeout=0.1)
        assert type(error) is ReplyLostError
        assert "read timeout" in str(error)

    def test_the_server_falls_silent_half_way(self) -> None:
        with loopback(lambda request: http(b"{", length=100)) as server:
            error = self.failure(f"http://127.0.0.1:{server.port}/{SECRET}", read_timeout=0.1)
        assert type(error) is ReplyLostError

    @pytest.mark.parametrize(
        "answer",
        {
            "reset": RESET,
            "closed without a word": b"",
            "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
            "a body shorter than announced": http(b'{"result":', length=1000),
            "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{",
            "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n{",
        }.items(),
        ids=lambda item: item[0],
    )
    def test_the_connection_or_the_reply_is_broken(self, answer: tuple[str, bytes]) -> None:
        with loopback(lambda request: answer[1]) as server:
            error = self.failure(f"http://127.0.0.1:{server.port}/{SECRET}", read_timeout=5)
            assert len(server.requests) == 1, "the library must not send it again by itself"
        assert type(error) is ReplyLostError

    def test_the_certificate_is_not_trusted(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        with loopback(lambda request: http(), tls) as server:
            error = self.failure(f"https://127.0.0.1:{server.port}/{SECRET}")
            assert server.requests == []
        assert type(error) is NotConnectedError
        assert "certificate is not trusted" in str(error)

    def test_the_host_does_not_speak_tls(self) -> None:
        with loopback(lambda request: http(status="400 Bad Request")) as server:
            error = self.failure(f"https://127.0.0.1:{server.port}/{SECRET}")
        assert type(error) is ReplyLostError
        assert "does not speak https at this port" in str(error)

    def test_an_argument_that_json_cannot_hold_is_not_sent(self) -> None:
        error = self.failure(word=float("nan"))
        assert type(error) is InvalidCallError
        assert "NaN" in str(error)


class TaskTimeout(BaseException):
    """As Airflow's: not an Exception, and raised wherever the program happens to be."""


class TestAnythingElse:
    """What is no failure of the call is passed on as it is, but without the frames that hold the address."""

    @pytest.mark.parametrize("raised", [TaskTimeout, KeyboardInterrupt, OSError, ValueError])
    def test_it_shows_no_frames_of_the_library(self, web: responses.RequestsMock, raised: type[BaseException]) -> None:
        def interrupt(request: Any) -> Any:
            try:
                raise LookupError(URL)
            except LookupError:
                raise raised("interrupted")  # noqa: B904

        web.add_callback(responses.POST, URL, interrupt)
        with pytest.raises(raised, match="interrupted") as caught:
            client_of(Wire()).run(say())
        frames = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert frames[-1] == "hidden"
        assert "interrupt" not in frames
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)

    def test_an_argument_that_is_no_json_at_all(self) -> None:
        with pytest.raises(TypeError, match="not JSON serializable") as caught:
            client_of(Wire()).run(say(object()))
        assert not [frame for frame in traceback.extract_tb(caught.tb) if "requests" in frame.filename]


class TestRun:
    def answers(self, *statuses: int) -> Callable[[bytes], bytes]:
        left = iter(statuses)
        return lambda request: http(status=f"{next(left)} X")

    def run(self, plan: Plan[Any], *statuses: int, clock: Clock | None = None) -> Any:
        with loopback(self.answers(*statuses)) as server:
            return Client(Wire(f"http://127.0.0.1:{server.port}/"), clock=clock or NoSleep()).run(plan)

    def test_results_are_sent_into_the_plan_and_its_own_result_comes_back(self) -> None:
        def plan() -> Plan[list[int]]:
            first = yield Say("a")
            second = yield Say("b")
            return [first.http_status, second.http_status]

        assert self.run(plan(), 200, 201) == [200, 201]

    def test_errors_are_raised_inside_the_plan(self) -> None:
        def plan() -> Plan[Any]:
            try:
                yield Say("a")
            except ServerError as error:
                return error.http_status
            return "no error"

        assert self.run(plan(), 500) == 500

    def test_what_the_plan_does_not_catch_comes_out(self) -> None:
        with pytest.raises(ServerError, match="say: HTTP 502"):
            self.run(say("a"), 502)

    def test_a_plan_may_raise_its_own(self) -> None:
        def plan() -> Plan[Any]:
            yield Say("a")
            raise RateLimitError("mine")

        with pytest.raises(RateLimitError, match="mine"):
            self.run(plan(), 200)

    def test_a_plan_of_no_steps_is_a_plan(self) -> None:
        def plan() -> Plan[str]:
            return "done"
            yield

        assert self.run(plan()) == "done"

    def test_pauses_are_waited_out_and_explained_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        waited: list[float] = []

        class Waiting(Clock):
            def sleep(self, seconds: float, until: Any) -> None:
                waited.append(seconds)

        def plan() -> Plan[Any]:
            nothing = yield Pause(12.5, reason="the portal is busy")
            assert nothing is None
            return "done"

        with caplog.at_level("INFO"):
            assert self.run(plan(), clock=Waiting()) == "done"
        assert waited == [12.5]
        assert "Pausing for 12.5 s" in caplog.text
