"""Starting, reading and cancelling instances by plans: no HTTP, no Airflow, no time passing."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.cancelling import cancel_instances, check_instance_ids
from airflow_provider_workflows.domo.errors import BlockedError, NotFoundError, StartNotFoundError
from airflow_provider_workflows.domo.starting import read_new_instances, start_instance
from airflow_provider_workflows.domo.watching import Watch, poll_instances, read_instance
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    InvalidCallError,
    NotConnectedError,
    RateLimitError,
    RedirectedError,
    RejectedError,
    ReplyLostError,
    ServerError,
    StoppedError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import ATTEMPTS, Collect, Pause, Plan, Submit, intercept
from tests.plan_runner import run

LOST_BEFORE, LOST_AFTER = "lost before", "lost after"
FINISHED = ["COMPLETED", "CANCELED"]


def instance_ids(count: int) -> list[str]:
    """Return so many ids."""
    return [f"2052e10a-d142-4391-a731-{number:012d}" for number in range(count)]


@dataclass
class TinyHost:
    """A Domo account in which a cancellation takes some polls to show.

    :param statuses: id to status.
    :param cancel_finished: the HTTP status that answers the cancellation of what has finished.
    :param takes: how often a cancelled instance is read before it is cancelled; ``None`` for never.
    :param ends_as: what it is then.
    :param fates: what becomes of the next cancellations; ``None`` is nothing special, an error is given undone.
    :param read_fates: the same of the next reads.
    """

    statuses: dict[str, str | None]
    cancel_finished: int = 400
    takes: int | None = 0
    ends_as: str = "CANCELED"
    fates: list[Any] = field(default_factory=list)
    read_fates: list[ApiError | None] = field(default_factory=list)
    cancelled: dict[str, int] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    lost: bool = False

    def __call__(self, call: Call) -> Any:
        """Answer a call."""
        *_, second_last, last = (call.path or f"/instances/{call.instance_id}").split("/")
        cancels = last == "cancel"
        instance_id = second_last if cancels else last
        self.sent.append(f"{'cancel' if cancels else 'get'} {instance_id[-1]}")
        fates = self.fates if cancels else self.read_fates
        fate = fates.pop(0) if fates else None
        self.lost |= fate in (LOST_BEFORE, LOST_AFTER) or isinstance(fate, ServerError)
        if fate == LOST_BEFORE:
            return ReplyLostError(call.name)
        if isinstance(fate, ApiError):
            return fate
        if instance_id not in self.statuses:
            return NotFoundError(call.name, http_status=404)
        reply = self._cancel(instance_id) if cancels else self._read(instance_id)
        return ReplyLostError(call.name) if fate == LOST_AFTER else reply

    def _cancel(self, instance_id: str) -> Any:
        status = self.statuses[instance_id]
        if status in FINISHED and self.cancel_finished != 200:
            kind = InvalidCallError if self.cancel_finished == 400 else RejectedError
            return kind("cancel", http_status=self.cancel_finished, text="The instance has ended")
        if status not in FINISHED and self.takes is not None:
            self.cancelled.setdefault(instance_id, self.takes)
        return {"id": instance_id, "status": status}

    def _read(self, instance_id: str) -> dict[str, Any]:
        if self.cancelled.get(instance_id) == 0:
            self.statuses[instance_id] = self.ends_as
        elif instance_id in self.cancelled:
            self.cancelled[instance_id] -= 1
        return {"id": instance_id, "status": self.statuses[instance_id]}


def cancel(
    host: Callable[[Any], Any],
    ids: list[str],
    pauses: list[Pause] | None = None,
    *,
    in_flight: int = 1,
    chance: random.Random | None = None,
    **how: Any,
) -> EndReport:
    """Cancel instances."""
    return run(cancel_instances(ids, **how), host, pauses, chance, in_flight, now=lambda: 0.0)


def running(count: int, **how: Any) -> TinyHost:
    """Return an account with so many running instances."""
    return TinyHost(dict.fromkeys(instance_ids(count), "IN_PROGRESS"), **how)


class TestCancel:
    @pytest.mark.parametrize("count", [0, 1, 3, 120])
    def test_each_is_cancelled_with_one_request(self, count: int) -> None:
        host = running(count)
        report = cancel(host, instance_ids(count))
        assert (report.requested, report.ended, report.failed) == (count, instance_ids(count), {})
        assert list(host.cancelled) == instance_ids(count)
        assert len(host.sent) == count

    def test_many_are_cancelled_at_once_as_many_as_the_connection_lets(self) -> None:
        under_way: list[int] = []

        def watched(plan: Plan[EndReport]) -> Plan[EndReport]:
            flying, step = 0, next(plan)
            while True:
                flying += isinstance(step, Submit) - isinstance(step, Collect)
                under_way.append(flying)
                result = yield step
                try:
                    step = plan.send(result)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]

        host = running(100)
        run(watched(cancel_instances(instance_ids(100))), host, in_flight=4)
        assert (max(under_way), len(host.cancelled)) == (4, 100)

    def test_while_domo_refuses_they_go_one_at_a_time_and_later_again(self) -> None:
        host = running(10, fates=[RateLimitError("x", retry_after=45.0)] * 4)
        pauses: list[Pause] = []
        assert sorted(cancel(host, instance_ids(10), pauses, in_flight=4).ended) == instance_ids(10)
        assert pauses[0].seconds >= 45

    @pytest.mark.parametrize("status", [None, "FAILED", "IN_PROGRESS", "PAUSED"])
    def test_one_that_has_not_finished_is_cancelled(self, status: str | None) -> None:
        (one,) = instance_ids(1)
        host = TinyHost({one: status})
        assert cancel(host, [one]).ended == [one]
        assert list(host.cancelled) == [one]

    @pytest.mark.parametrize("answer", [200, 400, 409])
    @pytest.mark.parametrize("status", FINISHED)
    def test_one_that_has_finished_is_no_failure(self, status: str, answer: int) -> None:
        (one,) = instance_ids(1)
        report = cancel(TinyHost({one: status}, cancel_finished=answer), [one])
        assert (report.ended, report.already_ended, report.failed) == ([], [one], {})
        assert report.statuses == {one: status}

    def test_one_that_is_not_there_has_failed_with_both_meanings_and_the_others_go_on(self) -> None:
        host = running(2)
        ids = [*instance_ids(1), "00000000-0000-0000-0000-000000000009", instance_ids(2)[1]]
        report = cancel(host, ids)
        assert report.ended == instance_ids(2)
        (reason,) = report.failed.values()
        assert "for an instance: not its model's" in reason
        assert "the token's user may not see it" in reason

    def test_one_that_may_not_be_cancelled_has_failed_and_the_others_go_on(self) -> None:
        host = running(2, fates=[AccessDeniedError("cancel", http_status=403, text="Access is denied")])
        report = cancel(host, instance_ids(2))
        assert (report.ended, report.stopped_by) == (instance_ids(2)[1:], None)
        assert report.failed == {instance_ids(1)[0]: f"HTTP 403, Access is denied. {AccessDeniedError.advice}"}

    @pytest.mark.parametrize(
        "error", [AuthenticationError("x", http_status=401), RedirectedError("x", text="elsewhere")]
    )
    def test_a_token_that_is_not_accepted_stops_it_and_the_rest_has_failed(self, error: ApiError) -> None:
        host = running(3, fates=[None, error])
        report = cancel(host, instance_ids(3))
        assert (report.ended, list(report.failed)) == (instance_ids(1), instance_ids(3)[1:])
        assert report.stopped_by is error
        assert len(host.sent) == 2

    @pytest.mark.parametrize("error", [RateLimitError("x", retry_after=45.0), NotConnectedError("x")])
    def test_a_refused_cancellation_is_sent_again(self, error: ApiError) -> None:
        host = running(1, fates=[error] * 7)
        pauses: list[Pause] = []
        assert cancel(host, instance_ids(1), pauses).ended == instance_ids(1)
        assert all(pause.seconds >= (error.retry_after or 0.5) for pause in pauses)
        assert len(pauses) == 7

    def test_a_host_that_refuses_for_ever_stops_it_and_the_rest_has_failed(self) -> None:
        host = running(3, fates=[None, *[RateLimitError("x")] * 999])
        report = cancel(host, instance_ids(3))
        assert (report.ended, list(report.failed)) == (instance_ids(1), instance_ids(3)[1:])
        assert len(host.sent) > 100, "a refusal may be repeated for an hour"

    @pytest.mark.parametrize("takes", [0, 3])
    def test_after_a_lost_reply_the_status_is_read(self, takes: int) -> None:
        host = running(1, fates=[LOST_AFTER], takes=takes)
        report = cancel(host, instance_ids(1))
        assert (report.ended, report.failed) == (instance_ids(1), {})
        assert host.sent[:2] == ["cancel 0", "get 0"]

    @pytest.mark.parametrize("error", [LOST_BEFORE, ServerError("x", http_status=502), UnreadableReplyError("x")])
    def test_a_cancellation_that_was_lost_on_the_way_is_sent_again(self, error: Any) -> None:
        host = running(1, fates=[error])
        assert cancel(host, instance_ids(1)).ended == instance_ids(1)
        assert host.sent == ["cancel 0", "get 0", "cancel 0"]
        assert list(host.cancelled) == instance_ids(1)

    def test_one_that_completes_while_the_reply_is_lost_had_ended_by_itself(self) -> None:
        (one,) = instance_ids(1)
        host = TinyHost({one: "COMPLETED"}, fates=[LOST_BEFORE])
        assert cancel(host, [one]).already_ended == [one]

    def test_one_whose_reply_is_always_lost_is_given_up_after_eight_tries(self) -> None:
        host = running(2, fates=[LOST_BEFORE] * ATTEMPTS)
        report = cancel(host, instance_ids(2))
        assert (list(report.failed), report.ended) == (instance_ids(1), instance_ids(2)[1:])
        assert host.sent.count("cancel 0") == ATTEMPTS

    def test_if_its_status_cannot_be_read_either_it_has_failed_for_both_reasons(self) -> None:
        host = running(2, fates=[LOST_AFTER], read_fates=[AccessDeniedError("read", text="no list")])
        report = cancel(host, instance_ids(2))
        (reason,) = report.failed.values()
        assert "Its status cannot be read either: read: no list" in reason
        assert report.ended == instance_ids(2)[1:]

    def test_those_that_may_be_neither_cancelled_nor_read_have_failed_for_good_and_for_one_reason(self) -> None:
        def refused(call: str) -> list[Any]:
            return [AccessDeniedError(call, http_status=403, text="No", trace=f"TOE{nth}") for nth in range(3)]

        report = cancel(running(3, fates=refused("cancel"), read_fates=refused("read")), instance_ids(3))
        assert [(one["count"], one["ids"]) for one in report.failures] == [(3, instance_ids(3))]
        assert report.failure is not None
        assert not report.failure.retry_helps

    def test_one_that_may_have_been_cancelled_and_may_not_be_read_is_for_a_retry(self) -> None:
        host = running(1, fates=[LOST_AFTER], read_fates=[AccessDeniedError("read", text="no list")])
        report = cancel(host, instance_ids(1))
        assert report.unsettled == instance_ids(1)
        assert report.failure is not None
        assert report.failure.retry_helps

    def test_a_blocked_address_fails_them_all(self) -> None:
        report = cancel(lambda call: BlockedError(call.name, http_status=303), instance_ids(2))
        assert list(report.failed) == instance_ids(2)
        assert all("allowlist" in reason for reason in report.failed.values())

    def test_a_misshapen_id_is_refused_before_anything_is_sent(self) -> None:
        host = running(1)
        with pytest.raises(ValueError, match="'no id' is not an instance id such as"):
            cancel(host, [*instance_ids(1), "no id"])
        assert host.sent == []

    def test_the_report_is_json(self) -> None:
        host = running(2, fates=[AccessDeniedError("x")])
        report = cancel(host, instance_ids(2)).json()
        assert json.loads(json.dumps(report)) == report


class TestWait:
    @pytest.mark.parametrize("takes", [0, 1, 5])
    def test_it_waits_until_the_cancellation_shows(self, takes: int) -> None:
        host = running(2, takes=takes)
        pauses: list[Pause] = []
        report = cancel(host, instance_ids(2), pauses, wait_for=600, poll_interval=7)
        assert report.statuses == dict.fromkeys(instance_ids(2), "CANCELED")
        assert (report.ended, report.failed) == (instance_ids(2), {})
        assert [pause.seconds for pause in pauses] == [7] * takes

    @pytest.mark.parametrize("status", [None, "null", "", "PAUSED"])
    def test_a_status_that_is_not_the_end_is_waited_on(self, status: str | None) -> None:
        (one,) = instance_ids(1)
        host = TinyHost({one: status}, takes=3)
        report = cancel(host, [one], wait_for=600)
        assert report.statuses == {one: "CANCELED"}
        assert host.sent.count("get 0") == 4

    def test_one_that_fails_is_over(self) -> None:
        host = running(1, takes=2, ends_as="FAILED")
        report = cancel(host, instance_ids(1), wait_for=600)
        assert (report.ended, report.statuses) == (instance_ids(1), {instance_ids(1)[0]: "FAILED"})

    def test_one_that_completes_before_it_is_cancelled_had_ended_by_itself(self) -> None:
        host = running(1, takes=2, ends_as="COMPLETED")
        report = cancel(host, instance_ids(1), wait_for=600)
        assert (report.ended, report.already_ended) == ([], instance_ids(1))

    def test_one_that_is_still_there_after_the_time_has_failed(self) -> None:
        host = running(2, takes=None)
        host.statuses[instance_ids(2)[1]] = "CANCELED"
        pauses: list[Pause] = []
        report = cancel(host, instance_ids(2), pauses, wait_for=60, poll_interval=5)
        assert report.failed == {instance_ids(2)[0]: "cancelled, but still IN_PROGRESS after 60 s"}
        assert report.already_ended == instance_ids(2)[1:]
        assert sum(pause.seconds for pause in pauses) == 60

    def test_the_time_that_reads_take_counts(self) -> None:
        host, now = running(100, takes=None), [0.0]
        pauses: list[Pause] = []

        def answer(call: Call) -> Any:
            now[0] += 0.1
            return host(call)

        began = 100 * 0.1
        report = run(
            cancel_instances(instance_ids(100), wait_for=30, poll_interval=5), answer, pauses, now=lambda: now[0]
        )
        waited = now[0] + sum(pause.seconds for pause in pauses) - began
        assert 30 <= waited < 41
        assert set(report.failed.values()) == {f"cancelled, but still IN_PROGRESS after {waited:.0f} s"}

    @pytest.mark.parametrize("error", [ServerError("x"), RateLimitError("x"), NotConnectedError("x")])
    def test_one_read_that_fails_of_a_hundred_costs_one_more_read(self, error: ApiError) -> None:
        host = running(100, takes=0, read_fates=[None] * 50 + [error])
        assert cancel(host, instance_ids(100), wait_for=0).failed == {}
        assert sum(sent.startswith("get") for sent in host.sent) == 101

    def test_after_all_attempts_nothing_is_waited_for_any_more(self) -> None:
        host = running(2, takes=None, read_fates=[None, *[ServerError("x", retry_after=77.0)] * 99])
        pauses: list[Pause] = []
        run(poll_instances(Watch(instance_ids(2))), host, pauses)
        assert [pause.seconds for pause in pauses] == [77.0] * (ATTEMPTS - 1)

    def test_a_kill_while_reads_are_refused_is_told_as_such(self) -> None:
        host = running(1, read_fates=[RateLimitError("x")] * 99)
        poll = poll_instances(Watch(instance_ids(1)))
        stopped = StoppedError("get", text="not sent: the task was told to end")

        def stop(step: Any) -> Plan[Any]:
            if isinstance(step, Pause):
                raise stopped
            return (yield step)

        with pytest.raises(StoppedError):
            run(intercept(poll, stop), host)

    def test_without_any_time_it_polls_once(self) -> None:
        host = running(1, takes=None)
        assert list(cancel(host, instance_ids(1), wait_for=0).failed) == instance_ids(1)
        assert host.sent == ["cancel 0", "get 0"]

    def test_what_had_ended_is_not_waited_for(self) -> None:
        (one,) = instance_ids(1)
        host = TinyHost({one: "CANCELED"}, cancel_finished=200)
        cancel(host, [one], wait_for=600)
        assert host.sent == ["cancel 0"]

    def test_reads_that_fail_in_passing_are_repeated(self) -> None:
        host = running(1, takes=1, read_fates=[ServerError("x"), None, RateLimitError("x")])
        assert cancel(host, instance_ids(1), wait_for=600).ended == instance_ids(1)

    def test_reads_that_are_refused_are_repeated_for_as_long_as_any_call_is(self) -> None:
        host = running(3, takes=1, read_fates=[RateLimitError("x")] * 60)
        assert cancel(host, instance_ids(3), wait_for=3600).ended == instance_ids(3)

    @pytest.mark.parametrize("error", [AuthenticationError("x"), ServerError("x"), RateLimitError("x")])
    def test_those_whose_end_cannot_be_seen_have_failed(self, error: ApiError) -> None:
        host = running(3, takes=4, read_fates=[None] * 5 + [error] * 9999)
        report = cancel(host, instance_ids(3), wait_for=600)
        assert (report.ended, sorted(report.failed)) == ([], instance_ids(3))
        assert all("cancelled, but its status cannot be read" in reason for reason in report.failed.values())
        assert report.stopped_by is error

    def test_one_that_may_not_be_read_has_failed_and_the_others_are_waited_for(self) -> None:
        host = running(3, takes=2, read_fates=[None, NotFoundError("read", http_status=404)])
        report = cancel(host, instance_ids(3), wait_for=600)
        assert (report.ended, list(report.failed)) == ([instance_ids(3)[0], instance_ids(3)[2]], [instance_ids(3)[1]])
        assert report.stopped_by is None


fates = st.sampled_from(
    [None, None, LOST_BEFORE, LOST_AFTER, RateLimitError("x"), ServerError("x"), AccessDeniedError("x")]
)
read_fates = st.sampled_from([None, None, None, RateLimitError("x"), ReplyLostError("x"), NotFoundError("x")])
statuses = st.sampled_from([None, "IN_PROGRESS", "FAILED", "COMPLETED", "CANCELED"])


@settings(deadline=None)
@given(
    st.lists(statuses, min_size=1, max_size=5),
    st.sampled_from([200, 400, 409]),
    st.integers(0, 2),
    st.lists(fates, max_size=12),
    st.lists(read_fates, max_size=12),
    st.booleans(),
    st.sampled_from([1, 4]),
    st.randoms(use_true_random=False),
)
def test_whatever_happens_the_report_is_true(
    given_statuses: list[str | None],
    answer: int,
    takes: int,
    cancel_fates: list[Any],
    given_read_fates: list[ApiError | None],
    waits: bool,
    in_flight: int,
    chance: random.Random,
) -> None:
    ids = instance_ids(len(given_statuses))
    before = dict(zip(ids, given_statuses, strict=True))
    host = TinyHost(dict(before), answer, takes, "CANCELED", cancel_fates, given_read_fates)
    report = cancel(host, ids, wait_for=600 if waits else None, in_flight=in_flight, chance=chance)

    # Each id stands in exactly one place.
    assert sorted([*report.ended, *report.already_ended, *report.failed]) == ids
    # Domo took the cancellation of what is said to have ended, unless a lost reply left that open, ...
    assert all(one in host.cancelled or (host.lost and before[one] == "CANCELED") for one in report.ended)
    # ... and with waiting it is over.
    terminal = {"COMPLETED", "CANCELED", "FAILED"}
    assert not waits or all(report.statuses[one] in terminal for one in report.ended)
    # What is said to have ended before was not touched.
    assert all(before[one] in FINISHED and one not in host.cancelled for one in report.already_ended)


class TestStartAndRead:
    @pytest.mark.parametrize("error", [ReplyLostError, ServerError, UnreadableReplyError])
    def test_a_start_whose_reply_was_lost_is_raised_and_not_sent_again(self, error: type[ApiError]) -> None:
        sent: list[Call] = []

        def host(call: Call) -> Any:
            sent.append(call)
            return error(call.name)

        with pytest.raises(error):
            run(start_instance("m", "1.0.0", "Start m", {"a": 1}), host)
        assert [call.body for call in sent] == [
            {"messageName": "Start m", "version": "1.0.0", "modelId": "m", "data": {"a": 1}}
        ]

    def test_more_new_instances_than_are_looked_through_are_an_error_and_not_a_part(self) -> None:
        numbers = itertools.count()

        def host(call: Call) -> Any:
            return [{"id": f"i{next(numbers)}"} for _ in range(100)]

        with pytest.raises(UnreadableReplyError, match="more than 1000 instances"):
            run(read_new_instances("m", lambda instance: False), host)

    def test_a_404_says_what_it_may_mean(self) -> None:
        with pytest.raises(StartNotFoundError, match="title of its Start shape"):
            run(start_instance("m", "1.0.0", "Start m"), lambda call: NotFoundError(call.name, http_status=404))

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"model_id": ""}, "model_id"),
            ({"model_id": "a b"}, "model_id"),
            ({"version": "latest"}, "version"),
            ({"version": None}, "version"),
            ({"message_name": " "}, "message_name"),
            ({"data": "a=1"}, "data"),
        ],
    )
    def test_what_cannot_be_started_is_refused_before_anything_is_sent(self, wrong: Any, named: str) -> None:
        given = {"model_id": "m", "version": "1.0.0", "message_name": "Start m", "data": None} | wrong
        with pytest.raises(ValueError, match=f"^{named}"):
            run(start_instance(**given), lambda call: pytest.fail("sent"))

    def test_a_refused_start_is_sent_again(self) -> None:
        fates: list[Any] = [RateLimitError("x"), {"id": "i", "status": None}]
        assert run(start_instance("m", "1.0.0", "Start m"), lambda call: fates.pop(0)).id == "i"

    @pytest.mark.parametrize("reply", [{}, {"id": None}, {"status": "COMPLETED"}])
    def test_a_reply_that_is_no_instance_is_an_error(self, reply: dict) -> None:
        with pytest.raises(UnreadableReplyError):
            run(read_instance("i"), lambda call: reply)


class TestCheckInstanceIds:
    def test_repetitions_are_left_out_and_the_order_is_kept(self) -> None:
        assert check_instance_ids(["b", "a", "b"]) == ["b", "a"]

    @pytest.mark.parametrize("bad", ["", " ", "a b", "a/b", "..", "a?b", "ü", "a\n", "x" * 65, None, 7])
    def test_what_cannot_be_an_id_is_refused(self, bad: Any) -> None:
        with pytest.raises(ValueError, match="is not an instance id such as"):
            check_instance_ids([instance_ids(1)[0], bad])
