"""What all triggers that poll something have in common."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import logging
import random
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_workflows import docs_link
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.connections import ConnectionUnreadableError
from airflow_provider_workflows.rest.errors import AuthenticationError, ProviderError
from airflow_provider_workflows.rest.plans import TOLERANCE, PauseDueError
from airflow_provider_workflows.rest.seconds import check_poll_interval

log = logging.getLogger(__name__)

#: Seconds after which a credential that goes on being refused is refused for good, though the connection was read again
#: before each poll: when one is rotated, the account changes first, and the connection after it. As long, a connection
#: may be unreadable, too: a secrets backend may not be available.
REFUSED_SECONDS = 300.0
#: Seconds between two polls with a credential that is refused.
REFUSED_PAUSE = 60.0

#: Seconds over which simultaneous polls are spread; shorter than coalesced reads wait for each other.
JITTER = 0.5

#: Seconds after which Airflow's scheduler has heard that the worker let a deferred task go. A task that goes on before
#: that is failed by it (Airflow's issue 72716).
MIN_DEFERRED_SECONDS = 10.0

#: Characters that are shown of an unexpected event.
SHOWN = 200


@cache
def _spare_what_is_loaded() -> None:
    """Have Python's garbage collector leave alone what the process holds by now: all of Airflow's code.

    A thousand triggers make it run, and each full run, of a tenth of a second, would stop the loop of all triggers.
    Airflow does the same in its executors and its Dag processor.
    """
    gc.freeze()


class WaitFailedError(ProviderError):
    """A deferred task was resumed by an error of its trigger, or by an event that is not this provider's.

    :param message: what went wrong.
    :param retry_helps: whether waiting again can help.
    """

    advice = "Clear the task to wait again."

    def __init__(self, message: str, *, retry_helps: bool = True) -> None:
        super().__init__(message)
        self.retry_helps = retry_helps

    def __str__(self) -> str:
        # A trigger's message is mostly that of another error, with its own place in the docs.
        return self.what if docs_link("errors.md#") in self.what else super().__str__()


def validate_event(event: Any) -> Literal["success", "timeout"]:
    """Return what a trigger of this package reports.

    :param event: what Airflow gives to ``execute_complete``.
    :raises WaitFailedError: if it reports an error, or is no event of ours.
    """
    status = event.get("status") if isinstance(event, Mapping) else None
    if status in ("success", "timeout"):
        return status  # type: ignore[no-any-return]
    if status == "error":
        raise WaitFailedError(str(event.get("message")), retry_helps=event.get("retry_helps") is not False)
    raise unexpected_event(event)


def unexpected_event(event: Any) -> WaitFailedError:
    """Return the error for an event that no trigger of this package fires."""
    return WaitFailedError(f"The trigger's event is not from this provider: {repr(event)[:SHOWN]}")


def seconds_until_next_poll(interval: float, now: float) -> float:
    """Return the seconds until the next poll: all that poll at an interval do so together, and share requests.

    :param interval: seconds between two polls.
    :param now: Unix time.
    """
    # A thousand that wake in the same instant would block the event loop.
    return interval - now % interval + random.uniform(0, min(JITTER, interval / 10))  # noqa: S311


class SerializableTrigger(BaseTrigger):
    """A trigger of which Airflow keeps the arguments of its ``__init__``: JSON, each also an attribute of its name."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        arguments = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments


class PollTrigger(SerializableTrigger):
    """Polls until it sees what it waits for.

    Fires ``{"status": "success", ...}``, ``{"status": "timeout"}`` at the deadline, or
    ``{"status": "error", "message": ..., "retry_helps": ...}`` for an error that waiting cannot mend, or that went on
    for too long; but not within its first ten seconds. When the credential is refused, or the connection cannot be
    read, it is read again.

    :param poll_interval: seconds between two polls.
    :param deadline: Unix time after which it polls no more; ``None`` for no end.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help.
    """

    def __init__(self, *, poll_interval: float, deadline: float | None, tolerance: float = TOLERANCE) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        check_poll_interval(poll_interval)
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.tolerance = tolerance
        self._failing_since: float | None = None
        self._refused_since: float | None = None

    @abstractmethod
    def _hook(self) -> AccountHook[Any, Any, Any]:
        """Return the hook of what it polls."""

    @abstractmethod
    async def _poll(self, client: Any) -> Mapping[str, Any] | None:
        """Poll once, and return the event's fields, or ``None`` to wait on. May be cancelled at any time."""

    def _carried(self) -> Mapping[str, Any]:
        """Return what every event carries, so that the task knows what it waited for without asking its XComs."""
        return {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is something to report."""
        _spare_what_is_loaded()
        earliest = AccountHook.clock.monotonic() + MIN_DEFERRED_SECONDS
        event = await self._wait()
        if (early := earliest - AccountHook.clock.monotonic()) > 0:
            await AccountHook.clock.asleep(early)
        # Only now, as Airflow may take the event and leave this generator where it is.
        yield TriggerEvent({**self._carried(), **event})

    async def _wait(self) -> dict[str, Any]:
        """Return the event, at the deadline at the latest: a request that hangs is given up then."""
        try:
            async with asyncio.timeout(self._seconds_left()) as limit:
                return await self._poll_with_fresh_credentials()
        except TimeoutError:
            if not limit.expired():
                raise
            return {"status": "timeout"}

    async def _poll_with_fresh_credentials(self) -> dict[str, Any]:
        while True:
            try:
                # Reads the connection.
                async with self._hook().shared_client() as client:
                    return await self._poll_until_found(client)
            except (AuthenticationError, ConnectionUnreadableError) as error:
                now = AccountHook.clock.time()
                if self._refused_since is None:
                    self._refused_since = now
                if now - self._refused_since >= REFUSED_SECONDS:
                    if isinstance(error, AuthenticationError):
                        # All who wait for the same client are given the same one.
                        error = copy.copy(error)
                        error.advice += " The connection was read again, and its credential is refused as well."
                    return _error(str(error), retry_helps=error.retry_helps)
                log.warning("The connection will be read again: %s", error.message)
            except ProviderError as error:
                return _error(str(error), retry_helps=error.retry_helps)
            await self._sleep(REFUSED_PAUSE)

    async def _poll_until_found(self, client: Any) -> dict[str, Any]:
        pause = 0.0
        while True:
            await self._sleep(pause + self._seconds_until_next_poll(AccountHook.clock.time() + pause))
            if self._seconds_left() == 0:
                return {"status": "timeout"}
            try:
                found = await self._poll_named(client)
            except AuthenticationError:
                raise
            except PauseDueError as due:
                reason, pause = due.pause.reason, due.pause.seconds
            except ProviderError as error:
                if not error.retry_helps:
                    return _error(str(error), retry_helps=False)
                reason, pause = error.message, getattr(error, "retry_after", None) or 0.0
            else:
                self._failing_since, self._refused_since, pause = None, None, 0.0
                if found is not None:
                    return {"status": "success", **found}
                continue
            now = AccountHook.clock.time()
            if self._failing_since is None:
                self._failing_since = now
            failing = now - self._failing_since
            if failing >= self.tolerance:
                return _error(f"Polls have failed for {failing:.0f} s; the last one: {reason}", retry_helps=True)
            log.warning("A poll failed, and polling goes on: %s", reason)
            # Whatever the server says, the outcome is known soon after the tolerance has ended.
            pause = min(pause, self.tolerance - failing)

    async def _poll_named(self, client: Any) -> Mapping[str, Any] | None:
        try:
            return await self._poll(client)
        except ProviderError as error:
            # A filter that is refused before anything is sent is not the account's.
            if error.where:
                error.where = self._hook().named(error.where)
            raise

    def _seconds_until_next_poll(self, now: float) -> float:
        return seconds_until_next_poll(self.poll_interval, now)

    def _seconds_left(self) -> float | None:
        """Return the seconds until the deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - AccountHook.clock.time())

    async def _sleep(self, seconds: float) -> None:
        """Sleep, until the deadline at most."""
        left = self._seconds_left()
        await AccountHook.clock.asleep(seconds if left is None else min(seconds, left))


def _error(message: str, *, retry_helps: bool) -> dict[str, Any]:
    return {"status": "error", "message": message, "retry_helps": retry_helps}
