"""Running time of each method, kept below the limit of a portal (API page "Limits"). Functions of time only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: How long the portal blocks a method at most, and how long where it does not tell.
LONGEST_BLOCK, USUAL_BLOCK = 600.0, 300.0


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

    def delay_for(self, methods: Mapping[str, int], now: float) -> float:
        """Tell how many seconds a request must wait until the running time it needs is free.

        :param methods: how often the request runs each method.
        :param now: Unix time.
        """
        return max(self._delay(self._usage(method), count, now) for method, count in methods.items())

    def _delay(self, usage: _Usage, count: int, now: float) -> float:
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
