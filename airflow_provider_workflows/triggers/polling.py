"""What all triggers that look at something again and again have in common."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_workflows.rest.errors import ApiError, ProviderError
from airflow_provider_workflows.rest.plans import PauseDueError

log = logging.getLogger(__name__)

#: Looks that may fail one after the other, where trying again can help.
MOST_FAILURES = 10

#: Seconds over which those that look at the same moment are spread; less than shared reads wait for others.
JITTER = 0.5

#: Seconds after which Airflow's scheduler has heard that the worker let a deferred task go. A task that goes on before
#: that is failed by it (Airflow's issue 72716).
MIN_DEFERRED_SECONDS = 10.0


class SharingHook(Protocol):
    """A hook of this package."""

    def shared_client(self) -> AbstractAsyncContextManager[Any]:
        """Return the client that all users of this account in the event loop share."""


class WaitFailedError(ProviderError):
    """A deferred task was woken up by something else than what it waits for."""

    retry_helps = True


def validate_event(event: Any) -> Literal["success", "timeout"]:
    """Tell what a trigger of this package reports.

    :param event: what Airflow gives to ``execute_complete``.
    :raises WaitFailedError: if it reports an error, or is no event of ours.
    """
    status = event.get("status") if isinstance(event, Mapping) else None
    if status in ("success", "timeout"):
        return status  # type: ignore[no-any-return]
    if status == "error":
        raise WaitFailedError(str(event.get("message")))
    raise WaitFailedError(f"The trigger's event is none of this provider's: {event!r}")


def seconds_until_next_poll(interval: float, now: float) -> float:
    """Return the seconds until the next look: all that look at an interval do so together, and share requests.

    :param interval: seconds between two looks.
    :param now: Unix time.
    """
    # A thousand that wake in the same instant would block the event loop.
    return interval - now % interval + random.uniform(0, min(JITTER, interval / 10))  # noqa: S311


class PollTrigger(BaseTrigger):
    """Looks until it sees what it waits for.

    Fires ``{"status": "success", ...}``, ``{"status": "timeout"}`` after the deadline, or
    ``{"status": "error", "message": ...}`` for an error that waiting cannot mend, or that came ten times in a row;
    but not within its first ten seconds.

    :param poll_interval: seconds between two looks.
    :param deadline: Unix time after which it looks no more; ``None`` for no end.
    """

    def __init__(self, *, poll_interval: float, deadline: float | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if poll_interval <= 0:
            raise ValueError(f"poll_interval must be more than 0 seconds, not {poll_interval}")
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments of its ``__init__``, which are JSON."""
        return serialize_trigger(self)

    @abstractmethod
    def _hook(self) -> SharingHook:
        """Return the hook of what it looks at."""

    @abstractmethod
    async def _poll(self, client: Any) -> Mapping[str, Any] | None:
        """Look once, and give the event's fields, or ``None`` to wait on."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to report."""
        earliest = time.monotonic() + MIN_DEFERRED_SECONDS
        async with self._hook().shared_client() as client:
            event = await self._wait(client)
        if (early := earliest - time.monotonic()) > 0:
            await asyncio.sleep(early)
        # Only now, as Airflow may take the event and leave this generator where it is.
        yield TriggerEvent(event)

    async def _wait(self, client: Any) -> dict[str, Any]:
        failures, pause = 0, 0.0
        while True:
            now = time.time()
            wait = pause + seconds_until_next_poll(self.poll_interval, now + pause)
            if self.deadline is not None:
                wait = min(wait, max(0.0, self.deadline - now))
            await asyncio.sleep(wait)
            if self.deadline is not None and time.time() >= self.deadline:
                return {"status": "timeout"}
            pause = 0.0
            try:
                found = await self._poll(client)
            except PauseDueError as due:
                failures += 1
                if failures >= MOST_FAILURES:
                    return {
                        "status": "error",
                        "message": f"{failures} looks in a row failed, lastly: {due.pause.reason}",
                    }
                log.warning("Look %d in a row failed, and it goes on: %s", failures, due.pause.reason)
                pause = due.pause.seconds
            except (ApiError, ValueError) as error:
                return {"status": "error", "message": str(error)}
            else:
                failures = 0
                if found is not None:
                    return {"status": "success", **found}


def serialize_trigger(trigger: BaseTrigger) -> tuple[str, dict[str, Any]]:
    """Return a trigger's class and the arguments of its ``__init__``; each is kept under its own name."""
    arguments = {name: getattr(trigger, name) for name in inspect.signature(type(trigger)).parameters}
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}", arguments
