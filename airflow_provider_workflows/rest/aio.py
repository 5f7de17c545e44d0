"""The asynchronous driver: runs plans over one ``httpx.AsyncClient``."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import httpx
from asgiref.sync import sync_to_async

from airflow_provider_workflows.rest.client import (
    CONNECT_TIMEOUT,
    IN_FLIGHT,
    MOST_IN_FLIGHT,
    READ_TIMEOUT,
    RateLimiter,
    Request,
    Response,
    Unlimited,
    Wire,
)
from airflow_provider_workflows.rest.errors import ApiError, InvalidCallError, NotConnectedError, ReplyLostError
from airflow_provider_workflows.rest.plans import (
    Collect,
    Collected,
    MaxInFlight,
    Now,
    Pause,
    PauseDueError,
    Plan,
    Progress,
    Submit,
)
from airflow_provider_workflows.rest.redaction import ahide_frames

log = logging.getLogger(__name__)

C = TypeVar("C")
T = TypeVar("T")
Settings = TypeVar("Settings", bound=Hashable)
SomeClient = TypeVar("SomeClient", bound="AsyncClient[Any]")


class AsyncClient(Generic[C]):
    """Runs plans against one account, several at once, over one pool of connections. Never blocks the event loop.

    :param wire: how calls look on the wire.
    :param pace: when calls may be sent.
    :param in_flight: requests under way at once in bulk work.
    :param connect_timeout: seconds for making a connection.
    :param read_timeout: seconds without a byte of the reply.
    :param sleep: what waits out a pause; for tests.
    """

    def __init__(
        self,
        wire: Wire[C],
        *,
        pace: RateLimiter[C] | None = None,
        in_flight: int = IN_FLIGHT,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._wire = wire
        self._pace: RateLimiter[C] = pace or Unlimited()
        self._sleep = sleep
        self.in_flight = in_flight
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
            limits=httpx.Limits(max_connections=MOST_IN_FLIGHT),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, plan: Plan[T], *, longest_pause: float | None = None) -> T:
        """Run a plan to its end.

        :param plan: a generator of the vendor's modules.
        :param longest_pause: seconds that the plan may pause at once; default: as it needs.
        :returns: what the plan returns.
        :raises ApiError: a failed call that the plan does not handle.
        :raises PauseDueError: if it has to pause for longer.
        """
        flight: dict[asyncio.Task[Any], Any] = {}
        try:
            step = next(plan)
            while True:
                try:
                    if isinstance(step, Pause) and longest_pause is not None and step.seconds > longest_pause:
                        raise PauseDueError(step)
                    result = await self._do(step, flight)
                except ApiError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            for task in flight:
                task.cancel()

    async def _do(self, step: Any, flight: dict[asyncio.Task[Any], Any]) -> Any:
        match step:
            case Pause():
                log.info("Pausing for %.1f s: %s", step.seconds, step.reason)
                await self._sleep(step.seconds)
            case Now():
                return time.time()
            case MaxInFlight():
                return self.in_flight
            case Progress():
                pass
            case Submit():
                flight[asyncio.create_task(self._attempt(step.call))] = step.tag
            case Collect():
                done, _ = await asyncio.wait(flight, return_when=asyncio.FIRST_COMPLETED)
                task = done.pop()
                return Collected(flight.pop(task), task.result())
            case _:
                outcome = await self._attempt(step)
                if isinstance(outcome, ApiError):
                    raise outcome
                return outcome
        return None

    async def _attempt(self, call: Any) -> Any:
        """Return the result of a call, or its error."""
        try:
            turn = await self._enter(call)
        except ApiError as error:
            return error
        outcome: Any = _given_up(call)
        try:
            if turn > 0:
                await self._sleep(turn)
            outcome = ReplyLostError(str(call), text="given up while it was under way")
            outcome = self._wire.result(call, await self._exchange(call, self._wire.request(call)))
        except ApiError as error:
            outcome = error
        finally:
            await asyncio.shield(asyncio.to_thread(self._pace.release, call, outcome))
        return outcome

    async def _enter(self, call: Any) -> float:
        """Take a place for the call; one that comes after it was given up is left at once."""
        # The pace may wait for a file that other processes hold.
        entering = asyncio.ensure_future(asyncio.to_thread(self._pace.acquire, call))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(partial(self._leave_late, call))
            raise

    def _leave_late(self, call: Any, entered: asyncio.Future[float]) -> None:
        if not entered.cancelled() and entered.exception() is None:
            self._pace.release(call, _given_up(call))

    @ahide_frames
    async def _exchange(self, call: C, request: Request) -> Response:
        try:
            body = None if request.body is None else json.dumps(request.body, allow_nan=False)
        except ValueError:
            raise InvalidCallError(
                str(call), text="the arguments hold a number that JSON does not have (NaN or infinity)"
            ) from None
        headers = {**request.headers, **({} if body is None else {"Content-Type": "application/json"})}
        try:
            response = await self._http.request(request.http_method, request.url, headers=headers, content=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure(str(call), error) from None
        return Response(response.status_code, response.headers, response.content)


def _given_up(call: Any) -> ApiError:
    return NotConnectedError(str(call), text="given up before it was sent")


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


@dataclass(slots=True)
class _Entry(Generic[Settings, SomeClient]):
    settings: Settings
    client: asyncio.Task[SomeClient]
    users: int = 0


async def _close(made: asyncio.Task[SomeClient]) -> None:
    if not made.cancelled() and made.exception() is None:
        await made.result().close()


def _close_late(made: asyncio.Task[SomeClient]) -> None:
    """Close a client that was made too late for those who wanted it."""
    closing = asyncio.ensure_future(_close(made))
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


#: An event loop forgets tasks that nobody holds.
_closing: set[asyncio.Task[None]] = set()


class SharedClients(Generic[Settings, SomeClient]):
    """One client for each account and event loop, for as long as somebody uses it.

    :param make: makes a client; may block.
    """

    def __init__(self, make: Callable[[Settings], SomeClient]) -> None:
        self._make = make
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, _Entry[Settings, SomeClient]]] = (
            WeakKeyDictionary()
        )

    @asynccontextmanager
    async def use(self, find: Callable[[], Awaitable[Settings]]) -> AsyncIterator[SomeClient]:
        """Return the client of an account.

        :param find: gives the account, its credential and its limits.
        """
        # Thousands wait in here at once: nothing is kept that is equal for all of them.
        entry = self._entry(await find())
        entry.users += 1
        try:
            yield await asyncio.shield(entry.client)
        finally:
            entry.users -= 1
            if not entry.users:
                del self._clients()[entry.settings]
                if entry.client.done():
                    await _close(entry.client)
                else:
                    entry.client.add_done_callback(_close_late)

    def _clients(self) -> dict[Settings, _Entry[Settings, SomeClient]]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})

    def _entry(self, settings: Settings) -> _Entry[Settings, SomeClient]:
        clients = self._clients()
        if settings not in clients:
            # Airflow masks secrets from the thread of sync_to_async only.
            making = asyncio.ensure_future(sync_to_async(self._make)(settings))
            clients[settings] = _Entry(settings, making)
        return clients[settings]
