"""When the next request may go, and how many commands it may carry (API page "Limits"). Functions of time only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

#: A request that was slow to arrive makes those after it come closer together, as the portal sees it.
MARGIN = 0.25
#: Seconds from one slowing down to the next: requests that were on their way are refused all the same.
SLOWING = 5.0
#: How long the portal blocks a method at most, and how long where it does not tell.
LONGEST_BLOCK, USUAL_BLOCK = 600.0, 300.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a portal.

    :param bucket_capacity: requests that may go at once; 50, on Enterprise plans 250.
    :param bucket_drain: requests a second after that; 2, on Enterprise plans 5.
    :param operating_limit: seconds that a method may run in ten minutes; 480.
    """

    bucket_capacity: float = 50.0
    bucket_drain: float = 2.0
    operating_limit: float = 480.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of a portal's leaky bucket.

    :param empty_at: when it will have drained, as a Unix time: its level is the time until then, times the drain.
    :param drain: requests a second that are ours; lower than the portal's when other applications use it too.
    :param slowed_at: when the drain was last lowered, as a Unix time.
    """

    empty_at: float
    drain: float
    slowed_at: float = 0.0

    def reserve(self, now: float, limits: Limits) -> tuple[float, Bucket]:
        """Take the next place.

        :returns: how many seconds to wait before the request is sent, and the bucket after it.
        """
        # A clock that was set back, or a restart, must not leave everybody waiting for the old time.
        longest = now + 10 * limits.bucket_capacity / self.drain
        empty_at = min(max(self.empty_at, now), longest)
        level = (empty_at - now) * self.drain
        wait = max(0.0, (level + 1 + MARGIN - limits.bucket_capacity) / self.drain)
        return wait, replace(self, empty_at=empty_at + 1 / self.drain)

    def answered(self, limits: Limits) -> Bucket:
        """Take back some of the drain after a request that was not refused."""
        drain = min(limits.bucket_drain, self.drain + limits.bucket_drain / 200)
        return replace(self, drain=drain)

    def refused(self, now: float, limits: Limits) -> Bucket:
        """Note a refusal: the bucket is full, so others fill it too."""
        drain, slowed_at = self.drain, self.slowed_at
        if abs(now - slowed_at) > SLOWING:  # The clock may have been set back.
            drain, slowed_at = max(limits.bucket_drain / 10, drain * 0.8), now
        full = now + limits.bucket_capacity / drain
        return Bucket(empty_at=max(self.empty_at, full), drain=drain, slowed_at=slowed_at)


@dataclass(slots=True)
class _Usage:
    """Running time of one method."""

    #: Seconds used, and when the portal forgets them.
    pieces: list[tuple[float, float]] = field(default_factory=list)
    #: Seconds after which the portal forgets.
    window: float = 0.0
    #: Seconds that one run takes.
    cost: float = 0.0
    #: Runs under way.
    flying: int = 0
    #: What the portal told last of when it forgets some.
    reset_at: float = 0.0
    blocked_until: float = 0.0

    def used(self, now: float) -> float:
        self.pieces = sorted(piece for piece in self.pieces if piece[0] > now)
        return sum(seconds for _, seconds in self.pieces)


class OperatingTime:
    """Running time of each method on a portal, kept below its limit.

    :param limit: seconds that a method may run in the portal's window of ten minutes.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._methods: dict[str, _Usage] = {}

    def hold(self, methods: Mapping[str, int], now: float) -> float:
        """Tell how many seconds a request must wait until the running time it needs is free.

        :param methods: how often the request runs each method.
        :param now: Unix time.
        """
        return max(self._hold(self._usage(method), count, now) for method, count in methods.items())

    def _hold(self, usage: _Usage, count: int, now: float) -> float:
        over = usage.used(now) + usage.cost * (usage.flying + count) - self._limit
        wait = max(0.0, usage.blocked_until - now)
        for forgotten_at, seconds in usage.pieces:
            if over <= 0:
                break
            over -= seconds
            wait = max(wait, forgotten_at - now)
        return wait

    def sent(self, methods: Mapping[str, int]) -> None:
        """Note that a request is under way."""
        for method, count in methods.items():
            self._usage(method).flying += count

    def answered(self, methods: Mapping[str, int]) -> None:
        """Note that a request is not under way any more, whatever became of it."""
        for method, count in methods.items():
            self._usage(method).flying -= count

    def learn(self, method: str, times: Sequence[Mapping[str, Any]], now: float) -> None:
        """Read what the portal says of a method's running time.

        :param method: the method.
        :param times: the ``time`` part of each of its runs in one reply.
        :param now: Unix time.
        """
        known = [time for time in times if "operating" in time and "operating_reset_at" in time]
        if not known:
            return
        usage = self._usage(method)
        last = max(known, key=lambda time: float(time["operating"]))
        # It is given in whole seconds.
        reset_at, new = float(last["operating_reset_at"]) + 1, float(last["operating"]) - usage.used(now)
        usage.reset_at = reset_at
        usage.window = min(LONGEST_BLOCK, max(usage.window, reset_at - now))
        usage.cost = sum(float(time.get("duration", 0)) for time in known) / len(known)
        if reset_at > now:
            usage.blocked_until = min(usage.blocked_until, reset_at)
        if not float(last["operating"]):
            usage.pieces.clear()  # A portal that blocks for a fixed time starts again from nothing.
        elif new > 0:
            # What was used before this process looked goes at the portal's next reset, as far as can be known.
            usage.pieces.append((now + usage.window if usage.pieces else reset_at, new))

    def blocked(self, method: str, now: float) -> float | None:
        """Note that the portal blocks a method.

        :returns: for how many seconds; ``None`` while it is under way otherwise, as that reply may tell better.
        """
        usage = self._usage(method)
        if usage.blocked_until <= now:
            usage.used(now)
            told = [forgotten_at for forgotten_at, _ in usage.pieces if forgotten_at <= now + LONGEST_BLOCK]
            guessed = [at for at in (usage.reset_at, now + USUAL_BLOCK) if at > now]
            usage.blocked_until = min(told or guessed)
        return None if usage.flying else usage.blocked_until - now

    def _usage(self, method: str) -> _Usage:
        return self._methods.setdefault(method, _Usage())


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
        self.now = max(1, min(grown, math.floor(self.target / each))) if each else grown

    def share(self, left: int) -> int:
        """Tell how many of the commands left the next batch carries.

        The batches are as few as can be, and carry about as many each: the portal works on several at once.

        :param left: how many commands are left.
        """
        batches = math.ceil(left / self.now)
        return math.ceil(left / max(1, batches))

    def cut(self, commands: int) -> None:
        """Learn from a batch that was cut: the next ones carry half of it at most."""
        self.now = max(1, min(self.now, commands // 2))
