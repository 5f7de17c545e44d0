"""How many commands the next batch may carry."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class BatchSize:
    """How many commands the next batch may carry, so that it stays below the portal's 60 s for a request.

    :param largest: the most that a batch takes.
    :param target: seconds that a batch is expected to take at most.
    """

    largest: int
    target: float = 30.0
    now: int = 0

    def __post_init__(self) -> None:
        self.now = self.now or self.largest

    def answered(self, commands: int, seconds: float | None) -> None:
        """Learn from a batch that was answered.

        :param commands: how many it carried.
        :param seconds: how long the portal worked on it; ``None`` if it did not tell.
        """
        grown = min(self.largest, self.now * 2)
        each = (seconds or 0.0) / max(1, commands)
        self.now = max(1, math.floor(min(grown, self.target / each))) if each else grown

    def next_size(self, left: int) -> int:
        """Return how many of the commands left the next batch carries.

        The batches are as few as can be, and carry about as many each: the portal works on several at once.

        :param left: how many commands are left.
        """
        batches = math.ceil(left / self.now)
        return math.ceil(left / max(1, batches))

    def halve(self, commands: int) -> None:
        """Learn from a batch that was cut: the next ones carry half of it at most."""
        self.now = max(1, min(self.now, commands // 2))
