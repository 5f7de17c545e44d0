"""The time that clients, hooks and triggers go by; tests give them another."""

from __future__ import annotations

import asyncio
import time
from threading import Event

#: A Unix time later than any: what is above it is none.
LATEST = 1e11


class Clock:
    """The machine's clock."""

    def time(self) -> float:
        """Return the Unix time."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never adjusted."""
        return time.monotonic()

    def sleep(self, seconds: float, until: Event) -> None:
        """Let time pass.

        :param until: ends it early when it is set.
        """
        until.wait(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let time pass without blocking the event loop."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = Clock()
