"""How requests are kept within the portal's limits: pure functions of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.limits.batch_size import BatchSize
from airflow_provider_workflows.bitrix24.limits.bucket import Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.operating_time import OperatingTime

LIMITS = Limits(bucket_capacity=50, bucket_drain=2)


@dataclass
class PortalBucket:
    """The portal's own leaky bucket, written from the API page."""

    capacity: float = 50
    drain: float = 2
    others: float = 0
    level: float = 0.0
    at: float = 0.0

    def admits(self, now):
        self.level = max(0.0, self.level - (now - self.at) * (self.drain - self.others))
        self.at = now
        if self.level + 1 > self.capacity:
            return False
        self.level += 1
        return True


class TestTheLeakyBucket:
    def test_a_burst_goes_at_once_and_the_rest_at_the_drain(self):
        bucket, waits = Bucket(empty_at=0, drain=2), []
        for _ in range(60):
            wait, bucket = bucket.reserve(1000.0, LIMITS)
            waits.append(wait)
        assert waits[:49] == [0.0] * 49
        assert waits[-1] - waits[-2] == 0.5

    @given(st.lists(st.floats(0, 30), min_size=1, max_size=300))
    def test_the_portal_never_refuses_whenever_requests_come(self, gaps):
        portal, bucket, now = PortalBucket(), Bucket(empty_at=0, drain=2), 1000.0
        sent_at = 0.0
        for gap in gaps:
            now = max(now + gap / 10, sent_at)
            wait, bucket = bucket.reserve(now, LIMITS)
            sent_at = now + wait
            assert portal.admits(sent_at)

    @given(st.integers(51, 400))
    def test_it_costs_less_than_a_request_more_than_the_portal_allows(self, count):
        bucket = Bucket(empty_at=0, drain=2)
        for _ in range(count):
            wait, bucket = bucket.reserve(1000.0, LIMITS)
        assert (count - 50) / 2 <= wait <= (count - 50) / 2 + 0.5

    @pytest.mark.parametrize("others", [0.3, 1.0, 1.5, 1.7])
    def test_another_application_that_takes_a_part_is_noticed(self, others):
        portal, bucket, now, refused = PortalBucket(others=others), Bucket(empty_at=0, drain=2), 1000.0, 0
        for _ in range(400):
            wait, bucket = bucket.reserve(now, LIMITS)
            now += wait
            if portal.admits(now):
                bucket = bucket.answered(LIMITS)
            else:
                refused += 1
                bucket = bucket.refused(now, LIMITS)
        left = 2 - others
        assert 0 < refused < 400 * 0.12
        assert 0.6 * left <= bucket.drain <= left + 0.6

    def test_the_drain_comes_back_when_the_other_application_stops(self):
        bucket = Bucket(empty_at=0, drain=2).refused(1000.0, LIMITS)
        assert bucket.drain == 1.6
        for _ in range(60):
            bucket = bucket.answered(LIMITS)
        assert bucket.drain == 2

    def test_refusals_at_the_same_time_count_once(self):
        bucket = Bucket(empty_at=0, drain=2)
        for moment in (1000.0, 1000.1, 1000.2):
            bucket = bucket.refused(moment, LIMITS)
        assert bucket.drain == 1.6

    def test_a_clock_that_was_set_back_does_not_stop_everybody(self):
        wait, _ = Bucket(empty_at=9_999_999.0, drain=2).reserve(1000.0, LIMITS)
        assert wait <= 250

    def test_a_clock_that_was_set_back_does_not_keep_the_pace_up(self):
        bucket = Bucket(empty_at=1000.0, drain=2, slowed_at=9_999_999.0).refused(1000.0, LIMITS)
        assert bucket.drain == 1.6


@dataclass
class PortalWindow:
    """A method's running time on the portal, in the documented model."""

    limit: float
    window: float = 600.0
    runs: list = field(default_factory=list)

    def used(self, now):
        return sum(seconds for at, seconds in self.runs if at + self.window > now)

    def run(self, now, seconds):
        allowed = self.used(now) <= self.limit
        if allowed:
            self.runs.append((now, seconds))
        oldest = min((at for at, _ in self.runs if at + self.window > now), default=now)
        return allowed, {
            "operating": self.used(now),
            "operating_reset_at": oldest + self.window,
            "duration": seconds,
        }


class TestOperatingTime:
    @given(st.floats(0.5, 20), st.integers(1, 200))
    def test_the_portal_never_blocks_a_method_that_is_held_back(self, seconds, runs):
        portal, operating, now = PortalWindow(limit=480), OperatingTime(480), 1000.0
        for _ in range(runs):
            while (held := operating.delay_for({"kill": 1}, now)) > 0:
                now += held + 0.001
            operating.sent({"kill": 1})
            allowed, time = portal.run(now, seconds)
            operating.answered({"kill": 1})
            operating.learn("kill", [time], now)
            assert allowed
            now += seconds

    def test_time_goes_on_once_the_portal_forgets(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 470, "operating_reset_at": 1600, "duration": 20}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 601, "the reset is told in whole seconds, rounded down"
        assert operating.delay_for({"kill": 1}, 1601.0) == 0

    def test_requests_under_way_count(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 440, "operating_reset_at": 1600, "duration": 30}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 0
        operating.sent({"kill": 1})
        assert operating.delay_for({"kill": 1}, 1000.0) > 0

    def test_only_the_used_up_method_is_held_back(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 479, "operating_reset_at": 1600, "duration": 5}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) > 0
        assert operating.delay_for({"instances": 50}, 1000.0) == 0

    def test_a_blocked_method_waits_until_the_reset_that_the_portal_named(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 400, "operating_reset_at": 1120, "duration": 5}], 1000.0)
        assert operating.blocked("kill", 1000.0) == 121
        assert operating.delay_for({"kill": 1}, 1060.0) == 61
        assert operating.blocked("kill", 1100.0) == 21, "who meets the same block later waits no longer"

    def test_without_a_named_reset_it_waits_for_five_minutes(self):
        operating = OperatingTime(480)
        assert operating.blocked("kill", 1000.0) == 300

    def test_a_reply_that_comes_after_the_refusal_still_names_the_reset(self):
        operating = OperatingTime(480)
        operating.sent({"kill": 2})
        operating.answered({"kill": 1})
        assert operating.blocked("kill", 1000.0) is None, "the other one may tell"
        operating.answered({"kill": 1})
        operating.learn("kill", [{"operating": 0, "operating_reset_at": 1065, "duration": 5}], 1000.1)
        assert operating.delay_for({"kill": 1}, 1000.1) == pytest.approx(65.9)

    def test_a_refusal_while_another_run_tells_nothing_is_waited_out_for_five_minutes(self):
        operating = OperatingTime(480)
        operating.sent({"kill": 2})
        operating.answered({"kill": 1})
        operating.blocked("kill", 1000.0)
        operating.answered({"kill": 1})
        assert operating.delay_for({"kill": 1}, 1001.0) == 299

    def test_a_block_that_starts_from_nothing_again_leaves_all_the_time_free(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 470, "operating_reset_at": 1600, "duration": 20}], 1000.0)
        operating.learn("kill", [{"operating": 0, "operating_reset_at": 1300, "duration": 20}], 1000.0)
        assert operating.blocked("kill", 1010.0) == 291
        assert operating.delay_for({"kill": 1}, 1301.0) == 0

    def test_a_portal_without_this_limit_says_nothing_and_is_not_held_back(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"duration": 500.0}], 1000.0)
        assert operating.delay_for({"kill": 50}, 1000.0) == 0


class TestTheSizeOfABatch:
    def test_starts_full(self):
        assert BatchSize(50).now == 50

    @given(st.floats(0.001, 59))
    def test_is_expected_to_stay_under_thirty_seconds(self, each):
        size = BatchSize(50)
        for _ in range(10):
            size.answered(size.now, size.now * each)
        assert size.now * each <= 30 or size.now == 1

    @given(st.integers(0, 1000), st.integers(1, 50))
    def test_batches_are_as_few_as_can_be_and_even(self, commands, most):
        size, left, shares = BatchSize(50, now=most), commands, []
        while left:
            shares.append(size.next_size(left))
            left -= shares[-1]
        assert len(shares) == -(-commands // most)
        assert max(shares, default=0) - min(shares, default=0) <= 1

    def test_halves_at_once_after_a_cut_and_grows_back(self):
        size = BatchSize(50)
        size.halve(50)
        assert size.now == 25
        size.answered(25, 1.0)
        assert size.now == 50

    def test_never_falls_below_one(self):
        size = BatchSize(50)
        for _ in range(10):
            size.halve(size.now)
        assert size.now == 1

    def test_a_portal_that_does_not_tell_times_gets_full_batches(self):
        size = BatchSize(50)
        size.answered(50, None)
        assert size.now == 50
