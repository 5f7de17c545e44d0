"""What is known of the portal's leaky bucket: pure functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket, Limits
from airflow_provider_workflows.rest.replies import LONGEST_WAIT

LIMITS = Limits(bucket_capacity=50, bucket_drain=2)
START = 1000.0
EMPTY = Bucket(level=0, drain=2, at=START)

moments = st.lists(st.floats(0, 3600), max_size=40).map(lambda after: sorted(START + seconds for seconds in after))


@dataclass
class PortalBucket:
    """The portal's own leaky bucket, written from the API page."""

    capacity: float = 50
    drain: float = 2
    others: float = 0
    level: float = 0.0
    at: float = 0.0

    def admits(self, now: float) -> bool:
        self.level = max(0.0, self.level - (now - self.at) * (self.drain - self.others))
        self.at = now
        if self.level + 1 > self.capacity:
            return False
        self.level += 1
        return True


def next_place(bucket: Bucket, now: float) -> tuple[float, Bucket]:
    """Take the next place; return how long it waits, and the bucket after it."""
    bucket = bucket.reserve(now, LIMITS)
    return bucket.delay_for(bucket.places, LIMITS), bucket


def refused_at(times: Sequence[float], bucket: Bucket = EMPTY) -> Bucket:
    """Return the bucket after refusals."""
    for now in times:
        bucket = bucket.refused(now, LIMITS)
    return bucket


def pace(bucket: Bucket, now: float) -> float:
    """Return how many requests a second may go at a time."""
    waits = []
    for _ in range(100):
        wait, bucket = next_place(bucket, now)
        waits.append(wait)
    return 1 / (waits[-1] - waits[-2])


class TestAlone:
    def test_a_burst_goes_at_once_and_the_rest_at_the_drain(self) -> None:
        bucket, waits = EMPTY, []
        for _ in range(60):
            wait, bucket = next_place(bucket, START)
            waits.append(wait)
        assert waits[:49] == [0.0] * 49
        assert [later - sooner for sooner, later in pairwise(waits[49:])] == [0.5] * 10

    @given(st.lists(st.floats(0, 30), min_size=1, max_size=300))
    def test_the_portal_never_refuses_whenever_requests_come(self, gaps: list[float]) -> None:
        portal, bucket, now = PortalBucket(), EMPTY, START
        sent_at = 0.0
        for gap in gaps:
            now = max(now + gap / 10, sent_at)
            wait, bucket = next_place(bucket, now)
            sent_at = now + wait
            assert portal.admits(sent_at)

    @given(st.integers(51, 400))
    def test_it_costs_less_than_a_request_more_than_the_portal_allows(self, count: int) -> None:
        bucket = EMPTY
        for _ in range(count):
            wait, bucket = next_place(bucket, START)
        assert (count - 50) / 2 <= wait <= (count - 50) / 2 + 0.5


class TestBesideOthers:
    @pytest.mark.parametrize(
        ("others", "most"), [(0.1, 0.01), (0.3, 0.01), (0.5, 0.01), (1.0, 0.02), (1.2, 0.02), (1.5, 0.03), (1.7, 0.04)]
    )
    def test_what_another_application_leaves_is_measured_with_few_refusals(self, others: float, most: float) -> None:
        portal, bucket, now, refused, sent = PortalBucket(others=others), EMPTY, START, 0, 0
        while sent < 400:
            wait, bucket = next_place(bucket, now)
            now += wait
            if portal.admits(now):
                sent += 1
            else:
                refused += 1
                bucket = bucket.refused(now, LIMITS)
        left = 2 - others
        assert 0 < refused <= most * sent
        assert now - START <= 1.02 * (sent - 50) / left
        assert 0.85 * left <= bucket.drain <= 1.15 * left

    def test_once_it_takes_more_the_rate_follows(self) -> None:
        portal, bucket, now, refused = PortalBucket(others=0.3), EMPTY, START, 0
        for nth in range(800):
            portal.others = 0.3 if nth < 400 else 1.5
            wait, bucket = next_place(bucket, now)
            now += wait
            if not portal.admits(now):
                refused += 1
                bucket = bucket.refused(now, LIMITS)
        assert refused <= 0.03 * 800
        assert 0.4 <= bucket.drain <= 0.6

    def test_refusals_at_the_same_time_count_once(self) -> None:
        assert refused_at((START, START + 0.1, START + 0.2)).drain == 1

    def test_a_refusal_after_a_quiet_time_tells_nothing_of_the_rate(self) -> None:
        _, bucket = next_place(refused_at([START]), START + 1000)
        assert bucket.refused(START + 1000, LIMITS).drain == bucket.drain / 2

    @given(moments)
    def test_however_often_it_refuses_some_are_sent(self, times: list[float]) -> None:
        bucket = refused_at([START, *times])
        assert LIMITS.lowest_drain <= bucket.drain <= LIMITS.bucket_drain
        wait, _ = next_place(bucket, bucket.at)
        assert 0 < wait <= 1.25 / LIMITS.lowest_drain + 0.01

    def test_nothing_is_sent_while_the_portal_told_to_wait(self) -> None:
        bucket = EMPTY.refused(START, LIMITS, retry_after=60.0)
        for later in (0.0, 30.0, 59.0):
            wait, _ = next_place(bucket, START + later)
            assert 60 <= later + wait <= 61, "and then one after the other"
        assert next_place(refused_at([START + 1], bucket), START + 1)[0] >= 59, "the longest counts"


class TestTheTimeHeals:
    """A rate that refusals have slowed is as it was after a while, also when nothing was asked meanwhile."""

    @given(moments)
    def test_after_five_minutes_without_a_refusal_the_rate_is_the_portals(self, times: list[float]) -> None:
        bucket = refused_at([START, *times])
        assert pace(bucket, bucket.at + 300) == pytest.approx(2)

    @given(moments, st.floats(0, 60))
    def test_what_was_refused_is_not_gone_beyond_at_once(self, times: list[float], later: float) -> None:
        bucket = refused_at([START, *times])
        later = min(later, bucket.period)
        assert bucket.drain / 2 <= bucket.rate(bucket.slowed_at + later, LIMITS) <= bucket.drain + 0.001

    @given(moments, st.lists(st.floats(0, 300), max_size=20))
    def test_it_makes_no_difference_how_often_it_is_asked(self, times: list[float], pauses: list[float]) -> None:
        often = once = refused_at([START, *times])
        for pause in pauses:
            _, often = next_place(often, often.at + pause)
        _, once = next_place(once, once.at + sum(pauses))
        assert often.rate(often.at, LIMITS) == pytest.approx(once.rate(once.at, LIMITS))

    def test_a_refusal_long_ago_costs_nothing(self) -> None:
        wait, _ = next_place(refused_at([START]), START + 86_400)
        assert wait == 0


class TestAClockThatIsSet:
    @given(moments, st.floats(0, 1e9))
    def test_one_that_was_set_back_stops_nobody_for_long(self, times: list[float], back: float) -> None:
        bucket = refused_at([START + back, *(time + back for time in times)])
        wait, _ = next_place(bucket, START)
        assert wait <= 1.25 / LIMITS.lowest_drain + 0.01

    def test_nor_does_one_that_was_set_back_while_the_portal_told_to_wait(self) -> None:
        bucket = EMPTY.refused(9_999_999.0, LIMITS, retry_after=60.0)
        assert next_place(bucket, START)[0] <= LONGEST_WAIT + 1

    def test_one_that_was_set_back_does_not_keep_the_rate_up(self) -> None:
        bucket = Bucket(level=0, drain=2, at=START, slowed_at=9_999_999.0)
        assert refused_at([START], bucket).drain == 1
