"""Sends the triggerer's requests, with ``httpx``. Loaded with the first client, as a Dag file sends nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Event
from typing import Any, TypeVar
from urllib.request import getproxies

import httpx
from asgiref.sync import sync_to_async

from airflow_provider_workflows.rest.address import FieldError
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
from airflow_provider_workflows.rest.redaction import ahide_frames

T = TypeVar("T")


class LoopRuntime:
    """Makes requests with ``httpx``, and runs background work in tasks.

    :param http: timeouts and sizes.
    """

    def __init__(self, http: HttpSettings, clock: Clock) -> None:
        self._settings = http
        self._clock = clock
        self._alone = asyncio.Lock()
        verify = trusted(http.verify)
        limits = httpx.Limits(max_connections=MOST_IN_FLIGHT)
        try:
            self._http = httpx.AsyncClient(
                verify=verify,
                # Plain http only serves loopback: a proxy would be shown the credential.
                mounts={**_tls_proxies(verify, limits), "http://": None},
                timeout=httpx.Timeout(http.read_timeout, connect=http.connect_timeout),
                limits=limits,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        except (httpx.InvalidURL, ValueError, ImportError):
            # The text may hold the proxy's password. A missing package is the one for proxies of SOCKS.
            fault = "(or ALL_PROXY, NO_PROXY) in the environment names no proxy that can be used"
            raise FieldError("HTTPS_PROXY", fault) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def sleep(self, seconds: float, until: Event) -> None:  # noqa: ARG002
        """Let time pass; cancel the task to end it early."""
        await self._clock.asleep(seconds)

    async def call(self, function: Callable[[], T], undo: Callable[[T], Any] | None = None) -> T:
        """Run a function in a thread, to its end."""
        calling = asyncio.ensure_future(asyncio.to_thread(function))
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            if undo:
                calling.add_done_callback(partial(_undo, undo))
            raise

    async def one_at_a_time(self, function: Callable[[], T]) -> T:
        """Run a function in a thread, after the one before has ended."""
        async with self._alone:
            # Airflow answers only threads of sync_to_async. A separate thread, as this may take a minute.
            return await sync_to_async(function, thread_sensitive=False)()

    def start(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """Begin work in a task."""
        return asyncio.ensure_future(work)

    async def first_done(self, works: Iterable[asyncio.Future[Any]]) -> asyncio.Future[Any]:
        """Wait until one is done, and return it."""
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        return done.pop()

    @ahide_frames
    async def exchange(self, call: str, request: Request) -> Response:
        """Send a request."""
        headers, content = encode_body(call, request)
        try:
            async with (
                asyncio.timeout(self._settings.total_timeout),
                self._http.stream(request.http_method, request.url, headers=headers, content=content) as response,
            ):
                body = ReplyBody(call, response.headers, self._settings.max_reply_size)
                async for piece in response.aiter_raw():
                    body.feed(piece)
            return Response(response.status_code, response.headers, body.content())
        except TimeoutError:
            raise ReplyLostError(call, text="no whole reply within the total timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure(call, error) from None


def _tls_proxies(verify: ssl.SSLContext, limits: httpx.Limits) -> dict[str, httpx.AsyncHTTPTransport]:
    """Return what leads to proxies that speak TLS themselves, which ``httpx`` would check by certificates of its own.

    :param verify: what checks them, and the servers.
    :param limits: of connections.
    """
    environment = getproxies()
    if "*" in map(str.strip, environment.get("no", "").split(",")):
        return {}
    proxies = {f"{kind}://": environment.get(kind, "") for kind in ("https", "all")}
    return {
        kind: httpx.AsyncHTTPTransport(verify=verify, proxy=httpx.Proxy(url, ssl_context=verify), limits=limits)
        for kind, url in proxies.items()
        if url.lower().startswith("https://")
    }


def _undo(undo: Callable[[T], Any], called: asyncio.Future[T]) -> None:
    if not called.cancelled() and called.exception() is None:
        undo(called.result())


def _failure(call: str, error: Exception) -> ApiError:
    if isinstance(error, httpx.ReadTimeout):
        return ReplyLostError(call, text="no reply within the read timeout")
    if isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout)):
        return NotConnectedError(call, text="no connection within the connect timeout")
    if isinstance(error, httpx.ProxyError):
        return NotConnectedError(call, text="no connection through the proxy")
    if isinstance(error, (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return NotConnectedError(
            call,
            text="no connection to the host (unknown name, nothing listens, or its TLS certificate is not trusted)",
        )
    return ReplyLostError(call, text="the connection ended before a whole reply came")
