"""How many requests are under way: a function of what comes back, tried on servers of several kinds in virtual time."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.rest.concurrency import FIRST, Concurrency
from airflow_provider_workflows.rest.errors import (
    NotConnectedError,
    RateLimitError,
    RejectedError,
    ReplyLostError,
    ServerError,
)

DONE = object()
OUTCOMES = [DONE, RejectedError("x"), RateLimitError("x"), NotConnectedError("x"), ReplyLostError("x")]


def answer(
    concurrency: Concurrency, *, seconds: float | None = 2.0, outcome: Any = DONE, what: str = "end", size: int = 10
) -> None:
    """Have as many requests under way as allowed, and one outcome for all of them."""
    for request in [concurrency.submit(what, size) for _ in range(concurrency.limit)]:
        request.seconds = seconds
        concurrency.collect(request, outcome)


class Server:
    """Works on some requests at a time, each in the same time for each call; the others wait in a queue."""

    def __init__(self, workers: int, each: float) -> None:
        self.workers, self.each = workers, each
        self.free = [0.0] * workers

    def work(self, at: float, size: int) -> float:
        """Take a request; return when it is answered."""
        begun = max(at, heapq.heappop(self.free))
        heapq.heappush(self.free, begun + size * self.each)
        return begun + size * self.each


def use(server: Server, concurrency: Concurrency, requests: int) -> tuple[float, list[int], list[float]]:
    """Send requests, as many at once as allowed; return when all are done, the limits, and how long each took."""
    size = 20
    now, under_way, limits, took = 0.0, [], [], []  # type: ignore[var-annotated]
    while requests or under_way:
        while requests and len(under_way) < concurrency.limit:
            requests -= 1
            request, answered = concurrency.submit("end", size), server.work(now, size)
            request.seconds = answered - now
            heapq.heappush(under_way, (answered, -requests, request))
        now, _, request = heapq.heappop(under_way)
        concurrency.collect(request, DONE)
        limits.append(concurrency.limit)
        took.append(request.seconds)
    return now, limits, took


class TestOnAServer:
    @pytest.mark.parametrize("each", [0.001, 0.1, 1.0])
    def test_that_works_on_all_at_once_it_is_soon_the_most(self, each: float) -> None:
        _, limits, _ = use(Server(100, each), Concurrency(16), 200)
        assert limits[FIRST] == limits[-1] == 16

    @pytest.mark.parametrize("workers", [1, 2, 5, 8])
    def test_that_works_on_a_few_at_once_few_more_wait_there(self, workers: int) -> None:
        done, limits, took = use(Server(workers, 0.25), Concurrency(32), 400)
        assert max(limits[50:]) <= 2 * workers + 1
        assert max(took[50:]) <= 2.5 * 20 * 0.25
        assert done <= 1.1 * 400 * 20 * 0.25 / workers, "and it is never idle for long"

    def test_that_gets_slower_for_good_there_are_as_many_again_after_a_while(self) -> None:
        concurrency = Concurrency(16)
        for _ in range(3):
            answer(concurrency)
        seen = []
        for _ in range(40):
            answer(concurrency, seconds=8)
            seen.append(concurrency.limit)
        assert min(seen) == 1, "until it is known that this is not for our requests"
        assert seen[-1] == 16

    def test_that_answers_at_once_nothing_is_ever_slow(self) -> None:
        concurrency = Concurrency(16)
        answer(concurrency, seconds=0.01)
        answer(concurrency, seconds=0.9)
        assert concurrency.limit == 16

    def test_that_is_never_asked_for_so_many_it_stays_as_it_is(self) -> None:
        concurrency = Concurrency(16)
        for _ in range(20):
            request = concurrency.submit("end", 10)
            request.seconds = 0.5
            concurrency.collect(request, DONE)
        assert concurrency.limit == FIRST


class TestASetback:
    @pytest.mark.parametrize("refusal", [RateLimitError("x"), NotConnectedError("x")])
    def test_after_a_refusal_one_at_a_time_and_half_as_many_once_it_answers(self, refusal: Any) -> None:
        concurrency, seen = Concurrency(32), []
        for outcome in (DONE, DONE, refusal, refusal, DONE, DONE):
            answer(concurrency, outcome=outcome)
            seen.append(concurrency.limit)
        # What is refused one at a time does not make half of it less.
        assert seen == [20, 32, 1, 1, 16, 17]

    @pytest.mark.parametrize("lost", [ReplyLostError("x"), ServerError("x")])
    def test_after_a_lost_answer_half_as_many(self, lost: Any) -> None:
        concurrency = Concurrency(16)
        answer(concurrency, outcome=lost)
        assert concurrency.limit == 5
        answer(concurrency)
        assert concurrency.limit == 6

    def test_what_goes_wrong_together_is_one(self) -> None:
        concurrency = Concurrency(32)
        answer(concurrency)
        assert concurrency.limit == 20
        answer(concurrency, outcome=ReplyLostError("x"))
        assert concurrency.limit == 10

    def test_after_a_slow_answer_a_third_fewer(self) -> None:
        concurrency = Concurrency(16)
        answer(concurrency)
        answer(concurrency)
        answer(concurrency, seconds=5)
        assert concurrency.limit == 11
        answer(concurrency)
        assert concurrency.limit == 12

    def test_other_work_is_not_compared_with(self) -> None:
        concurrency = Concurrency(16)
        answer(concurrency)
        answer(concurrency, what="list", size=1, seconds=5)
        assert concurrency.limit == 16

    def test_what_was_not_sent_tells_nothing(self) -> None:
        concurrency = Concurrency(16)
        answer(concurrency, seconds=None, outcome=RateLimitError("held back"))
        assert concurrency.limit == FIRST

    def test_a_rejection_tells_nothing_of_how_busy_the_server_is(self) -> None:
        concurrency = Concurrency(16)
        answer(concurrency, outcome=RejectedError("x"))
        assert concurrency.limit == FIRST


@given(st.integers(1, 32), st.lists(st.tuples(st.sampled_from(OUTCOMES), st.floats(0, 100), st.integers(1, 50))))
def test_whatever_comes_back_it_lies_between_one_and_the_most(most: int, came: list[tuple[Any, float, int]]) -> None:
    concurrency = Concurrency(most)
    for outcome, seconds, size in came:
        answer(concurrency, seconds=seconds, outcome=outcome, size=size)
        assert 1 <= concurrency.limit <= most
