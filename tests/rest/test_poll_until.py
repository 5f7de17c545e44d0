"""Waiting in a plan: by the clock, and through failures that pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import RenewedTokenRefusedError
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    RateLimitError,
    ReplyLostError,
    StoppedError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan, poll_until, send
from tests.plan_runner import run


@dataclass(frozen=True)
class Read:
    """A call that may be repeated."""

    repeatable = True


def poll_once() -> Plan[Any]:
    """Poll, and fail as the call does."""
    return (yield Read())


@dataclass
class Server:
    """Answers one poll after the other, the last answer for ever, and takes its time."""

    answers: Sequence[Any]
    takes: float = 0.0
    now: float = 0.0
    polls: int = 0
    pauses: list[Pause] = field(default_factory=list)

    def answer(self, call: Read) -> Any:
        self.polls += 1
        self.now += self.takes
        answer, *later = self.answers
        self.answers = later or [answer]
        return answer

    def wait(self, poll: Callable[[], Plan[Any]] = poll_once, **how: Any) -> Any:
        plan = poll_until(poll, repeat(5.0), "it is running", **how)
        return run(plan, self.answer, self.pauses, now=lambda: self.now)

    @property
    def waited(self) -> float:
        return self.now + sum(pause.seconds for pause in self.pauses)


def test_what_is_there_at_once_is_found_without_a_pause() -> None:
    server = Server(["there"])
    assert (server.wait(wait_for=60), server.pauses) == ("there", [])


@pytest.mark.parametrize("takes", [0.0, 1.0, 30.0])
def test_the_time_that_polls_take_counts(takes: float) -> None:
    server = Server([None], takes)
    assert server.wait(wait_for=60) is None
    assert 60 <= server.waited <= 60 + takes


def test_a_poll_that_is_refused_for_longer_is_given_up_then() -> None:
    server = Server([RateLimitError("x")])
    assert server.wait(lambda: send(Read()), wait_for=60) is None
    assert server.waited == pytest.approx(60)


def test_without_any_time_one_poll_is_waited_for() -> None:
    server = Server([*[RateLimitError("x")] * 30, "there"])
    assert server.wait(lambda: send(Read()), wait_for=0) == "there"


def test_it_polls_once_more_at_the_very_end() -> None:
    server = Server([None, None, "there"])
    assert server.wait(wait_for=7) == "there"
    assert [pause.seconds for pause in server.pauses] == [5, 2]


def test_without_any_time_it_polls_once() -> None:
    server = Server([None])
    assert (server.wait(wait_for=0), server.polls) == (None, 1)


def test_it_ends_with_its_delays_too() -> None:
    polls: list[Any] = []
    plan = poll_until(lambda: (yield "poll"), [1.0, 2.0], "looking for it")  # type: ignore[misc]
    assert run(plan, polls.append) is None
    assert len(polls) == 3


@pytest.mark.parametrize("failure", [RateLimitError("poll"), ReplyLostError("poll")])
def test_failures_that_pass_are_borne_for_as_long_as_is_set(failure: ApiError) -> None:
    server = Server([failure] * 100 + ["there"])
    assert server.wait(wait_for=3000, tolerance=600) == "there"
    server = Server([failure])
    with pytest.raises(type(failure)):
        server.wait(wait_for=3000, tolerance=600)
    assert server.waited == 600


def test_an_answer_starts_the_time_anew() -> None:
    server = Server(([RateLimitError("poll")] * 100 + [None]) * 3 + ["there"])
    assert server.wait(tolerance=600) == "there"


@pytest.mark.parametrize(
    "error",
    [AccessDeniedError("poll"), RenewedTokenRefusedError("poll"), StoppedError("poll")],
    ids=["a right that is missing", "a token that was renewed, and would be at every poll", "a kill"],
)
def test_an_error_that_waiting_cannot_mend_is_raised_at_once(error: ApiError) -> None:
    server = Server([error])
    with pytest.raises(type(error)):
        server.wait(tolerance=600)
    assert server.polls == 1
