from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    InvalidCallError,
    NotConnectedError,
    NotProcessedError,
    RateLimitError,
    RedirectedError,
    RejectedError,
    ReplyLostError,
    ServerError,
    UnknownOutcomeError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import (
    ATTEMPTS,
    LONGEST_DELAY,
    Now,
    Pause,
    Plan,
    RetryTimeout,
    backoff_delay,
    read_as,
    read_list,
    send,
)
from airflow_provider_workflows.rest.redaction import register_secret


@dataclass(frozen=True)
class Call:
    repeatable: bool


READ, START = Call(repeatable=True), Call(repeatable=False)
REFUSALS = [NotProcessedError, NotConnectedError, RateLimitError]
UNKNOWNS = [UnknownOutcomeError, ReplyLostError, ServerError, UnreadableReplyError]
REJECTIONS = [
    RejectedError,
    AuthenticationError,
    AccessDeniedError,
    InvalidCallError,
    RedirectedError,
]


@dataclass
class Run:
    """How a plan went: how often it sent its call, what it paused for, what came out."""

    sent: int
    pauses: list[Pause]
    result: Any = None
    error: ApiError | None = None


def run(plan: Plan[Any], *outcomes: Any) -> Run:
    """Answer a plan's calls with these outcomes, the last one again and again; errors are raised."""
    seen, now = Run(0, []), 0.0
    left = list(outcomes)
    try:
        step = next(plan)
        while seen.sent < 100:
            if isinstance(step, Pause):
                seen.pauses.append(step)
                now += step.seconds
                step = plan.send(None)
                continue
            if isinstance(step, (Now, RetryTimeout)):
                step = plan.send(now if isinstance(step, Now) else 600.0)
                continue
            seen.sent += 1
            outcome = left.pop(0) if len(left) > 1 else left[0]
            step = plan.throw(outcome) if isinstance(outcome, ApiError) else plan.send(outcome)
    except StopIteration as end:
        seen.result = end.value
    except ApiError as error:
        seen.error = error
    return seen


class TestAnswered:
    def test_a_call_that_is_answered_is_sent_once(self) -> None:
        assert run(send(START), "done") == Run(1, [], "done")

    @pytest.mark.parametrize("nothing", [None, False, 0, "", []])
    def test_an_answer_may_look_like_nothing(self, nothing: Any) -> None:
        assert run(send(START), nothing) == Run(1, [], nothing)


class TestRefused:
    @pytest.mark.parametrize("kind", REFUSALS)
    @pytest.mark.parametrize("call", [READ, START])
    def test_it_is_sent_again_whatever_it_does(self, kind: type[ApiError], call: Call) -> None:
        went = run(send(call), kind("x"), kind("x"), "done")
        assert (went.sent, len(went.pauses), went.result) == (3, 2, "done")

    @pytest.mark.parametrize("call", [READ, START])
    def test_a_refusal_until_the_retry_timeout(self, call: Call) -> None:
        last = RateLimitError("x", text="still too many")
        went = run(send(call), RateLimitError("x"), last)
        assert 600 <= sum(pause.seconds for pause in went.pauses) < 600 + LONGEST_DELAY
        assert went.error is last

    @pytest.mark.parametrize("call", [READ, START])
    def test_an_address_at_which_nobody_is_not_for_long(self, call: Call) -> None:
        went = run(send(call), NotConnectedError("x"))
        assert went.sent == ATTEMPTS


class TestUnknownOutcome:
    @pytest.mark.parametrize("kind", UNKNOWNS)
    def test_what_harms_nobody_twice_is_sent_again(self, kind: type[ApiError]) -> None:
        went = run(send(READ), kind("x"), "done")
        assert (went.sent, went.result) == (2, "done")

    @pytest.mark.parametrize("kind", UNKNOWNS)
    def test_anything_else_is_not(self, kind: type[ApiError]) -> None:
        lost = kind("x")
        went = run(send(START), lost)
        assert went == Run(1, [], error=lost)

    def test_nor_after_it_was_refused_before(self) -> None:
        lost = ReplyLostError("x")
        went = run(send(START), RateLimitError("x"), lost)
        assert (went.sent, went.error) == (2, lost)

    def test_reading_ends_too_with_no_wait_after_the_last_attempt(self) -> None:
        went = run(send(READ), ServerError("x"))
        assert (went.sent, len(went.pauses), type(went.error)) == (ATTEMPTS, ATTEMPTS - 1, ServerError)


class TestRejected:
    @pytest.mark.parametrize("kind", REJECTIONS)
    @pytest.mark.parametrize("call", [READ, START])
    def test_it_is_never_sent_again(self, kind: type[ApiError], call: Call) -> None:
        no = kind("x")
        assert run(send(call), no) == Run(1, [], error=no)

    def test_even_when_it_was_refused_before(self) -> None:
        went = run(send(READ), RateLimitError("x"), AuthenticationError("x"))
        assert (went.sent, type(went.error)) == (2, AuthenticationError)


class TestDelays:
    def test_they_double_up_to_half_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        assert [backoff_delay(nth) for nth in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]

    def test_each_is_cut_by_up_to_half_so_that_tasks_do_not_come_back_together(self) -> None:
        firsts = {backoff_delay(1) for _ in range(50)}
        assert len(firsts) > 40
        assert 0.5 <= min(firsts) < max(firsts) <= 1.0

    def test_no_delay_is_longer_than_the_longest(self) -> None:
        assert max(backoff_delay(nth) for nth in range(50)) <= LONGEST_DELAY

    def test_the_plan_pauses_that_long_and_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        busy = RateLimitError("batch", http_status=503, text="Too many requests")
        went = run(send(READ), busy, busy, busy, "done")
        assert [pause.seconds for pause in went.pauses] == [1, 2, 4]
        assert {pause.reason for pause in went.pauses} == {busy.message}

    def test_retry_after_is_waited_out(self) -> None:
        went = run(send(READ), RateLimitError("x", retry_after=300.0), "done")
        assert [pause.seconds for pause in went.pauses] == [300.0]

    @pytest.mark.parametrize("retry_after", [None, 0.0, 0.1])
    def test_a_short_retry_after_does_not_make_it_hasty(self, retry_after: float | None) -> None:
        went = run(send(READ), RateLimitError("x", retry_after=retry_after), "done")
        assert went.pauses[0].seconds >= 0.5


class Thing(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1)
    count: int = 0


class TestReadAs:
    def test_what_is_promised_is_read_and_the_rest_is_kept(self) -> None:
        thing = read_as(Thing, {"id": "a", "count": "3", "new": 1}, "get")
        assert thing.model_dump() == {"id": "a", "count": 3, "new": 1}

    @pytest.mark.parametrize("result", [None, True, "a", [], {}, {"id": ""}, {"id": None}, {"id": "a", "count": "x"}])
    def test_anything_else_leaves_the_outcome_unknown(self, result: Any) -> None:
        with pytest.raises(UnreadableReplyError, match=r"\nget: .*not the documented result"):
            read_as(Thing, result, "get")

    def test_a_list_is_read_whole_or_not_at_all(self) -> None:
        assert [thing.id for thing in read_list(Thing, [{"id": "a"}, {"id": "b"}], "list")] == ["a", "b"]
        with pytest.raises(UnreadableReplyError, match=r"\nlist: .*not the documented result: 1.id: "):
            read_list(Thing, [{"id": "a"}, {"id": ""}], "list")

    @pytest.mark.parametrize("result", [None, True, "a", {}, {"id": "a"}])
    def test_what_is_no_list_leaves_the_outcome_unknown(self, result: Any) -> None:
        with pytest.raises(UnreadableReplyError, match="should be a valid list"):
            read_list(Thing, result, "list")

    def test_a_reply_full_of_faults_makes_no_endless_error(self) -> None:
        with pytest.raises(UnreadableReplyError) as caught:
            read_list(Thing, [{}] * 5000, "list")
        assert len(str(caught.value)) < 500

    def test_the_fault_is_named_but_the_value_is_not_shown(self) -> None:
        register_secret("s3cr3t0fReadAs")
        with pytest.raises(UnreadableReplyError) as caught:
            read_as(Thing, {"id": "a", "count": "s3cr3t0fReadAs", "s3cr3t0fReadAs": 1}, "get")
        assert "count: Input should be a valid integer" in str(caught.value)
        assert "s3cr3t0fReadAs" not in str(caught.value)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
