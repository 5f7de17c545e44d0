"""The synchronous driver: runs plans over one ``requests.Session``."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from airflow_provider_workflows.rest.errors import ApiError, NotConnectedError, ReplyLostError
from airflow_provider_workflows.rest.plans import Pause, Plan

log = logging.getLogger(__name__)

#: Bitrix24 cuts a request after 60 s; a shorter read timeout would lose replies that are still to come.
READ_TIMEOUT = 70.0
CONNECT_TIMEOUT = 10.0

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
    """An HTTP response."""

    http_status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class Wire(Protocol[C_contra]):
    """How one vendor's calls look on the wire."""

    def request(self, call: C_contra) -> Request:
        """Give the HTTP request that makes the call."""

    def result(self, call: C_contra, response: Response) -> Any:
        """Give the call's result.

        :raises ApiError: if the response is not a success.
        """


class Client(Generic[C]):
    """Runs plans against one account, one request at a time, over reused connections.

    :param wire: how calls look on the wire.
    :param connect_timeout: seconds for making a connection.
    :param read_timeout: seconds without a byte of the reply.
    :param sleep: what waits out a pause; for tests.
    """

    def __init__(
        self,
        wire: Wire[C],
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wire = wire
        self._timeouts = (connect_timeout, read_timeout)
        self._sleep = sleep
        self._session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def run(self, plan: Plan[T]) -> T:
        """Run a plan to its end.

        :param plan: a generator of the vendor's ``plans`` module.
        :returns: what the plan returns.
        :raises ApiError: a failed call that the plan does not handle.
        """
        try:
            step = next(plan)
            while True:
                try:
                    result = self._do(step)
                except ApiError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, step: Any) -> Any:
        if isinstance(step, Pause):
            log.info("Waiting %.1f s: %s", step.seconds, step.reason)
            self._sleep(step.seconds)
            return None
        response = self._exchange(step, self._wire.request(step))
        return self._wire.result(step, response)

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
            failure = _failure(str(call), error)
        # Raised outside the handler: the library's exception holds the URL, and with it the webhook code.
        raise failure


def _failure(call: str, error: requests.RequestException) -> ApiError:
    reason = error.args[0].reason if error.args and isinstance(error.args[0], MaxRetryError) else None
    if isinstance(error, requests.Timeout) and not isinstance(error, requests.ConnectTimeout):
        return ReplyLostError(call, text="no reply within the read timeout")
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, ConnectTimeoutError):
        return NotConnectedError(call, text="no connection within the connect timeout")
    if isinstance(error, requests.exceptions.ProxyError):
        return NotConnectedError(call, text="no connection through the proxy")
    if isinstance(reason, NewConnectionError):
        return NotConnectedError(call, text="no connection to the host (unknown name, or nothing listens)")
    if reason is not None and any(isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args):
        return NotConnectedError(call, text="the host's TLS certificate is not trusted")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return NotConnectedError(call, text="the host's address is not valid")
    return ReplyLostError(call, text="the connection ended before a whole reply came")
