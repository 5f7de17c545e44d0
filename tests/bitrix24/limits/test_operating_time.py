"""Running time of each method on a portal: pure functions of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.limits.operating_time import UNDER_WAY, MethodTime
from airflow_provider_workflows.bitrix24.limits.operating_time import OperatingTime as OperatingTimeNow
from airflow_provider_workflows.rest.replies import LONGEST_WAIT


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


class OperatingTime:
    """Running time as a store keeps it: read anew for each use of it."""

    def __init__(self, limit):
        self._limit = limit
        self._methods: dict[str, MethodTime] = {}

    def _at(self, now):
        return OperatingTimeNow(self._limit, self._methods, now)

    def delay_for(self, methods, now):
        return self._at(now).delay_for(methods)

    def sent(self, methods, now=1000.0):
        return self._at(now).sent(methods)

    def answered(self, methods, until, now=1000.0):
        self._at(now).answered(methods, until)

    def learn(self, method, times, now):
        self._at(now).learn(method, times, now)

    def blocked(self, method, now, told=None):
        return self._at(now).blocked(method, now, told)


class TestOperatingTime:
    @given(st.floats(0.5, 20), st.integers(1, 200))
    def test_the_portal_never_blocks_a_method_that_is_held_back(self, seconds, runs):
        portal, operating, now = PortalWindow(limit=480), OperatingTime(480), 1000.0
        for _ in range(runs):
            while (held := operating.delay_for({"kill": 1}, now)) > 0:
                now += held + 0.001
            until = operating.sent({"kill": 1}, now)
            allowed, time = portal.run(now, seconds)
            operating.answered({"kill": 1}, until, now)
            operating.learn("kill", [time], now)
            assert allowed
            now += seconds

    def test_time_goes_on_once_the_portal_forgets(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 470, "operating_reset_at": 1600, "duration": 20}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 601, "the reset is told in whole seconds, rounded down"
        assert operating.delay_for({"kill": 1}, 1601.0) == 0

    def test_what_ran_in_one_minute_is_forgotten_together(self):
        """The portal counts by minutes, from the first run in each."""
        operating = OperatingTime(480)
        for at, used in ((1000.0, 100), (1030.0, 200), (1059.0, 300), (1070.0, 400)):
            told = {"operating": used, "operating_reset_at": 1600, "finish": at, "duration": 100}
            operating.learn("kill", [told], at)
        assert operating.delay_for({"kill": 1}, 1071.0) == 601 - 71, "three hundred are free then"
        assert operating.delay_for({"kill": 3}, 1601.0) == 0
        assert operating.delay_for({"kill": 4}, 1601.0) == 70, "and the rest with the minute after it"

    def test_requests_under_way_count(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 440, "operating_reset_at": 1600, "duration": 30}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 0
        operating.sent({"kill": 1})
        assert operating.delay_for({"kill": 1}, 1000.0) > 0

    def test_requests_of_a_worker_that_was_killed_count_no_longer_than_they_may_take(self):
        operating = OperatingTime(480)
        operating.sent({"kill": 50})
        operating.learn("kill", [{"operating": 440, "operating_reset_at": 1600, "duration": 30}], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) > 0
        assert operating.delay_for({"kill": 1}, 1000.0 + UNDER_WAY + 10) == 0

    def test_a_clock_that_was_set_back_holds_nobody_back_for_long(self):
        operating = OperatingTime(480)
        operating.learn("kill", [{"operating": 480, "operating_reset_at": 90_600, "duration": 5}], 90_000.0)
        operating.blocked("kill", 90_000.0, told=600.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 0

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
        until = operating.sent({"kill": 2})
        operating.answered({"kill": 1}, until)
        assert operating.blocked("kill", 1000.0) is None, "the other one may tell"
        operating.answered({"kill": 1}, until)
        operating.learn("kill", [{"operating": 0, "operating_reset_at": 1065, "duration": 5}], 1000.1)
        assert operating.delay_for({"kill": 1}, 1000.1) == pytest.approx(65.9)

    def test_a_refusal_while_another_run_tells_nothing_is_waited_out_for_five_minutes(self):
        operating = OperatingTime(480)
        until = operating.sent({"kill": 2})
        operating.answered({"kill": 1}, until)
        operating.blocked("kill", 1000.0)
        operating.answered({"kill": 1}, until)
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

    @pytest.mark.parametrize("ahead", [-7200, 7200])
    def test_the_portals_clock_need_not_be_ours(self, ahead):
        operating = OperatingTime(480)
        told = {"operating": 470, "operating_reset_at": 1120 + ahead, "finish": 1000.0 + ahead, "duration": 20}
        operating.learn("kill", [told], 1000.0)
        assert operating.delay_for({"kill": 1}, 1000.0) == 121
        assert operating.blocked("kill", 1000.0) == 121

    def test_the_portal_may_say_how_long_it_blocks(self):
        operating = OperatingTime(480)
        assert operating.blocked("kill", 1000.0, told=77.0) == 77
        assert operating.delay_for({"kill": 1}, 1001.0) == 76

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(["operating", "operating_reset_at", "finish", "duration"]), st.floats(0, 1e11)
            )
        ),
        st.integers(1, 50),
    )
    def test_whatever_it_is_told_nobody_waits_for_long(self, told, runs):
        operating = OperatingTime(480)
        for now, time in enumerate(told, 1000):
            operating.answered({"kill": runs}, operating.sent({"kill": runs}, now), now)
            operating.learn("kill", [time], now)
            operating.blocked("kill", now)
            assert 0 <= operating.delay_for({"kill": runs}, now) <= LONGEST_WAIT + 1
