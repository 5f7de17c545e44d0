"""Running time of each method, kept below the limit of a portal (API page "Limits"). Functions of time only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_workflows.rest.replies import LONGEST_WAIT

#: How long the portal blocks a method where it does not tell.
USUAL_BLOCK = 300.0


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

    def learn(self, method: str, times: Sequence[Mapping[str, float]], now: float) -> None:
        """Read what the portal says of a method's running time.

        :param method: the method.
        :param times: the ``time`` part of each of its runs in one reply.
        :param now: Unix time.
        """
        known = [time for time in times if "operating" in time and "operating_reset_at" in time]
        if not known:
            return
        usage = self._usage(method)
        last = max(known, key=lambda time: time["operating"])
        # By the portal's clock, which may not be ours, and in whole seconds.
        left = last["operating_reset_at"] - last.get("finish", now)
        reset_at, new = now + min(left, LONGEST_WAIT) + 1, last["operating"] - usage.used(now)
        usage.reset_at = reset_at
        usage.window = min(LONGEST_WAIT, max(usage.window, reset_at - now))
        usage.cost = sum(time.get("duration", 0.0) for time in known) / len(known)
        if reset_at > now:
            usage.blocked_until = min(usage.blocked_until, reset_at)
        if not last["operating"]:
            usage.pieces.clear()  # A portal that blocks for a fixed time starts again from nothing.
        elif new > 0:
            # What was used before this process looked goes at the portal's next reset, as far as can be known.
            usage.pieces.append((now + usage.window if usage.pieces else reset_at, new))

    def blocked(self, method: str, now: float, told: float | None = None) -> float | None:
        """Note that the portal blocks a method.

        :param method: the method.
        :param now: Unix time.
        :param told: for how many seconds, if the portal told.
        :returns: for how many seconds; ``None`` while it is under way otherwise, as that reply may tell better.
        """
        usage = self._usage(method)
        if told is not None:
            usage.blocked_until = now + told
            return told
        if usage.blocked_until <= now:
            usage.used(now)
            forgotten = [at for at, _ in usage.pieces if at <= now + LONGEST_WAIT]
            guessed = [at for at in (usage.reset_at, now + USUAL_BLOCK) if at > now]
            usage.blocked_until = min(forgotten or guessed)
        return None if usage.flying else usage.blocked_until - now

    def _usage(self, method: str) -> _Usage:
        return self._methods.setdefault(method, _Usage())
