"""When the next request may go (API page "Limits"). Functions of time only."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: A request that was slow to arrive makes those after it come closer together, as the portal sees it.
MARGIN = 0.25
#: Seconds from one slowing down to the next: requests that were on their way are refused all the same.
SLOWING = 5.0


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
