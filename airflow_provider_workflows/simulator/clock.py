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

    async def sleep(self, seconds: float) -> None:
        """
        Let time pass: on the event loop's clock, less what this one is moved on meanwhile.

        :param seconds: how long
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds + self._ahead
        while (left := until - self._ahead - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), left)
            except TimeoutError:
                return
