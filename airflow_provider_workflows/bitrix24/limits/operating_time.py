"""Running time of each method, kept below the limit of a portal (API page "Limits"). Functions of time only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_workflows.rest.replies import LONGEST_WAIT

#: How long the portal blocks a method where it does not tell.
USUAL_BLOCK = 300.0
#: The portal adds up what runs within a minute, and forgets it ten minutes after the first of it.
MINUTE, WINDOW = 60.0, 600.0


@dataclass(slots=True)
class _Usage:
    """Running time of one method."""

    #: When the portal forgets a minute, and the seconds used in it.
    minutes: dict[float, float] = field(default_factory=dict)
    #: Seconds that one run takes.
    cost: float = 0.0
    #: Runs under way.
    in_flight: int = 0
    #: What the portal told last of when it forgets some.
    reset_at: float = 0.0
    blocked_until: float = 0.0

    def used(self, now: float) -> float:
        self.minutes = {forgotten_at: used for forgotten_at, used in sorted(self.minutes.items()) if forgotten_at > now}
        return sum(self.minutes.values())

    def add(self, at: float, seconds: float) -> None:
        last = max((end for end in self.minutes if 0 <= at + WINDOW - end < MINUTE), default=at + WINDOW)
        self.minutes[last] = self.minutes.get(last, 0.0) + seconds


class OperatingTime:
    """Running time of each method on a portal, kept below its limit.

    :param limit: seconds that a method may run in the portal's sliding window of ten minutes.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._methods: dict[str, _Usage] = {}

    def delay_for(self, methods: Mapping[str, int], now: float) -> float:
        """Return how many seconds a request must wait until the running time it needs is free.

        :param methods: how often the request runs each method.
        :param now: Unix time.
        """
        return max(self._delay(self._usage(method), count, now) for method, count in methods.items())

    def _delay(self, usage: _Usage, count: int, now: float) -> float:
        over = usage.used(now) + usage.cost * (usage.in_flight + count) - self._limit
        wait = max(0.0, usage.blocked_until - now)
        for forgotten_at, seconds in usage.minutes.items():
            if over <= 0:
                break
            over -= seconds
            wait = max(wait, forgotten_at - now)
        return wait

    def sent(self, methods: Mapping[str, int]) -> None:
        """Note that a request is under way."""
        for method, count in methods.items():
            self._usage(method).in_flight += count

    def answered(self, methods: Mapping[str, int]) -> None:
        """Note that a request is not under way any more, whatever became of it."""
        for method, count in methods.items():
            self._usage(method).in_flight -= count

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
        ran = sum(time.get("duration", 0.0) for time in known)
        usage.cost = ran / len(known)
        if reset_at > now:
            usage.blocked_until = min(usage.blocked_until, reset_at)
        if not last["operating"]:
            usage.minutes.clear()  # A portal that blocks for a fixed time starts again from nothing.
        elif new > 0 and not usage.minutes:
            # What others used before goes at the portal's next reset, as far as can be known.
            usage.minutes[reset_at] = new
        elif new > 0:
            for time in known:
                ended_at = now - max(0.0, last.get("finish", now) - time.get("finish", now))
                usage.add(ended_at + 1, new * (time.get("duration", 0.0) / ran if ran else 1 / len(known)))

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
            forgotten = [at for at in usage.minutes if at <= now + LONGEST_WAIT]
            guessed = [at for at in (usage.reset_at, now + USUAL_BLOCK) if at > now]
            usage.blocked_until = min(forgotten or guessed)
        return None if usage.in_flight else usage.blocked_until - now

    def _usage(self, method: str) -> _Usage:
        return self._methods.setdefault(method, _Usage())
