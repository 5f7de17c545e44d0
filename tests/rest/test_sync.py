"""What only the worker's transport does: requests' ways to fail."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ReadTimeoutError

from airflow_provider_workflows.bitrix24 import Bitrix24Client, Portal, calls
from airflow_provider_workflows.domo import Account, DomoClient
from airflow_provider_workflows.domo.calls import get_current_user
from airflow_provider_workflows.rest.errors import (
    ApiError,
    NotConnectedError,
    ReplyLostError,
)
from airflow_provider_workflows.rest.plans import send
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sync import Client
from tests.rest.loopback import closed_port, http, loopback
from tests.rest.made_up import SECRET, URL, NoSleep, Wire, say


def client_of(wire: Any, **settings: Any) -> Client[Any]:
    return Client(wire, clock=NoSleep(), http=HttpSettings(**settings))


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


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

    def test_the_host_does_not_speak_tls(self) -> None:
        with loopback(lambda request: http(status="400 Bad Request")) as server:
            error = self.failure(f"https://127.0.0.1:{server.port}/{SECRET}")
        assert type(error) is ReplyLostError
        assert "does not speak https at this port" in str(error)


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
