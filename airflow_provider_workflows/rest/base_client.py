"""What the clients of the worker and of the triggerer have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.driver import Driver, Purpose, Runtime
from airflow_provider_workflows.rest.observer import Observer
from airflow_provider_workflows.rest.progress import Stats
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, HttpSettings, RateLimiter, Wire
from airflow_provider_workflows.rest.renewal import Renewal

C = TypeVar("C")


class BaseClient(ABC, Generic[C]):
    """Runs plans against one account, and has its credential replaced when it is refused.

    :param wire: how calls look on the wire.
    :param limiter: when calls may be sent; default: at once.
    :param in_flight: calls under way at once in bulk work.
    :param http: timeouts and sizes.
    :param clock: the time.
    """

    def __init__(
        self,
        wire: Wire[C],
        *,
        limiter: RateLimiter[C] | None = None,
        in_flight: int = IN_FLIGHT,
        http: HttpSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.http = http or HttpSettings()
        self._clock = clock
        self._in_flight = in_flight
        self._runtime = self._make_runtime()
        self._driver = Driver(wire, self._runtime, clock, limiter=limiter, in_flight=in_flight)
        self._driver.send = self._send
        #: Replaces a refused credential.
        self.renewal = Renewal(self._driver, self._runtime)
        #: How errors name the account: the connection and its host, or the host alone.
        self.where = ""

    @abstractmethod
    def _make_runtime(self) -> Runtime:
        """Return what makes requests, lets time pass and runs background work."""

    async def _send(self, call: C, purpose: Purpose) -> Any:
        """Send a call of a plan, and return its result or error."""
        return await self.renewal.attempt(call, purpose)

    @property
    def stats(self) -> Stats:
        """What this client has done so far."""
        return self._driver.stats

    @property
    def observer(self) -> Observer:
        """Is told what this client does, as it happens."""
        return self._driver.observer

    @observer.setter
    def observer(self, observer: Observer) -> None:
        self._driver.observer = observer
