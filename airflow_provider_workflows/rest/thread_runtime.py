"""Sends the worker's requests, with ``requests``. Loaded with the first client, as a Dag file sends nothing."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from http.cookiejar import DefaultCookiePolicy
from threading import Event, Lock
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError

from airflow_provider_workflows.rest.certificates import trusted
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import ApiError, NotConnectedError, ReplyLostError
from airflow_provider_workflows.rest.protocol import (
    MOST_IN_FLIGHT,
    HttpSettings,
    ReplyBody,
    Request,
    Response,
    encode_body,
)
from airflow_provider_workflows.rest.redaction import hide_frames
from airflow_provider_workflows.rest.threads import finish, in_thread

#: Bytes of a reply that are read at once.
PIECE = 2**16

T = TypeVar("T")


class ThreadRuntime:
    """Makes requests with ``requests``, and runs background work in threads. Its coroutines never suspend.

    :param http: timeouts and sizes.
    """

    def __init__(self, http: HttpSettings, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._alone = Lock()
        self._session = _Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.auth = _without_login
        self._session.mount("https://", _TlsAdapter(trusted(http.verify)))
        self._session.mount("http://", _DirectAdapter(pool_maxsize=MOST_IN_FLIGHT))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    async def exchange(self, call: str, request: Request) -> Response:
        """Send a request, in a thread: the total time cannot be bound otherwise."""
        exchanged = in_thread(lambda: self._exchange(call, request))
        try:
            return exchanged.result(self._http.total_timeout)
        except TimeoutError:
            raise ReplyLostError(call, text="no whole reply within the total timeout") from None

    async def sleep(self, seconds: float, until: Event) -> None:
        """Let time pass, at most until an event is set."""
        self._clock.sleep(seconds, until)

    async def call(self, function: Callable[[], T], undo: Callable[[T], Any] | None = None) -> T:  # noqa: ARG002
        """Run a function; here it may block."""
        return function()

    async def one_at_a_time(self, function: Callable[[], T]) -> T:
        """Run a function, after the one before has ended."""
        with self._alone:
            return function()

    def start(self, work: Awaitable[T]) -> Future[T]:
        """Begin work in a thread."""
        return in_thread(lambda: finish(work))

    async def first_done(self, works: Iterable[Future[Any]]) -> Future[Any]:
        """Wait until one is done, and return it."""
        return next(iter(wait(works, return_when=FIRST_COMPLETED).done))

    @hide_frames
    def _exchange(self, call: str, request: Request) -> Response:
        headers, content = encode_body(call, request)
        try:
            response = self._session.request(
                request.http_method,
                request.url,
                headers=headers,
                data=content,
                timeout=(self._http.connect_timeout, self._http.read_timeout),
                allow_redirects=False,
                stream=True,
            )
            with closing(response):
                body = ReplyBody(call, response.headers, self._http.max_reply_size)
                for piece in response.raw.stream(PIECE, decode_content=False):
                    body.feed(piece)
            return Response(response.status_code, response.headers, body.content())
        except (requests.RequestException, HTTPError) as error:
            raise _failure(call, error) from None


class _Session(requests.Session):
    """A session for which a redirect is an answer like any other; even reading its target can fail."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


class _TlsAdapter(HTTPAdapter):
    """Checks servers by what is given alone; requests itself reads the certificates anew for each connection.

    :param trusted: what checks them.
    """

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        super().__init__(pool_maxsize=MOST_IN_FLIGHT)

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {"ssl_context": self._trusted}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        # One of SOCKS speaks no TLS itself, and takes nothing for it.
        tls = {} if proxy.lower().startswith("socks") else {"proxy_ssl_context": self._trusted}
        try:
            return super().proxy_manager_for(proxy, **tls, **kwargs)
        except ValueError:
            # The text may hold the proxy's password.
            raise requests.exceptions.InvalidProxyURL from None

    def cert_verify(self, *args: Any) -> None:
        """Do nothing: it would name the certificates that requests finds."""


class _DirectAdapter(HTTPAdapter):
    """For plain http, which only serves loopback: a proxy would be shown the credential."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        return super().send(request, *args, **kwargs | {"proxies": None})


def _without_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in for a login, as requests would else look for one in ``.netrc``."""
    return request


def _failure(call: str, error: Exception) -> ApiError:
    reason = error.args[0].reason if error.args and isinstance(error.args[0], MaxRetryError) else None
    if isinstance(error, (requests.ReadTimeout, ReadTimeoutError)):
        return ReplyLostError(call, text="no reply within the read timeout")
    # Before the next one: to urllib3 it is a kind of connect timeout.
    if isinstance(reason, NewConnectionError):
        return NotConnectedError(call, text="no connection to the host (unknown name, or nothing listens)")
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, ConnectTimeoutError):
        return NotConnectedError(call, text="no connection within the connect timeout")
    if isinstance(error, requests.exceptions.ProxyError):
        return NotConnectedError(call, text="no connection through the proxy")
    if reason is not None and any(isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args):
        return NotConnectedError(call, text="the host's TLS certificate is not trusted")
    if isinstance(error, requests.exceptions.SSLError):
        return ReplyLostError(call, text="TLS failed (perhaps the host does not speak https at this port)")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return NotConnectedError(call, text="the address of the host, or of the proxy, is not valid")
    return ReplyLostError(call, text="the connection ended before a whole reply came")
