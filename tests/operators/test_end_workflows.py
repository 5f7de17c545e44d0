"""TerminateWorkflowOperator and KillWorkflowOperator, against a portal that does what it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import MethodNotFoundError, NotAdministratorError, ScopeError
from airflow_provider_workflows.operators.bitrix24 import (
    KillWorkflowOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.rest.concurrency import FIRST
from airflow_provider_workflows.rest.errors import (
    ApiError,
    ArgumentError,
    AuthenticationError,
    NotConnectedError,
    RateLimitError,
    RedirectedError,
)
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from tests.operators.remote import TaskInstance, VirtualTime, failed_ids, refused, render

UNKNOWN = "66e412fdc9bd44.99999999"
TERMINATE, KILL = "bizproc.workflow.terminate", "bizproc.workflow.kill"

both = pytest.mark.parametrize(
    ("operator", "method", "state"),
    [(TerminateWorkflowOperator, TERMINATE, "terminated"), (KillWorkflowOperator, KILL, "killed")],
)


def add(control: Control, count: int, **fields: Any) -> list[str]:
    """Put running workflows into the portal."""
    return control.add_workflows([{"ID": f"66e412fdc9bd44.{number:08d}", **fields} for number in range(count)])


def states(control: Control) -> dict[str, str]:
    """Return the state of each workflow."""
    return {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}


def terminate(context: Any, workflow_id: Any, **how: Any) -> Any:
    """Run a task that terminates workflows."""
    return TerminateWorkflowOperator(task_id="end", workflow_id=workflow_id, **how).execute(context)


class TestWhatRuns:
    @both
    def test_one_is_ended_and_the_others_run_on(
        self, control: Control, context: Any, operator: Any, method: str, state: str
    ) -> None:
        first, second = add(control, 2)
        report = operator(task_id="end", workflow_id=first).execute(context)
        assert states(control) == {first: state, second: "running"}
        assert report == {
            "requested": 1, "ended": 1, "already_ended": 0, "moved_on": 0, "failed": 0, "dry_run": False,
            "ended_ids": [first], "already_ended_ids": [], "failures": [],
        }  # fmt: skip
        assert [entry["method"] for entry in control.requests()] == [method]

    @both
    def test_many_are_ended_up_to_fifty_to_a_request(
        self, control: Control, context: Any, operator: Any, method: str, state: str
    ) -> None:
        ids = add(control, 120)
        report = operator(task_id="end", workflow_id=ids).execute(context)
        assert set(states(control).values()) == {state}
        assert sorted(report["ended_ids"]) == ids
        assert sorted(len(entry["commands"]) for entry in control.requests()) == [40, 40, 40]
        assert {name for entry in control.requests() for _, name, _ in entry["commands"]} == {method}

    def test_the_status_text_stands_on_the_record(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        terminate(context, ids, status="Wegen Umzug & Co. beendet")
        texts = {row["status_text"] for row in control.state()["bitrix24"]["workflows"].values()}
        assert texts == {"Wegen Umzug & Co. beendet"}

    def test_without_a_status_text_none_is_sent(self, control: Control, context: Any) -> None:
        ids = add(control, 1)
        terminate(context, ids)
        assert control.requests()[0]["params"] == {"ID": ids[0]}

    @pytest.mark.parametrize("form", [list, tuple, str, json.dumps, iter])
    def test_ids_may_come_in_any_form(self, control: Control, context: Any, form: Any) -> None:
        ids = add(control, 3)
        assert terminate(context, form(ids))["ended_ids"] == ids

    @pytest.mark.parametrize("form", [list, str])
    def test_the_rows_of_a_list_task_are_ids_too(self, control: Control, context: Any, form: Any) -> None:
        ids = add(control, 3, OWNED_UNTIL="2026-01-01T00:00:00Z")
        rows = ListWorkflowsOperator(task_id="list").execute(context)
        assert sorted(terminate(context, form(rows))["ended_ids"]) == ids

    def test_a_text_from_a_template_is_rendered_first(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        operator = TerminateWorkflowOperator(task_id="end", workflow_id="{{ found }}", status="by {{ who }}")
        render(operator, found=ids, who="me")
        assert operator.execute(context)["ended_ids"] == ids
        assert {row["status_text"] for row in control.state()["bitrix24"]["workflows"].values()} == {"by me"}

    def test_an_empty_list_is_a_job_that_is_done(self, control: Control, context: Any) -> None:
        add(control, 1)
        nothings: list[Any] = ["[]", []]
        for nothing in nothings:
            assert terminate(context, nothing)["requested"] == 0
        assert control.requests() == []
        assert set(states(control).values()) == {"running"}


class TestWhatDoesNotRun:
    @pytest.mark.parametrize("language", ["de", "ru", "en"])
    @pytest.mark.parametrize("behaviour", ["empty_code", "coded"])
    @pytest.mark.parametrize("count", [1, 3])
    def test_it_is_already_ended_whatever_the_portal_says_of_it(
        self, control: Control, context: Any, language: str, behaviour: str, count: int
    ) -> None:
        control.configure(language=language, terminate_unknown=behaviour, kill_unknown=behaviour)
        ids = add(control, count)
        control.finish_workflows(ids)
        for operator in (TerminateWorkflowOperator, KillWorkflowOperator):
            report = operator(task_id="end", workflow_id=[*ids, UNKNOWN]).execute(context)
            assert report["already_ended_ids"] == [*ids, UNKNOWN]
            assert (report["ended_ids"], report["failed"]) == ([], 0)
        assert set(states(control).values()) == {"finished"}

    def test_a_second_run_of_the_same_task_changes_nothing(self, control: Control, context: Any) -> None:
        ids = add(control, 60)
        assert sorted(terminate(context, ids)["ended_ids"]) == ids
        assert sorted(terminate(context, ids)["already_ended_ids"]) == ids
        assert len(control.journal("terminate")) == 60

    def test_dead_unknown_and_running_ones_are_told_apart(self, control: Control, context: Any) -> None:
        ids = add(control, 4)
        control.finish_workflows(ids[:1])
        terminate(context, ids[1])
        report = terminate(context, [*ids, UNKNOWN])
        assert report["ended_ids"] == ids[2:]
        assert report["already_ended_ids"] == [ids[0], ids[1], UNKNOWN]
        assert (report["requested"], report["failed"]) == (5, 0)


class TestRefused:
    @pytest.mark.parametrize("nothing", [None, "", "  ", "None", "{{ ids }}", [None], ["", "x"], {}, 7])
    def test_nothing_where_an_id_should_be(self, control: Control, context: Any, nothing: Any) -> None:
        ids = add(control, 1)
        with refused(ArgumentError, match="workflow_id"):
            terminate(context, nothing)
        assert (control.requests(), states(control)) == ([], {ids[0]: "running"})

    @pytest.mark.parametrize("bad", ["a b", "a,b", "66e412fdc9bd44/36306599", "../1", "x" * 33, "66e4%2e"])
    def test_a_misshapen_id_among_good_ones_before_anything_is_sent(
        self, control: Control, context: Any, bad: str
    ) -> None:
        ids = add(control, 60)
        with pytest.raises(ValueError, match="is not a workflow id such as"):
            terminate(context, [*ids, bad])
        assert control.requests() == []
        assert set(states(control).values()) == {"running"}


class TestPartialFailure:
    def test_the_report_is_pushed_before_the_task_fails(self, control: Control, context: Any, ti: TaskInstance) -> None:
        ids = add(control, 3)
        control.inject("error", method=TERMINATE, id=ids[1], times=None, code="ERROR_CORE_X", description="Kaputt")
        with refused(NotAllEndedError, match=f"1 of 4 could not be ended: {ids[1]}: .*Kaputt") as failed:
            terminate(context, [*ids, UNKNOWN])
        assert states(control) == {ids[0]: "terminated", ids[1]: "running", ids[2]: "terminated"}
        report = ti.xcoms["return_value"]
        assert (report["ended_ids"], report["already_ended_ids"]) == ([ids[0], ids[2]], [UNKNOWN])
        assert failed_ids(report) == [ids[1]]
        assert failed.value.failures == report["failures"]

    def test_the_next_try_ends_what_the_first_could_not(self, control: Control, context: Any) -> None:
        ids = add(control, 3)
        control.inject("error", method=TERMINATE, id=ids[1], code="ERROR_CORE_X")
        with refused(NotAllEndedError):
            terminate(context, ids)
        report = terminate(context, ids)
        assert (report["ended_ids"], sorted(report["already_ended_ids"])) == ([ids[1]], [ids[0], ids[2]])

    def test_the_text_names_one_of_many_with_the_same_reason(self, control: Control, context: Any) -> None:
        ids = add(control, 60)
        control.inject("error", method=TERMINATE, times=None, code="ERROR_CORE_X")
        with refused(NotAllEndedError, match=r"60 of 60 could not be ended: \S+ and 59 more: .*CORE_X"):
            terminate(context, ids)

    @pytest.mark.parametrize(
        ("settings", "error"),
        [
            ({"webhook_known": False}, AuthenticationError),
            ({"is_admin": False}, NotAdministratorError),
            ({"scopes": ["task"]}, ScopeError),
            ({"has_bizproc": False}, MethodNotFoundError),
            ({"commercial_plan": False}, NotAdministratorError),
        ],
    )
    @pytest.mark.parametrize("count", [1, 3, 60])
    def test_a_portal_that_does_not_let_it_in_is_one_error_for_all(
        self, control: Control, context: Any, ti: TaskInstance, settings: Any, error: type[ApiError], count: int
    ) -> None:
        ids = add(control, count)
        control.configure(**settings)
        with refused(error):
            terminate(context, ids)
        assert failed_ids(ti.xcoms["return_value"]) == ids
        assert set(states(control).values()) == {"running"}
        assert len(control.requests()) <= FIRST

    def test_no_portal_at_all_is_told_as_such(
        self, control: Control, connect: Any, context: Any, ti: TaskInstance
    ) -> None:
        connect("BITRIX24_DEFAULT", login="1", password="sim0webhook0code", port=1)
        with pytest.raises(NotConnectedError, match="nothing listens"):
            terminate(context, UNKNOWN)
        assert failed_ids(ti.xcoms["return_value"]) == [UNKNOWN]

    def test_a_renamed_portal_is_told_and_not_followed(self, control: Control, context: Any, ti: TaskInstance) -> None:
        ids = add(control, 2)
        control.inject("redirect", times=None, location="https://new.bitrix24.com/rest/1/sim0webhook0code/batch")
        with refused(RedirectedError, match=r"redirected to new\.bitrix24\.com") as moved:
            terminate(context, ids)
        assert "sim0webhook0code" not in str(moved.value) + str(ti.xcoms)
        assert set(states(control).values()) == {"running"}

    def test_a_limit_that_is_never_lifted_fails_those_that_are_left(
        self, control: Control, context: Any, ti: TaskInstance
    ) -> None:
        ids = add(control, 120)
        control.inject("refused", method="batch", skip=1, times=None)
        with pytest.raises(NotAllEndedError):
            terminate(context, ids)
        report = ti.xcoms["return_value"]
        assert sorted([*report["ended_ids"], *failed_ids(report)]) == ids
        assert {id for id, state in states(control).items() if state == "running"} == set(failed_ids(report))


class TestFaults:
    @pytest.mark.parametrize("count", [1, 120])
    @pytest.mark.parametrize(
        ("fault", "options"),
        [
            ("lost_before", {}),
            ("lost_after", {}),
            ("error_500", {"done": False}),
            ("error_500", {"done": True}),
            ("html", {"status": 500}),
            ("html", {"status": 502, "done": True}),
            ("html", {"status": 200, "done": True}),
            ("truncated", {}),
            ("empty_body", {}),
            ("empty_body", {"done": False}),
            ("refused", {}),
            ("cut_after_commands", {"n": 2}),
            ("missing_key", {"index": 1, "done": True}),
            ("missing_key", {"index": 0, "done": False}),
            ("operating_limit", {}),
        ],
    )
    def test_whatever_breaks_twice_in_a_row_each_is_ended_once(
        self, control: Control, context: Any, count: int, fault: str, options: dict
    ) -> None:
        ids = add(control, count)
        method = TERMINATE if fault == "operating_limit" or count == 1 else "batch"
        control.inject(fault, method=method, times=2, **options)
        report = terminate(context, ids)
        of_batches = fault in {"cut_after_commands", "missing_key"}
        assert any(entry["fault"] == fault for entry in control.requests()) is not (of_batches and count == 1)
        assert set(states(control).values()) == {"terminated"}
        assert sorted(report["ended_ids"]) == ids
        assert sorted(effect["id"] for effect in control.journal("terminate")) == ids

    def test_a_reply_that_is_always_lost_ends_each_once(self, control: Control, context: Any) -> None:
        ids = add(control, 60)
        control.inject("lost_after", containing=TERMINATE, times=None)
        control.inject("lost_after", method=TERMINATE, times=None)
        assert sorted(terminate(context, ids)["ended_ids"]) == ids
        assert len(control.journal("terminate")) == 60

    def test_while_a_refused_request_waits_time_passes_and_grows(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        ids = add(control, 1)
        control.inject("refused", times=5)
        assert terminate(context, ids)["ended_ids"] == ids
        assert sum(clock.naps) >= 0.5 * (1 + 2 + 4 + 8 + 16)

    def test_a_rate_limit_that_never_ends_is_an_error(self, control: Control, context: Any) -> None:
        ids = add(control, 1)
        control.inject("refused", times=None)
        with pytest.raises(RateLimitError):
            terminate(context, ids)
        assert states(control) == {ids[0]: "running"}


def test_one_workflow_is_linked_to_before_anything_can_fail(control: Control, context: Any, ti: TaskInstance) -> None:
    control.configure(is_admin=False)
    with refused(NotAdministratorError):
        terminate(context, UNKNOWN)
    assert ti.xcoms["_link_WorkflowLink"].endswith(f"/company/personal/bizproc/{UNKNOWN}/")
