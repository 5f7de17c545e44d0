"""Running time of each method, kept below the limit of a portal (API page "Limits"). Functions of time only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from airflow_provider_workflows.rest.replies import LONGEST_WAIT

#: How long the portal blocks a method where it does not say.
USUAL_BLOCK = 300.0
#: The portal adds up what runs within a minute, and forgets it ten minutes after the first of it.
MINUTE, WINDOW = 60.0, 600.0
#: Seconds for which a run counts as under way when nothing more is heard of it: its worker may have been killed.
UNDER_WAY = 240.0
#: Nothing is noted for later than this, unless a clock was set back.
FURTHEST = LONGEST_WAIT + 2 * MINUTE

_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(slots=True)
class MethodTime:
    """Running time of one method.

    :param minutes: when the portal forgets a minute, and the seconds used in it.
    :param cost: seconds that one run takes.
    :param under_way: until when runs under way count at most, and how many they are.
    :param reset_at: when the portal forgets some of it, as last reported.
    :param blocked_until: when the portal runs it again.
    """

    minutes: dict[_Number, _Number] = field(default_factory=dict)
    cost: _Number = 0.0
    under_way: dict[_Number, int] = field(default_factory=dict)
    reset_at: _Number = 0.0
    blocked_until: _Number = 0.0

    def used(self) -> float:
        """Return the seconds that the portal has not forgotten."""
        return sum(self.minutes.values())

    def forget(self, now: float) -> None:
        """Leave out what counts no more, and what a clock noted that was ahead."""
        self.minutes = {at: used for at, used in sorted(self.minutes.items()) if now < at < now + FURTHEST}
        self.under_way = {until: runs for until, runs in self.under_way.items() if now < until < now + FURTHEST}
        if self.blocked_until >= now + FURTHEST:
            self.blocked_until = 0.0

    def counts(self, now: float) -> bool:
        """Return whether there is anything to remember."""
        times = (*self.minutes, *self.under_way, self.reset_at, self.blocked_until)
        return any(now < at < now + FURTHEST for at in times)

    def delay_for(self, count: int, limit: float, now: float) -> float:
        """Return how many seconds this many runs must wait until the time they need is free."""
        over = self.used() + self.cost * (sum(self.under_way.values()) + count) - limit
        wait = max(0.0, self.blocked_until - now)
        for forgotten_at, seconds in self.minutes.items():
            if over <= 0:
                break
            over -= seconds
            wait = max(wait, forgotten_at - now)
        return wait

    def add(self, at: float, seconds: float) -> None:
        """Note seconds that ran."""
        last = max((end for end in self.minutes if 0 <= at + WINDOW - end < MINUTE), default=at + WINDOW)
        self.minutes[last] = self.minutes.get(last, 0.0) + seconds

    def count(self, until: float, runs: int) -> None:
        """Count runs as under way, or with a negative number no more, as far as they still do."""
        left = self.under_way.pop(until, 0) + runs
        if left > 0:
            self.under_way[until] = left


class OperatingTime:
    """Running time of each method that one credential calls on a portal, kept below its limit.

    :param limit: seconds that a method may run in the portal's sliding window of ten minutes.
    :param methods: what is known of each method; it is changed.
    :param now: Unix time.
    """

    def __init__(self, limit: float, methods: dict[str, MethodTime], now: float) -> None:
        self._limit = limit
        self._methods = methods
        self._now = now
        for time in methods.values():
            time.forget(now)

    def delay_for(self, methods: Mapping[str, int]) -> float:
        """Return how many seconds a request must wait until the running time it needs is free.

        :param methods: how often the request runs each method.
        """
        known = {method: time for method, time in self._methods.items() if method in methods}
        return max(
            (time.delay_for(methods[method], self._limit, self._now) for method, time in known.items()), default=0
        )

    def blocked_for(self, methods: Mapping[str, int]) -> float:
        """Return for how many seconds the portal blocks one of the methods.

        :param methods: how often a request runs each method.
        """
        return max(0.0, max(self._time(method).blocked_until for method in methods) - self._now)

    def sent(self, methods: Mapping[str, int]) -> float:
        """Note that a request is under way.

        :param methods: how often the request runs each method.
        :returns: until when it counts as such at most.
        """
        # Whole multiples of ten, so that many requests need few numbers.
        until = math.ceil((self._now + UNDER_WAY) / 10) * 10.0
        for method, count in methods.items():
            self._time(method).count(until, count)
        return until

    def answered(self, methods: Mapping[str, int], until: float) -> None:
        """Note that a request is not under way any more, whatever became of it.

        :param methods: how often the request ran each method.
        :param until: what :meth:`sent` returned for it.
        """
        for method, count in methods.items():
            self._time(method).count(until, -count)

    def learn(self, method: str, times: Sequence[Mapping[str, float]], at: float) -> None:
        """Read what the portal says of a method's running time.

        :param times: the ``time`` part of each of its runs in one reply.
        :param at: when the reply came, as a Unix time.
        """
        known = [time for time in times if "operating" in time and "operating_reset_at" in time]
        if not known:
            return
        usage = self._time(method)
        last = max(known, key=lambda time: (time.get("finish", 0.0), time["operating"]))
        # By the portal's clock, which may not be ours, and in whole seconds.
        left = last["operating_reset_at"] - last.get("finish", at)
        reset_at, new = at + min(left, LONGEST_WAIT) + 1, last["operating"] - usage.used()
        usage.reset_at = max(0.0, reset_at)
        ran = sum(time.get("duration", 0.0) for time in known)
        usage.cost = ran / len(known)
        if reset_at > self._now:
            usage.blocked_until = min(usage.blocked_until, reset_at)
        if not last["operating"]:
            usage.minutes.clear()  # A portal that blocks for a fixed time starts again from nothing.
        elif new > 0 and not usage.minutes:
            # What others have used is forgotten at the portal's next reset, for all that is known.
            usage.minutes[reset_at] = new
        elif new > 0:
            for time in known:
                ended_at = at - max(0.0, last.get("finish", at) - time.get("finish", at))
                usage.add(ended_at + 1, new * (time.get("duration", 0.0) / ran if ran else 1 / len(known)))
        usage.forget(self._now)

    def blocked(self, method: str, at: float, told: float | None = None) -> float | None:
        """Note that the portal blocks a method.

        :param at: when it said so, as a Unix time.
        :param told: for how many seconds, if the portal said so.
        :returns: for how many seconds; ``None`` while it is under way otherwise, as that reply may tell better.
        """
        usage = self._time(method)
        if told is not None:
            usage.blocked_until = at + told
            return told
        if usage.blocked_until <= at:
            forgotten = [minute for minute in usage.minutes if at < minute <= at + LONGEST_WAIT]
            guessed = [reset_at for reset_at in (usage.reset_at, at + USUAL_BLOCK) if reset_at > at]
            usage.blocked_until = min(forgotten or guessed)
        return None if usage.under_way else usage.blocked_until - at

    def _time(self, method: str) -> MethodTime:
        return self._methods.setdefault(method, MethodTime())
