"""DomoCancelOperator, against an account that cancels after it has answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_workflows.domo.account import IN_FLIGHT
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.rest.errors import AccessDeniedError, ArgumentError, AuthenticationError, RateLimitError
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import fire, resume, run_through
from tests.operators.remote import TaskInstance, VirtualTime, failed_ids, refused, render

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def add(control: Control, count: int, **fields: Any) -> list[str]:
    """Put instances into the account."""
    return control.add_domo_instances([fields] * count)


def statuses(control: Control) -> dict[str, str | None]:
    """Return the status of each instance."""
    return {id: row["status"] for id, row in control.state()["domo"]["instances"].items()}


def cancel(context: Any, instance_id: Any, **how: Any) -> Any:
    """Run a task that cancels instances."""
    return DomoCancelOperator(task_id="cancel", instance_id=instance_id, **how).execute(context)


class TestWhatRuns:
    @pytest.mark.parametrize("status", [None, "IN_PROGRESS", "FAILED"])
    def test_one_is_cancelled_and_the_others_run_on(self, control: Control, context: Any, status: str | None) -> None:
        first, second = add(control, 2, status=status)
        report = cancel(context, first)
        assert statuses(control) == {first: "CANCELED", second: status}
        assert (report["requested"], report["ended_ids"], report["already_ended"], report["failed"]) == (
            1,
            [first],
            0,
            0,
        )

    def test_many_are_cancelled(self, control: Control, context: Any) -> None:
        ids = add(control, 60)
        report = cancel(context, ids)
        assert set(statuses(control).values()) == {"CANCELED"}
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert len(control.requests()) == 60

    @pytest.mark.parametrize("form", [list, tuple, str, json.dumps])
    def test_ids_may_come_in_any_form(self, control: Control, context: Any, form: Any) -> None:
        ids = add(control, 3)
        assert sorted(cancel(context, form(ids))["ended_ids"]) == sorted(ids)

    @pytest.mark.parametrize("form", [dict, str, json.dumps, lambda started: [started]])
    def test_what_a_start_task_returns_is_an_id_too(self, control: Control, context: Any, form: Any) -> None:
        (model,) = control.add_domo_models([{"message_name": "Start Orders", "versions": ["1.0.0"]}])
        start = DomoStartOperator(task_id="start", model_id=model, version="1.0.0", message_name="Start Orders")
        started = start.execute(context)
        assert cancel(context, form(started))["ended_ids"] == [started["id"]]

    def test_a_text_from_a_template_is_rendered_first(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        operator = DomoCancelOperator(task_id="cancel", instance_id="{{ ids }}")
        render(operator, ids=ids)
        assert sorted(operator.execute(context)["ended_ids"]) == sorted(ids)

    def test_an_empty_list_is_a_job_that_is_done(self, control: Control, context: Any) -> None:
        assert cancel(context, [])["requested"] == 0
        assert control.requests() == []


class TestWhatHasFinished:
    @pytest.mark.parametrize("answer", ["ok", "400", "409"])
    @pytest.mark.parametrize("status", ["COMPLETED", "CANCELED"])
    @pytest.mark.parametrize("waits", [False, True])
    def test_it_is_already_ended_whatever_domo_says_of_it(
        self, control: Control, context: Any, status: str, answer: str, waits: bool
    ) -> None:
        control.configure(cancel_finished=answer)
        (running,) = add(control, 1)
        (finished,) = add(control, 1, status=status)
        report = cancel(context, [finished, running], wait_for_completion=waits)
        assert (report["ended_ids"], report["already_ended_ids"], report["failed"]) == ([running], [finished], 0)
        assert statuses(control) == {running: "CANCELED", finished: status}

    def test_a_second_run_of_the_same_task_changes_nothing(self, control: Control, context: Any) -> None:
        ids = add(control, 3)
        assert sorted(cancel(context, ids)["ended_ids"]) == sorted(ids)
        assert sorted(cancel(context, ids)["already_ended_ids"]) == sorted(ids)
        assert len(control.journal("cancel")) == 3


class TestWait:
    @pytest.mark.parametrize("null", ["json", "string", "missing"])
    @pytest.mark.parametrize("status", [None, "IN_PROGRESS", "FAILED"])
    def test_it_lasts_until_the_cancellation_has_taken_effect(
        self, control: Control, context: Any, clock: VirtualTime, status: str | None, null: str
    ) -> None:
        control.configure(cancel_delay=33.0, null_status=null)
        ids = add(control, 2, status=status)
        began = clock.time()
        report = cancel(context, ids, wait_for_completion=True, poll_interval=5)
        expected = status if status == "FAILED" else "CANCELED"
        assert report["by_status"] == {expected: len(ids)}
        assert sorted(report["ended_ids"]) == sorted(ids)
        if status == "FAILED":
            assert clock.naps == []
        else:
            assert clock.time() - began >= 33
            assert sum(clock.naps) <= 35

    def test_without_waiting_it_only_asks(self, control: Control, context: Any, clock: VirtualTime) -> None:
        control.configure(cancel_delay=33.0)
        ids = add(control, 2)
        report = cancel(context, ids)
        assert (report["ended"], report["by_status"]) == (2, {"IN_PROGRESS": 2})
        assert clock.naps == []

    @pytest.mark.parametrize("final", ["COMPLETED", "FAILED"])
    def test_one_that_ends_by_itself_meanwhile_is_told_as_it_ended(
        self, control: Control, context: Any, final: str
    ) -> None:
        control.configure(cancel_delay=500.0)
        (one,) = add(control, 1, finishes_after=20.0, final_status=final)
        report = cancel(context, one, wait_for_completion=True)
        assert report["by_status"] == {final: 1}
        assert report["already_ended_ids" if final == "COMPLETED" else "ended_ids"] == [one]

    def test_one_that_outlasts_the_time_has_failed(
        self, control: Control, context: Any, ti: TaskInstance, clock: VirtualTime
    ) -> None:
        control.configure(cancel_delay=500.0)
        (slow,) = add(control, 1)
        (ended,) = add(control, 1, status="CANCELED")
        began = clock.time()
        with pytest.raises(NotAllEndedError, match=f"1 of 2 could not be ended: {slow}: cancelled, but still IN_PROG"):
            cancel(context, [slow, ended], wait_for_completion=True, poll_interval=10, wait_timeout=60)
        assert ti.xcoms["return_value"]["already_ended_ids"] == [ended]
        assert clock.time() - began >= 60
        assert sum(clock.naps) <= 61

    def test_one_that_domo_took_but_ignored_has_failed(self, control: Control, context: Any) -> None:
        control.configure(cancel_unstarted="ignored")
        (one,) = add(control, 1, status=None)
        with pytest.raises(NotAllEndedError, match="cancelled, but still None"):
            cancel(context, one, wait_for_completion=True)
        assert statuses(control) == {one: None}

    @pytest.mark.parametrize("fault", ["refused", "lost_before", "lost_after", "error_500", "truncated", "empty_body"])
    def test_polls_that_break_in_passing_are_repeated(self, control: Control, context: Any, fault: str) -> None:
        control.configure(cancel_delay=33.0)
        ids = add(control, 2)
        control.inject(fault, vendor="domo", method="get", times=5)
        report = cancel(context, ids, wait_for_completion=True)
        assert report["by_status"] == {"CANCELED": len(ids)}

    @pytest.mark.parametrize(
        ("fault", "options"), [("error", {"status": 401}), ("error_500", {}), ("blocked", {"how": "redirect"})]
    )
    def test_those_whose_end_cannot_be_seen_have_failed(
        self, control: Control, context: Any, ti: TaskInstance, fault: str, options: dict
    ) -> None:
        control.configure(cancel_delay=33.0)
        ids = add(control, 3)
        control.inject(fault, vendor="domo", method="get", skip=4, times=None, **options)
        with pytest.raises(Exception, match=r"401|500|[Bb]locked"):
            cancel(context, ids, wait_for_completion=True)
        report = ti.xcoms["return_value"]
        assert (report["ended_ids"], sorted(failed_ids(report))) == ([], sorted(ids))


class TestRefused:
    @pytest.mark.parametrize("nothing", [None, "", " ", "None", "{{ id }}", [None], {}, 7])
    def test_nothing_where_an_id_should_be(self, control: Control, context: Any, nothing: Any) -> None:
        with refused(ArgumentError, match="instance_id"):
            cancel(context, nothing)
        assert control.requests() == []

    @pytest.mark.parametrize("bad", ["a b", "../me", "a/cancel", "x" * 65, "a?b=c"])
    def test_a_misshapen_id_among_good_ones_before_anything_is_sent(
        self, control: Control, context: Any, bad: str
    ) -> None:
        ids = add(control, 2)
        with pytest.raises(ValueError, match="is not an instance id such as"):
            cancel(context, [*ids, bad])
        assert set(statuses(control).values()) == {"IN_PROGRESS"}


class TestFailure:
    def test_an_id_that_is_not_there_has_failed_with_both_meanings_and_the_others_go_on(
        self, control: Control, context: Any, ti: TaskInstance
    ) -> None:
        ids = add(control, 2)
        (hidden,) = add(control, 1, visible=False)
        with refused(NotAllEndedError) as failed:
            cancel(context, [ids[0], UNKNOWN, hidden, ids[1]])
        assert "for an instance: not its model's" in str(failed.value)
        assert "the token's user may not see it" in str(failed.value)
        assert sorted(ti.xcoms["return_value"]["ended_ids"]) == sorted(ids)
        assert statuses(control) == {ids[0]: "CANCELED", ids[1]: "CANCELED", hidden: "IN_PROGRESS"}

    def test_the_one_id_that_is_not_there_is_no_success(self, control: Control, context: Any) -> None:
        with refused(NotAllEndedError, match="1 of 1 could not be ended"):
            cancel(context, UNKNOWN)

    def test_a_start_that_may_not_be_cancelled_yet_has_failed(self, control: Control, context: Any) -> None:
        control.configure(cancel_unstarted="rejected")
        (one,) = add(control, 1, status=None)
        with refused(NotAllEndedError, match="The instance has not started"):
            cancel(context, one)
        assert statuses(control) == {one: None}

    def test_a_user_who_may_read_but_not_cancel_is_told_so(
        self, control: Control, context: Any, ti: TaskInstance
    ) -> None:
        control.configure(domo_forbidden=["cancel"])
        ids = add(control, 2)
        (done,) = add(control, 1, status="COMPLETED")
        with refused(NotAllEndedError, match="HTTP 403, Access is denied"):
            cancel(context, [*ids, done])
        assert ti.xcoms["return_value"]["already_ended_ids"] == [done]
        assert set(statuses(control).values()) == {"IN_PROGRESS", "COMPLETED"}

    def test_a_user_who_may_not_even_read_is_told_both(self, control: Control, context: Any) -> None:
        control.configure(domo_forbidden=["cancel", "get"])
        with refused(NotAllEndedError, match="Its status cannot be read either"):
            cancel(context, add(control, 1))

    @pytest.mark.parametrize("done", [0, 2])
    def test_a_token_that_is_not_accepted_stops_it_and_the_rest_has_failed(
        self, control: Control, context: Any, ti: TaskInstance, done: int
    ) -> None:
        ids = add(control, 5)
        control.inject("error", vendor="domo", method="cancel", skip=done, times=None, status=401)
        with refused(NotAllEndedError if done else AuthenticationError):
            cancel(context, ids)
        report = ti.xcoms["return_value"]
        cancelled = {id for id, status in statuses(control).items() if status == "CANCELED"}
        assert (len(cancelled), cancelled) == (done, set(report["ended_ids"]))
        assert sorted([*cancelled, *failed_ids(report)]) == sorted(ids)
        assert len(control.requests()) <= done + IN_FLIGHT

    def test_the_text_of_an_error_does_not_hold_the_token(
        self, control: Control, connect: Any, context: Any, ti: TaskInstance
    ) -> None:
        connect("DOMO_DEFAULT", password="not-the-token-0123")
        with refused(AuthenticationError) as failed:
            cancel(context, add(control, 1))
        assert "not-the-token-0123" not in str(failed.value) + str(ti.xcoms)

    @pytest.mark.parametrize("how", ["page", "redirect"])
    def test_a_blocked_address_is_told_as_such(self, control: Control, context: Any, how: str) -> None:
        control.configure(domo_blocked=how)
        with refused((NotAllEndedError, AccessDeniedError), match="allowlist"):
            cancel(context, add(control, 1))

    def test_a_limit_that_is_never_lifted_fails_those_that_are_left(
        self, control: Control, context: Any, ti: TaskInstance
    ) -> None:
        ids = add(control, 3)
        control.inject("refused", vendor="domo", skip=1, times=None)
        with pytest.raises(NotAllEndedError):
            cancel(context, ids)
        left = failed_ids(ti.xcoms["return_value"])
        assert {id for id, status in statuses(control).items() if status == "IN_PROGRESS"} == set(left)
        with pytest.raises(RateLimitError):
            cancel(context, left)


class TestFaults:
    @pytest.mark.parametrize("delay", [0.0, 33.0])
    @pytest.mark.parametrize(
        ("fault", "options"),
        [
            ("lost_before", {}),
            ("lost_after", {}),
            ("error_500", {"done": False}),
            ("error_500", {"done": True}),
            ("html", {"status": 500}),
            ("html", {"status": 200, "done": True}),
            ("truncated", {}),
            ("empty_body", {"done": False}),
            ("refused", {"retry_after": 40}),
        ],
    )
    def test_whatever_breaks_three_times_in_a_row_each_is_cancelled_once(
        self, control: Control, context: Any, fault: str, options: dict, delay: float
    ) -> None:
        control.configure(cancel_delay=delay)
        ids = add(control, 3)
        control.inject(fault, vendor="domo", method="cancel", times=3, **options)
        report = cancel(context, ids, wait_for_completion=True)
        assert [entry["fault"] for entry in control.requests()].count(fault) == 3
        assert (sorted(report["ended_ids"]), report["failed"]) == (sorted(ids), 0)
        assert sorted(effect["id"] for effect in control.journal("cancel")) == sorted(ids)
        assert set(statuses(control).values()) == {"CANCELED"}

    def test_a_pause_that_domo_asks_for_is_kept(self, control: Control, context: Any, clock: VirtualTime) -> None:
        control.inject("refused", vendor="domo", retry_after=77)
        cancel(context, add(control, 1))
        assert clock.naps == [77.0]


class TestLink:
    def test_one_instance_is_linked_to(self, control: Control, context: Any, ti: TaskInstance) -> None:
        (one,) = add(control, 1, modelId="m-1", modelVersion="2.0.0")
        cancel(context, one)
        assert ti.xcoms["_link_InstanceLink"].endswith(f"/workflows/instances/m-1/2.0.0/{one}")

    def test_many_are_so_in_the_list(self, control: Control, context: Any, ti: TaskInstance) -> None:
        cancel(context, add(control, 2))
        assert ti.xcoms["_link_InstanceLink"].endswith("/workflows")


def test_the_status_is_read_where_the_connection_says(control: Control, connect: Any, context: Any) -> None:
    (one,) = add(control, 1, status="COMPLETED")
    connect(
        "DOMO_DEFAULT",
        password=control.settings()["domo_token"],
        extra=json.dumps({"instance_path": "/api/elsewhere/{instance_id}"}),
    )
    with refused(NotAllEndedError) as failed:
        cancel(context, one)
    assert NotFoundError.advice in str(failed.value)
    assert [entry["method"] for entry in control.requests()] == ["cancel", f"GET /api/elsewhere/{one}"]


class TestDeferred:
    @staticmethod
    def cancel(
        context: Any, instance_id: Any, meanwhile: Callable[[], object] = lambda: None, **how: Any
    ) -> tuple[Any, int]:
        """Run a task that waits in the triggerer."""
        given = {"wait_for_completion": True, "deferrable": True, "poll_interval": 0.05} | how
        make = lambda: DomoCancelOperator(task_id="cancel", instance_id=instance_id, **given)  # noqa: E731
        return run_through(make, context, meanwhile)

    @pytest.mark.parametrize("status", [None, "IN_PROGRESS"])
    def test_it_lasts_until_the_cancellation_has_taken_effect(
        self, control: Control, context: Any, status: str | None
    ) -> None:
        control.configure(cancel_delay=300.0)
        ids = add(control, 3, status=status)
        report, deferrals = self.cancel(context, ids, lambda: control.advance(300))
        assert report["by_status"] == {"CANCELED": len(ids)}
        assert (sorted(report["ended_ids"]), report["failed"], deferrals) == (sorted(ids), 0, 1)
        assert len(control.journal("cancel")) == 3

    def test_what_is_cancelled_at_the_first_poll_is_not_waited_for(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        report, deferrals = self.cancel(context, ids)
        assert (sorted(report["ended_ids"]), deferrals) == (sorted(ids), 0)

    def test_the_report_keeps_what_was_known_before(self, control: Control, context: Any) -> None:
        control.configure(cancel_delay=300.0)
        (running,) = add(control, 1)
        (finished,) = add(control, 1, status="COMPLETED")
        with pytest.raises(NotAllEndedError, match=UNKNOWN):
            self.cancel(context, [running, finished, UNKNOWN], lambda: control.advance(300))
        report = context["ti"].xcoms["return_value"]
        assert (report["ended_ids"], report["already_ended_ids"]) == ([running], [finished])
        assert failed_ids(report) == [UNKNOWN]

    @pytest.mark.parametrize("edited", [{}, {"ended": [], "failed": {}}, "nonsense"])
    def test_edited_xcoms_change_nothing(self, control: Control, context: Any, edited: Any) -> None:
        control.configure(cancel_delay=300.0)
        (mine,) = add(control, 1)
        (foreign,) = add(control, 1)
        with pytest.raises(TaskDeferred) as deferred:
            DomoCancelOperator(
                task_id="cancel", instance_id=mine, wait_for_completion=True, deferrable=True, poll_interval=0.05
            ).execute(context)
        if edited == {}:
            edited = {"requested": 1, "ended": [foreign], "already_ended": [], "failed": {}}
        for key in ("checkpoint", "return_value"):
            context["ti"].xcom_push(key, edited)
        control.advance(300)
        again = DomoCancelOperator(task_id="cancel", instance_id=mine, wait_for_completion=True, deferrable=True)
        report = again.execute_complete(context, fire(deferred.value.trigger))
        assert report["ended_ids"] == [mine]
        assert statuses(control)[foreign] == "IN_PROGRESS"
        assert not [entry for entry in control.requests() if foreign in entry["method"]]

    @pytest.mark.parametrize("final", ["COMPLETED", "FAILED"])
    def test_one_that_ends_by_itself_meanwhile_is_told_as_it_ended(
        self, control: Control, context: Any, final: str
    ) -> None:
        control.configure(cancel_delay=500.0)
        (one,) = add(control, 1, finishes_after=300.0, final_status=final)
        report, _ = self.cancel(context, one, lambda: control.advance(300))
        assert report["by_status"] == {final: 1}
        assert report["already_ended_ids" if final == "COMPLETED" else "ended_ids"] == [one]

    def test_one_that_outlasts_the_time_has_failed(self, control: Control, context: Any) -> None:
        control.configure(cancel_delay=500.0)
        (slow,) = add(control, 1)
        with pytest.raises(NotAllEndedError, match="cancelled, but still IN_PROGRESS after 0 s"):
            self.cancel(context, slow, wait_timeout=0.2)

    def test_an_account_that_refuses_every_poll_holds_no_worker(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        control.configure(cancel_delay=5000.0)
        (one,) = add(control, 1)
        control.inject("refused", vendor="domo", retry_after=50, skip=1, times=None)

        def make() -> DomoCancelOperator:
            return DomoCancelOperator(
                task_id="cancel", instance_id=one, wait_for_completion=True, deferrable=True, wait_timeout=600
            )

        with pytest.raises(TaskDeferred) as deferred:
            make().execute(context)
        trigger: Any = deferred.value.trigger
        assert sum(clock.naps) <= 60
        assert trigger.deadline - clock.time() <= 600 - sum(clock.naps), "the first poll is a part of the wait"
        event = fire(trigger)
        clock.naps.clear()
        with pytest.raises(RateLimitError):
            resume(make, context, deferred.value, event)
        assert sum(clock.naps) <= 60

    @pytest.mark.parametrize("event", [None, {}, {"status": "done"}, {"status": "error", "message": "no"}])
    def test_an_event_that_is_not_ours_fails_the_task(self, control: Control, context: Any, event: Any) -> None:
        control.configure(cancel_delay=500.0)
        operator = DomoCancelOperator(
            task_id="cancel", instance_id=add(control, 1), wait_for_completion=True, deferrable=True
        )
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        with pytest.raises(WaitFailedError):
            resume(lambda: operator, context, deferred.value, event)
