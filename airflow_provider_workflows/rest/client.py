"""The synchronous driver: runs plans over one ``requests.Session``."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from threading import Event
from typing import Any, Generic, Protocol, Self, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from airflow_provider_workflows.rest.errors import (
    ApiError,
    InvalidCallError,
    NotConnectedError,
    NotProcessedError,
    ReplyLostError,
)
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
from airflow_provider_workflows.rest.progress import ProgressLog, Stats
from airflow_provider_workflows.rest.redaction import hide_frames

log = logging.getLogger(__name__)

#: Bitrix24 cuts a request after 60 s; a shorter read timeout would lose replies that are still to come.
READ_TIMEOUT = 70.0
CONNECT_TIMEOUT = 10.0
#: Requests under way at once, unless set in the connection.
IN_FLIGHT = 4
#: Requests under way at once, whatever a plan asks for.
MOST_IN_FLIGHT = 32
#: A pause of so many seconds is worth a warning.
LONG_PAUSE = 60.0

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; what may hold a credential is not shown."""

    http_method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; what may repeat a credential is not shown."""

    http_status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Wire(Protocol[C_contra]):
    """How one vendor's calls look on the wire."""

    def request(self, call: C_contra) -> Request:
        """Return the HTTP request that makes the call."""

    def result(self, call: C_contra, response: Response) -> Any:
        """Return the call's result.

        :raises ApiError: if the response is not a success.
        """


class _Session(requests.Session):
    """A session for which a redirect is an answer like any other; even reading its target can fail."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


class RateLimiter(Protocol[C_contra]):
    """When calls may be sent. Called from several threads."""

    def acquire(self, call: C_contra) -> float:
        """Take a place for the call, and give the seconds to wait before it is sent.

        :raises ApiError: if it must not be sent now; ``retry_after`` says when.
        """

    def release(self, call: C_contra, outcome: Any) -> None:
        """Learn from what became of the call: its result, or an ``ApiError``."""


class Unlimited:
    """For a server without known limits."""

    def acquire(self, call: Any) -> float:  # noqa: ARG002
        """Let it go at once."""
        return 0.0

    def release(self, call: Any, outcome: Any) -> None:
        """Learn nothing."""


class Client(Generic[C]):
    """Runs plans against one account, over reused connections.

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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wire = wire
        self._pace: RateLimiter[C] = pace or Unlimited()
        self._timeouts = (connect_timeout, read_timeout)
        self._sleep = sleep
        self.in_flight = in_flight
        self._session = _Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MOST_IN_FLIGHT))
        self._threads: ThreadPoolExecutor | None = None
        #: What this client has done so far.
        self.stats = Stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._threads:
            self._threads.shutdown()
        self._session.close()

    def run(self, plan: Plan[T], *, longest_pause: float | None = None) -> T:
        """Run a plan to its end.

        :param plan: a generator of the vendor's modules.
        :param longest_pause: seconds that the plan may pause at once; default: as it needs.
        :returns: what the plan returns.
        :raises ApiError: a failed call that the plan does not handle.
        :raises PauseDueError: if it has to pause for longer.
        """
        flight = _Flight(ProgressLog(self.stats))
        try:
            step = next(plan)
            while True:
                try:
                    if isinstance(step, Pause) and longest_pause is not None and step.seconds > longest_pause:
                        raise PauseDueError(step)
                    result = self._do(step, flight)
                except ApiError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flight.over.set()

    def _do(self, step: Any, flight: _Flight) -> Any:
        match step:
            case Pause():
                self._wait(step.seconds, step.reason)
            case Now():
                return time.time()
            case MaxInFlight():
                return self.in_flight
            case Progress():
                flight.progress.show(step)
            case Submit():
                self._threads = self._threads or ThreadPoolExecutor(MOST_IN_FLIGHT)
                flight.tags[self._threads.submit(self._attempt, step.call, flight.over)] = step.tag
            case Collect():
                future = next(iter(wait(flight.tags, return_when=FIRST_COMPLETED).done))
                return Collected(flight.tags.pop(future), future.result())
            case _:
                outcome = self._attempt(step, flight.over)
                if isinstance(outcome, ApiError):
                    raise outcome
                return outcome
        return None

    def _wait(self, seconds: float, reason: str) -> None:
        self.stats.paused += seconds
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        level = logging.WARNING if seconds >= LONG_PAUSE else logging.INFO
        log.log(level, "Pausing for %.1f s, going on at %s: %s", seconds, f"{until:%H:%M:%S} UTC", reason)
        self._sleep(seconds)

    def _attempt(self, call: Any, over: Event) -> Any:
        """Return the result of a call, or its error."""
        try:
            turn = self._pace.acquire(call)
        except ApiError as error:
            return error
        if turn > 0:
            self._sleep(turn)
        try:
            if over.is_set():
                raise NotConnectedError(str(call), text="not sent: the task has ended")
            outcome = self._wire.result(call, self._exchange(call, self._wire.request(call)))
        except ApiError as error:
            outcome = error
        self._pace.release(call, outcome)
        self.stats.requests += 1
        self.stats.refusals += isinstance(outcome, NotProcessedError)
        return outcome

    @hide_frames
    def _exchange(self, call: C, request: Request) -> Response:
        try:
            response = self._session.request(
                request.http_method,
                request.url,
                headers=request.headers,
                json=request.body,
                timeout=self._timeouts,
                allow_redirects=False,
            )
            return Response(response.status_code, response.headers, response.content)
        except requests.RequestException as error:
            raise _failure(str(call), error) from None


@dataclass(slots=True)
class _Flight:
    """What belongs to one run of a plan: the calls under way, with their tags, and whether it is over."""

    progress: ProgressLog
    tags: dict[Future[Any], Any] = field(default_factory=dict)
    over: Event = field(default_factory=Event)


def _failure(call: str, error: requests.RequestException) -> ApiError:
    reason = error.args[0].reason if error.args and isinstance(error.args[0], MaxRetryError) else None
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return InvalidCallError(call, text="the arguments hold a number that JSON does not have (NaN or infinity)")
    if isinstance(error, requests.Timeout) and not isinstance(error, requests.ConnectTimeout):
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
        return NotConnectedError(call, text="the host's address is not valid")
    return ReplyLostError(call, text="the connection ended before a whole reply came")
