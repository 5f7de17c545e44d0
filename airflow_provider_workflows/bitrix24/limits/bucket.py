"""When the next request may go (API page "Limits"). Functions of time only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from airflow_provider_workflows.rest.replies import LONGEST_WAIT

#: A request that was slow to arrive makes those after it come closer together, as the portal sees it.
MARGIN = 0.25
#: Seconds from one slowing down to the next: requests that were on their way are refused all the same.
SLOWING = 5.0
#: Seconds in which a drain that was lowered to nothing comes back in full: slowly, as what is left by another
#: application is overstepped at the end of each such way back.
RECOVERY = 900.0

_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of a portal's leaky bucket.

    :param level: requests in it; those above its capacity wait for their turn, the first to come first.
    :param drain: requests a second that are ours; lower than the portal's when other applications use it too.
    :param at: when that was so, as a Unix time.
    :param slowed_at: when the drain was last lowered, as a Unix time.
    :param held_until: when the portal takes requests again, as a Unix time, if it told.
    :param places: how many places were taken so far; the last one's number.
    """

    level: _Number
    drain: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    at: _Number
    slowed_at: _Number = 0.0
    held_until: _Number = 0.0
    places: int = 0

    def reserve(self, now: float, limits: Limits) -> Bucket:
        """Take the next place."""
        bucket = self.drained(now, limits)
        return replace(bucket, level=bucket.level + 1, places=bucket.places + 1)

    def delay_for(self, place: int, limits: Limits) -> float:
        """Return for how many seconds a place has to wait, as far as could be known when the bucket was read.

        :param place: its number.
        :param limits: the portal's limits.
        """
        over = self.level - (self.places - place) + MARGIN - limits.bucket_capacity
        return max(0.0, self.held_until - self.at) + max(0.0, over / self.drain)

    def refused(self, now: float, limits: Limits, retry_after: float = 0.0) -> Bucket:
        """Note a refusal: the bucket is full, so others fill it too.

        :param retry_after: seconds for which the portal told to send nothing.
        """
        bucket = self.drained(now, limits)
        drain, slowed_at = bucket.drain, bucket.slowed_at
        if abs(now - slowed_at) > SLOWING:  # The clock may have been set back.
            drain, slowed_at = max(limits.lowest_drain, drain * 0.8), now
        return replace(
            bucket,
            level=max(bucket.level, limits.bucket_capacity),
            drain=drain,
            slowed_at=slowed_at,
            held_until=max(bucket.held_until, now + retry_after) if retry_after else bucket.held_until,
        )

    def drained(self, now: float, limits: Limits) -> Bucket:
        """Return the bucket as it is by now; its drain comes back with the time."""
        # A clock that was set back must not leave everybody waiting for the old time.
        held_until = min(self.held_until, now + LONGEST_WAIT)
        elapsed = max(0.0, now - max(self.at, held_until))
        recovered = self.drain + max(0.0, now - self.at) * limits.bucket_drain / RECOVERY
        drain = min(limits.bucket_drain, recovered)
        level = max(0.0, self.level - elapsed * (self.drain + drain) / 2)
        return replace(self, level=level, drain=drain, at=now, held_until=held_until)
