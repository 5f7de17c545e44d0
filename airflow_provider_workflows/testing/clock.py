"""Time that passes at once."""

from __future__ import annotations

import threading
from threading import Event

from airflow_provider_workflows.rest.clock import Clock


class VirtualTime(Clock):
    """The machine's time, but sleeping takes no time. Stands in for the ``time`` module, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Go back to the machine's time."""
        self.naps: list[float] = []
        self._ahead = 0.0

    def time(self) -> float:
        """Return the Unix time."""
        return super().time() + self._ahead

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set."""
        return super().monotonic() + self._ahead

    def sleep(self, seconds: float, until: Event | None = None) -> None:  # noqa: ARG002
        """Let time pass.

        :param seconds: how long.
        :param until: would end it early.
        """
        with self._lock:
            self.naps.append(seconds)
            self._ahead += seconds

    async def asleep(self, seconds: float) -> None:
        """Let time pass for a trigger.

        :param seconds: how long.
        """
        with self._lock:
            self._ahead += seconds
        await super().asleep(0)
