"""The time that the simulator goes by: the machine's unless told otherwise, and it can be moved on."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class TimeSource(Protocol):
    """What tells the time; the module ``time`` is one."""

    def time(self) -> float:
        """Return the Unix time."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set."""


class Clock:
    """
    The simulator's clock.

    :param source: tells the time, the machine by default
    """

    def __init__(self, source: TimeSource | None = None) -> None:
        self._source: TimeSource = source or time
        self._ahead = 0.0
        self._moved = asyncio.Event()

    def time(self) -> float:
        """Return the Unix time."""
        return self._source.time() + self._ahead

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never set."""
        return self._source.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """
        Move the clock on; who waits is there so much earlier.

        :param seconds: by how much
        """
        self._ahead += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    def reset(self) -> None:
        """Go by the source again."""
        self._ahead = 0.0

    def waited(self) -> float:
        """Return the seconds that sleepers go by: the event loop's, and those by which this clock was moved on."""
        return asyncio.get_running_loop().time() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """
        Let time pass.

        :param seconds: how long
        """
        until = self.waited() + seconds
        while (left := until - self.waited()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), left)
            except TimeoutError:
                return
