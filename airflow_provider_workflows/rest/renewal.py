"""Replacing a refused credential by the one that is valid now."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from airflow_provider_workflows.rest.driver import Driver, Purpose, Runtime
from airflow_provider_workflows.rest.errors import ApiError, AuthenticationError, ProviderError
from airflow_provider_workflows.rest.protocol import Wire

log = logging.getLogger(__name__)

#: How often a call is sent again with another credential. Twice, as the first one may be another worker's, which has
#: run out as well by now.
REPEATS = 2

C = TypeVar("C")


class Renewal(Generic[C]):
    """Sends calls, and again if the credential is refused and there is another one. A refused call is surely not done.

    :param driver: sends them, with the credential of its wire.
    :param runtime: has a credential replaced beside them.
    """

    def __init__(self, driver: Driver[C], runtime: Runtime) -> None:
        #: Is asked when the credential is refused, and returns a wire with another one, if there is one by now. An
        #: ``ApiError`` that it raises is what becomes of the call.
        self.renew: Callable[[AuthenticationError], Wire[C] | None] = lambda _: None
        self._driver = driver
        self._runtime = runtime
        self._done = 0
        self._failure: ApiError | None = None

    async def attempt(self, call: C, purpose: Purpose) -> Any:
        """Send a call as :meth:`.Driver.attempt` does, with a valid credential."""
        wire = self._driver.wire
        outcome = await self._driver.attempt(call, purpose)
        for _ in range(REPEATS):
            if not isinstance(outcome, AuthenticationError):
                break
            failure = await self._runtime.one_at_a_time(partial(self._replace, wire, self._done, outcome))
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
        if self._done == done:
            self._failure = None
            try:
                self._driver.wire = self.renew(refusal) or refused
            except ApiError as error:
                self._failure = error
            except Exception as error:
                # The refusal is what the plan must handle, and account for.
                why = error.message if isinstance(error, ProviderError) else type(error).__name__
                log.warning("The connection could not be read again: %s", why)
            self._done += 1
        return self._failure
