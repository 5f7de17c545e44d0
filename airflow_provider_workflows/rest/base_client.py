"""What the clients of the worker and of the triggerer have in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.driver import Driver, Purpose, Runtime
from airflow_provider_workflows.rest.errors import ApiError, AuthenticationError, ProviderError
from airflow_provider_workflows.rest.observer import Observer
from airflow_provider_workflows.rest.progress import Stats
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, HttpSettings, RateLimiter, Wire

log = logging.getLogger(__name__)

#: How often a call is sent again with another credential. Twice, as the first one may be another worker's, which has
#: run out as well by now.
REPEATS = 2

C = TypeVar("C")


class BaseClient(ABC, Generic[C]):
    """Runs plans against one account, and has its credential replaced when it is refused.

    :param wire: how calls look on the wire.
    :param limiter: when calls may be sent; default: at once.
    :param in_flight: calls under way at once in bulk work.
    :param http: timeouts and sizes.
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
        #: Is asked when the credential is refused, and returns a wire with another one, if there is one by now. An
        #: ``ApiError`` that it raises is what becomes of the call.
        self.renew: Callable[[AuthenticationError], Wire[C] | None] = lambda _: None
        self._replaced = 0
        self._failure: ApiError | None = None
        #: How errors name the account: the connection and its host, or the host alone.
        self.where = ""

    @abstractmethod
    def _make_runtime(self) -> Runtime:
        """Return what makes requests, lets time pass and runs background work."""

    async def _send(self, call: C, purpose: Purpose) -> Any:
        """Send a call of a plan, with a valid credential, and return its result or error.

        A call whose credential is refused is surely not done.
        """
        wire = self._driver.wire
        outcome = await self._driver.attempt(call, purpose)
        for _ in range(REPEATS):
            if not isinstance(outcome, AuthenticationError):
                break
            failure = await self._runtime.one_at_a_time(partial(self._replace, wire, self._replaced, outcome))
            if failure is not None:
                return failure
            if self._driver.wire is wire:
                break
            wire = self._driver.wire
            outcome = await self._driver.attempt(call, purpose)
        return outcome

    def _replace(self, refused: Wire[C], done: int, refusal: AuthenticationError) -> ApiError | None:
        """Replace a refused credential; return what keeps the call from being sent with any.

        :param done: how many replacements had ended when the call was refused.
        """
        if self._driver.wire is not refused:
            return None
        # Another call was refused as well, and what came of that came after this refusal.
        if self._replaced == done:
            self._failure = None
            try:
                self._driver.wire = self.renew(refusal) or refused
            except ApiError as error:
                self._failure = error
            except Exception as error:
                # The refusal is what the plan must handle, and account for.
                why = error.message if isinstance(error, ProviderError) else type(error).__name__
                log.warning("The connection could not be read again: %s", why)
            self._replaced += 1
        return self._failure

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
