"""How many commands the next batch carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.limits.batch_size import BatchSize


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
            shares.append(size.next_size(left, trial=False))
            left -= shares[-1]
        assert len(shares) == -(-commands // most)
        assert max(shares, default=0) - min(shares, default=0) <= 1

    @pytest.mark.parametrize(
        ("each", "commands", "places", "shares"),
        [
            # Ten seconds' worth in each of four places, and not thirty in each of two.
            (0.5, 80, 4, [20, 20, 20, 20]),
            # None takes less than eight seconds.
            (0.25, 100, 16, [34, 33, 33]),
            (0.25, 60, 16, [30, 30]),
            (0.01, 60, 16, [30, 30]),
            # What does not fit into the places is not made more for that.
            (0.5, 200, 3, [50, 50, 50, 50]),
        ],
    )
    def test_slow_commands_are_spread_over_all_places(self, each, commands, places, shares):
        size, left, seen = BatchSize(50, each=each), commands, list[int]()
        while left:
            seen.append(size.next_size(left, trial=False, places=max(1, places - len(seen))))
            left -= seen[-1]
        assert seen == shares

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

    @given(st.integers(1, 50), st.floats(0, allow_nan=False, allow_infinity=False))
    def test_whatever_a_portal_tells_it_is_between_one_and_full(self, commands, seconds):
        size = BatchSize(50)
        size.answered(commands, seconds)
        assert 1 <= size.now <= 50

    @pytest.mark.parametrize(("each", "trial"), [(None, 5), (0.001, 50), (0.1, 10), (0.25, 4), (3.0, 1)])
    def test_one_on_trial_is_answered_soon(self, each, trial):
        size = BatchSize(50)
        if each:
            size.answered(5, 5 * each)
        size.now = 50
        assert size.next_size(250, trial=True) == trial

    @given(st.integers(1, 1000), st.floats(0.001, 59))
    def test_the_last_one_is_on_no_trial(self, commands, each):
        size = BatchSize(50)
        size.answered(50, 50 * each)
        few = min(commands, size.now)
        assert size.next_size(few, trial=True) == few

    def test_a_job_of_many_batches_is_not_made_longer_by_one(self):
        assert BatchSize(50).next_size(300, trial=True) == 50
