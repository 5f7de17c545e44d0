"""How many commands the next batch may carry."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Commands of a batch whose answer is to come soon, and seconds that it may take where a command's time is known.
TRIAL, SOON = 5, 1.0
#: Seconds that a batch takes at least that is made smaller to have more of them under way: each costs a request.
LONG = 8.0
#: Batches left for which one more costs little, also where many workers with such jobs share the portal's bucket.
FEW = 5


@dataclass(slots=True)
class BatchSize:
    """How many commands the next batch may carry, so that it stays below the portal's 60 s for a request.

    :param largest: the most that a batch takes.
    :param target: seconds that a batch is expected to take at most.
    :param now: the most that the next one takes.
    :param each: seconds that a command takes, if that is known.
    """

    largest: int
    target: float = 30.0
    now: int = 0
    each: float | None = None

    def __post_init__(self) -> None:
        self.now = self.now or self.largest

    def answered(self, commands: int, seconds: float | None) -> None:
        """Learn from a batch that was answered.

        :param commands: how many it carried.
        :param seconds: how long the portal worked on it; ``None`` if it did not say.
        """
        grown = min(self.largest, self.now * 2)
        self.each = each = (seconds or 0.0) / max(1, commands)
        self.now = max(1, math.floor(min(grown, self.target / each))) if each else grown

    def next_size(self, left: int, *, trial: bool, places: int = 1) -> int:
        """Return how many of the commands left the next batch carries.

        The batches carry about as many each, as the portal works on several at once. They are as few as can be, but
        as many as there are places if each takes :data:`LONG` even then.

        :param left: how many commands are left.
        :param trial: whether its answer is to come soon.
        :param places: how many further batches may be under way.
        """
        long_ones = math.floor(left * (self.each or 0.0) / LONG)
        batches = max(math.ceil(left / self.now), min(places, long_ones))
        size = math.ceil(left / max(1, batches))
        if not trial or size == left or (self.each is None and batches > FEW):
            return size
        soon = TRIAL if self.each is None else math.floor(SOON / max(self.each, SOON / self.largest))
        return max(1, min(size, soon))

    def halve(self, commands: int) -> None:
        """Learn from a batch that was cut: the next ones carry half of it at most."""
        self.now = max(1, min(self.now, commands // 2))
