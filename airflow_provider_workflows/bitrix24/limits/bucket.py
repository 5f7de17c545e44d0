"""When the next request may go (API page "Limits"). Functions of time only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from airflow_provider_workflows.rest.clock import LATEST
from airflow_provider_workflows.rest.replies import LONGEST_WAIT

#: A request that was slow to arrive makes those after it come closer together, as the portal sees it.
MARGIN = 0.25
#: Requests of a burst to leave out for several hosts, whose first requests arrive late and so closer together.
SLACK = 2.0
#: Seconds from one slowing down to the next: requests that were on their way are refused all the same.
SLOWING = 5.0
#: Seconds after which a rate above the measured drain is tried at the latest: others may use less by then.
LONGEST_PERIOD = 60.0

#: Seconds to which a wait is computed.
PRECISION = 0.01

#: Requests that wait at most: more than any number of workers sends. A record that holds more is none.
MOST_WAITING = 100_000.0

#: No later times are exact enough.
_Number = Annotated[float, Field(ge=0, le=LATEST, allow_inf_nan=False)]


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

    @property
    def lowest_drain(self) -> float:
        """Requests a second that are sent however often the portal refuses."""
        return self.bucket_drain / 20

    def for_hosts(self) -> Limits:
        """Return the limits for workers on several hosts, whose requests arrive less evenly."""
        return replace(self, bucket_capacity=max(1.0, self.bucket_capacity - SLACK))


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of a portal's leaky bucket.

    Other applications use it too, and a refusal shows that it is full. From one refusal to the next it lets through
    just what drains, so that is measured. After that the rate goes on as TCP's does (CUBIC, RFC 9438): at first a
    little lower, for long as measured, then more and more, up to the portal's.

    :param level: requests in it; those above its capacity wait for their turn, the first to come first.
    :param drain: requests a second that were left to us when the portal refused last; all, if it never did.
    :param at: when that was so, as a Unix time.
    :param period: seconds after the last refusal at which the rate is the drain again.
    :param slowed_at: when the drain was last measured, as a Unix time.
    :param held_until: Unix time at which the portal takes requests again, if it said so.
    :param places: how many places were taken so far; the last one's number.
    :param passed: how many of them had had their turn when the drain was last measured.
    """

    level: Annotated[float, Field(ge=0, le=MOST_WAITING, allow_inf_nan=False)]
    drain: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    at: _Number
    period: Annotated[float, Field(ge=SLOWING, le=LONGEST_PERIOD)] = SLOWING
    slowed_at: _Number = 0.0
    held_until: _Number = 0.0
    places: int = 0
    passed: float = 0.0

    def reserve(self, now: float, limits: Limits) -> Bucket:
        """Take the next place."""
        bucket = self.drained(now, limits)
        return replace(bucket, level=bucket.level + 1, places=bucket.places + 1)

    def delay_for(self, place: int, limits: Limits) -> float:
        """Return for how many seconds a place has to wait, as far as could be known when the bucket was read."""
        over = self.level - (self.places - place) + MARGIN - limits.bucket_capacity
        since = max(self.at, self.held_until)
        sooner, later = since, since + max(0.0, over / self.rate(since, limits))
        while later - sooner > PRECISION:
            middle = (sooner + later) / 2
            enough = self._let_through(since, middle, limits) >= over
            sooner, later = (sooner, middle) if enough else (middle, later)
        return later - self.at

    def rate(self, now: float, limits: Limits) -> float:
        """Return how many requests a second may go at a time."""
        # The drain was measured to a request or so in a period.
        grown = self.drain + 2 / self.period * (max(0.0, now - self.slowed_at) / self.period - 1) ** 3
        return min(limits.bucket_drain, max(grown, self.drain / 2, limits.lowest_drain))

    def filled(self, now: float, limits: Limits) -> Bucket:
        """Treat it as full: what was sent lately is not known."""
        bucket = self.drained(now, limits)
        return replace(bucket, level=max(bucket.level, limits.bucket_capacity))

    def refused(self, now: float, limits: Limits, retry_after: float = 0.0) -> Bucket:
        """Note a refusal: the bucket is full, so others fill it too.

        :param retry_after: seconds for which the portal asked to send nothing.
        """
        bucket = self.drained(now, limits)
        passed = bucket.places - max(0.0, bucket.level - limits.bucket_capacity)
        bucket = replace(bucket, level=max(bucket.level, limits.bucket_capacity))
        if retry_after:
            bucket = replace(bucket, held_until=max(bucket.held_until, now + retry_after))
        elapsed = now - bucket.slowed_at
        if elapsed < SLOWING:
            return bucket
        # To a request or so; rather more, as only a refusal corrects it.
        drain, period = (passed - 0.5 - bucket.passed) / elapsed, min(2 * elapsed, LONGEST_PERIOD)
        if drain < bucket.drain / 2:
            # Perhaps the bucket was not full all the while, so that nothing was measured.
            drain, period = bucket.drain / 2, SLOWING
        drain = max(limits.lowest_drain, min(drain, bucket.rate(now, limits)))
        return replace(bucket, drain=drain, period=period, slowed_at=now, passed=passed)

    def drained(self, now: float, limits: Limits) -> Bucket:
        """Return the bucket as it is now."""
        # A clock that was set back must not leave everybody waiting for the old time.
        held_until = min(self.held_until, now + LONGEST_WAIT)
        slowed_at = self.slowed_at if self.slowed_at <= now else now - SLOWING
        drained = self._let_through(max(self.at, held_until), now, limits)
        level = max(0.0, self.level - drained)
        return replace(self, level=level, at=now, slowed_at=slowed_at, held_until=held_until)

    def _let_through(self, since: float, until: float, limits: Limits) -> float:
        """Return how many requests may go between two times, by Simpson's rule: the rate is a cubic."""
        begin, middle, end = (self.rate(at, limits) for at in (since, (since + until) / 2, until))
        return max(0.0, until - since) * (begin + 4 * middle + end) / 6
