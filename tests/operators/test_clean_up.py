"""Bulk clean-up, and the guards that keep it from ending more than was asked for."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred, TaskGroup

from airflow_provider_workflows.bitrix24.clean_up import CleanUp, TooManyWorkflowsError
from airflow_provider_workflows.bitrix24.employees import EmployeeError
from airflow_provider_workflows.bitrix24.errors import NotAdministratorError, OperatingTimeLimitError, OverloadError
from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpEmployeeWorkflowsOperator,
    CleanUpWorkflowsOperator,
)
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from airflow_provider_workflows.testing.tasks import revive
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import resume
from tests.operators.remote import TaskInstance, VirtualTime, failed_ids, refused, render
from tests.operators.test_reports import Store

OLD = {"STARTED": "2025-06-01T00:00:00Z", "TEMPLATE_ID": 7}
NEW = {"STARTED": (datetime.now(UTC) - timedelta(days=20)).isoformat(timespec="seconds"), "TEMPLATE_ID": 8}


def clean_up(context: Any, **arguments: Any) -> dict[str, Any]:
    """Run a task that cleans up."""
    task = CleanUpWorkflowsOperator(task_id="clean_up", **{"filters": {"TEMPLATE_ID": 7}} | arguments)
    report: dict[str, Any] = json.loads(json.dumps(task.execute(context)))
    return report


def states(control: Control) -> list[str]:
    """Return the states of all workflows."""
    return [row["state"] for row in control.state()["bitrix24"]["workflows"].values()]


class TestReport:
    def test_tells_what_was_ended_by_template_and_age(self, control: Control, context: Any) -> None:
        ids = control.add_workflows([OLD] * 3 + [{**NEW, "TEMPLATE_ID": 7}] * 2 + [NEW])
        report = clean_up(context)
        assert (report["requested"], sorted(report["ended_ids"])) == (5, sorted(ids[:5]))
        assert report["by_template"] == {"7": 5}
        assert report["by_age"]["over a year"] == 3
        assert [one["id"] for one in report["sample"]] == sorted(ids[:3]) + sorted(ids[3:5])
        assert (report["requests"], report["refusals"], report["paused_seconds"]) == (3, 0, 0.0)
        assert (report["appeared"], report["dry_run"], report["failed"]) == ([], False, 0)

    def test_nothing_that_matches_is_fine(self, control: Control, context: Any) -> None:
        control.add_workflows([NEW])
        report = clean_up(context)
        assert (report["requested"], report["ended_ids"], len(control.requests())) == (0, [], 1)

    def test_a_sample_is_short(self, control: Control, context: Any) -> None:
        control.add_workflows([OLD] * 120)
        assert len(clean_up(context, dry_run=True)["sample"]) == 20


class TestDryRun:
    @pytest.mark.parametrize("dry_run", [True, "True", "{{ wanted }}"])
    @pytest.mark.parametrize("action", ["terminate", "kill"])
    def test_shows_what_would_be_ended_and_ends_nothing(
        self, control: Control, context: Any, dry_run: Any, action: Literal["terminate", "kill"]
    ) -> None:
        control.add_workflows([OLD] * 60 + [NEW] * 10)
        task = CleanUpWorkflowsOperator(
            task_id="clean_up", filters={"TEMPLATE_ID": 7}, action=action, dry_run=dry_run, max_workflows=5
        )
        render(task, wanted=True)
        report = task.execute(context)
        assert (report["requested"], report["ended_ids"], report["dry_run"]) == (60, [], True)
        assert control.journal() == []

    @pytest.mark.parametrize("dry_run", ["", "None", "yes", None])
    def test_what_is_neither_true_nor_false_is_refused(self, control: Control, context: Any, dry_run: Any) -> None:
        control.add_workflows([OLD])
        with pytest.raises(ValueError, match="dry_run must be True or False"):
            clean_up(context, dry_run=dry_run)
        assert control.requests() == []


class TestGuards:
    @pytest.mark.parametrize("filters", [None, {}])
    def test_an_empty_filter_is_refused(self, control: Control, context: Any, filters: Any) -> None:
        control.add_workflows([OLD, NEW])
        with pytest.raises(FilterError, match="all_workflows=True"):
            clean_up(context, filters=filters)
        assert control.requests() == []

    def test_an_empty_filter_ends_all_if_that_is_said(self, control: Control, context: Any) -> None:
        control.add_workflows([OLD, NEW])
        clean_up(context, filters=None, all_workflows=True)
        assert states(control) == ["terminated", "terminated"]

    @pytest.mark.parametrize("most", [2, "2"])
    def test_more_than_may_be_ended_means_that_none_is(self, control: Control, context: Any, most: Any) -> None:
        control.add_workflows([OLD] * 3)
        with refused(TooManyWorkflowsError, match=r"3 workflows match, more than max_workflows=2; none was"):
            clean_up(context, max_workflows=most)
        assert control.journal() == []

    def test_as_many_as_may_be_ended_are(self, control: Control, context: Any) -> None:
        control.add_workflows([OLD] * 3)
        assert len(clean_up(context, max_workflows=3)["ended_ids"]) == 3

    @pytest.mark.parametrize("most", [0, -1, "many", True])
    def test_a_bound_that_is_no_number_is_refused(self, control: Control, context: Any, most: Any) -> None:
        with pytest.raises(ValueError, match="max_workflows"):
            clean_up(context, max_workflows=most)
        assert control.requests() == []

    def test_none_in_partial_is_no_bound_for_any_map_index(self, control: Control, context: Any) -> None:
        ids = control.add_workflows([OLD, NEW])
        with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)), TaskGroup("cleaning"):
            mapped: Any = CleanUpWorkflowsOperator.partial(
                task_id="clean_up", max_workflows=None, record_path=None, stuck_for=None
            ).expand(filters=[{"TEMPLATE_ID": 7}, {"TEMPLATE_ID": 8}])
        ended = [mapped.unmap({"filters": {"TEMPLATE_ID": one}}).execute(context)["ended_ids"] for one in (7, 8)]
        assert ended == [[one] for one in ids]

    def test_none_that_comes_instead_of_a_bound_in_partial_is_refused(self, control: Control, context: Any) -> None:
        index = {"filters": {"TEMPLATE_ID": 7}, "max_workflows": None}
        with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
            mapped: Any = CleanUpWorkflowsOperator.partial(task_id="clean_up", max_workflows=2).expand_kwargs(
                [index], strict=False
            )
        with refused(ArgumentError, match="max_workflows was given, but is None.*leave it out"):
            mapped.unmap(index).execute(context)
        assert control.requests() == []

    @pytest.mark.parametrize(
        "wide",
        [
            {"filters": {"MODULE_ID": "crm"}},
            {"filters": {"!TEMPLATE_ID": 8}},
            {"filters": None, "stuck_for": timedelta(minutes=5)},
            {"filters": None, "all_workflows": True},
        ],
    )
    def test_kill_needs_a_template_a_date_or_an_id(self, control: Control, context: Any, wide: Any) -> None:
        control.add_workflows([OLD, NEW])
        with pytest.raises(FilterError, match="must name a TEMPLATE_ID, an ID or a date"):
            clean_up(context, action="kill", **wide)
        assert control.requests() == []

    @pytest.mark.parametrize("narrow", [{"TEMPLATE_ID": 7}, {"<STARTED": "2026-01-01"}])
    def test_kill_erases_what_was_named(self, control: Control, context: Any, narrow: Any) -> None:
        control.add_workflows([OLD, NEW])
        clean_up(context, action="kill", filters=narrow)
        assert sorted(states(control)) == ["killed", "running"]

    def test_an_action_that_does_not_exist_is_refused(self, control: Control, context: Any) -> None:
        with pytest.raises(ValueError, match="action must be 'terminate' or 'kill'"):
            clean_up(context, action="cancel")

    def test_kill_leaves_no_record_to_show_a_status_on(self, control: Control, context: Any) -> None:
        with pytest.raises(ValueError, match="status goes with action 'terminate'"):
            clean_up(context, action="kill", status="Ended")

    def test_a_misspelt_field_ends_nothing(self, control: Control, context: Any) -> None:
        control.add_workflows([OLD])
        with pytest.raises(FilterError, match="TEMPLATEID"):
            clean_up(context, filters={"TEMPLATEID": 7})
        assert control.requests() == []


class TestMeanwhile:
    def test_one_that_starts_meanwhile_is_left_and_reported(
        self, control: Control, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = control.add_workflows([OLD] * 3)
        late: list[str] = []
        nap = clock.sleep

        def meanwhile(seconds: float, until: Any) -> None:
            nap(seconds)
            late.extend(control.add_workflows([{"TEMPLATE_ID": 7}]))

        monkeypatch.setattr(clock, "sleep", meanwhile)
        # The portal refuses the first attempt to end them, and while the task waits another one starts.
        control.inject("refused", method="batch")
        report = clean_up(context)
        assert (sorted(report["ended_ids"]), sorted(report["appeared"])) == (sorted(ids), sorted(late))
        assert late
        rows = control.state()["bitrix24"]["workflows"]
        assert {rows[id]["state"] for id in late} == {"running"}

    def test_a_retry_goes_on_with_what_is_left(self, control: Control, context: Any, ti: TaskInstance) -> None:
        ids = control.add_workflows([OLD] * 60)
        control.inject("error", method="bizproc.workflow.terminate", id=ids[4], status=400, code="", description="Nein")
        with refused(NotAllEndedError, match="Nein"):
            clean_up(context)
        assert set(failed_ids(ti.xcoms["return_value"])) == {ids[4]}
        assert clean_up(context)["ended_ids"] == [ids[4]]
        assert set(states(control)) == {"terminated"}

    def test_a_portal_under_overload_is_not_tried_again(self, control: Control, context: Any, clock: Any) -> None:
        control.add_workflows([OLD])
        control.configure(overload=True)
        with refused(OverloadError, match="Only Bitrix24's support can lift this block"):
            clean_up(context)
        assert (len(control.requests()), clock.naps) == (1, [])


class TestAtTheLimits:
    @pytest.mark.parametrize("model", ["documented", "ban"])
    def test_a_method_whose_running_time_is_used_up_is_paused_with_the_time_it_goes_on(
        self, control: Control, context: Any, clock: VirtualTime, caplog: pytest.LogCaptureFixture, model: str
    ) -> None:
        control.generate_workflows(600, templates=1)
        control.configure(operating_model=model, operating_limit=480.0, operating_per_command=2.0)
        report = clean_up(context, filters={">TEMPLATE_ID": 0})
        assert report["ended"] == 600
        assert report["paused_seconds"] >= 60
        assert any(record.levelname == "WARNING" and "going on at" in record.message for record in caplog.records)

    def test_a_batch_that_was_cut_is_followed_by_shorter_ones(
        self, control: Control, context: Any, clock: VirtualTime, connect: Callable[..., None]
    ) -> None:
        ids = control.add_workflows([OLD] * 150)
        for _ in range(2):
            control.inject("cut_after_commands", n=20, containing="bizproc.workflow.terminate")
        report = clean_up(context)
        assert sorted(report["ended_ids"]) == sorted(ids)
        sizes = [
            len(entry["commands"])
            for entry in control.requests(method="batch")
            if entry["commands"][0][1] == "bizproc.workflow.terminate"
        ]
        assert max(sizes) == 50
        assert min(sizes[3:]) < 50


class TestEmployee:
    @pytest.fixture
    def gone(self, control: Control) -> list[str]:
        """Put a dismissed employee into the portal; give the workflows that wait for him."""
        control.add_users(
            [
                {"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False},
                {"ID": "10", "NAME": "Eve", "LAST_NAME": "Here", "ACTIVE": True},
                {"ID": "11", "NAME": "Tom", "LAST_NAME": "Twin", "ACTIVE": False},
                {"ID": "12", "NAME": "Tom", "LAST_NAME": "Twin", "ACTIVE": False},
            ]
        )
        ids = control.add_workflows([OLD] * 130)
        other = control.add_workflows([NEW] * 5)
        tasks = [{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in [*ids, *ids[:20]]]
        tasks += [{"WORKFLOW_ID": id, "USER_ID": 10, "STATUS": 0} for id in other[:3]]
        tasks += [{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 1} for id in other[3:]]
        control.add_tasks(tasks)
        return ids

    @pytest.mark.parametrize("who", [{"user_id": 9}, {"user_id": "9"}, {"name": "Bob", "last_name": "Gone"}])
    def test_the_workflows_that_wait_for_him_are_ended_from_all_pages(
        self, control: Control, context: Any, gone: list[str], who: Any
    ) -> None:
        report = CleanUpEmployeeWorkflowsOperator(task_id="clean_up", **who).execute(context)
        assert sorted(report["ended_ids"]) == sorted(gone)
        rows = control.state()["bitrix24"]["workflows"]
        assert {id for id, row in rows.items() if row["state"] == "terminated"} == set(gone)

    def test_a_dry_run_ends_nothing(self, control: Control, context: Any, gone: list[str]) -> None:
        report = CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9, dry_run=True).execute(context)
        assert (report["requested"], control.journal()) == (130, [])

    def test_a_name_forges_no_line_of_the_log(
        self, control: Control, context: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        forged = "Gone\r\n[2026-01-01] INFO - Marking task as SUCCESS\x1b[2K\u2028\u202e"
        control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": forged, "ACTIVE": False}])
        with caplog.at_level("DEBUG"):
            CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9).execute(context)
        told = caplog.text + "".join(capfd.readouterr())
        assert "Bob Gone\\r\\n[2026-01-01]" in told
        assert [mark for mark in ("\n[2026-01-01]", "\x1b[2K", "\u2028", "\u202e") if mark in told] == []

    def test_more_than_may_be_ended_means_that_none_is(self, control: Control, context: Any, gone: list[str]) -> None:
        with refused(TooManyWorkflowsError):
            CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9, max_workflows=129).execute(context)
        assert control.journal() == []

    @pytest.mark.parametrize(
        ("who", "error"),
        [
            ({"user_id": 10}, "is active"),
            ({"user_id": 99}, "0 dismissed employees have the id 99"),
            ({"name": "Eve", "last_name": "Here"}, "0 dismissed employees have the name Eve Here"),
            (
                {"name": "Tom", "last_name": "Twin"},
                "2 dismissed employees have the name Tom Twin: 11, 12",
            ),
        ],
    )
    def test_who_is_not_one_dismissed_employee_is_refused(
        self, control: Control, context: Any, gone: list[str], who: Any, error: str
    ) -> None:
        with refused(EmployeeError, match=error):
            CleanUpEmployeeWorkflowsOperator(task_id="clean_up", **who).execute(context)
        assert control.journal() == []

    @pytest.mark.parametrize("who", [{}, {"name": "Bob"}, {"user_id": 9, "name": "Bob", "last_name": "Gone"}])
    def test_who_is_meant_must_be_said_in_one_way(self, control: Control, context: Any, who: Any) -> None:
        with pytest.raises(ValueError, match="give either user_id, or name and last_name"):
            CleanUpEmployeeWorkflowsOperator(task_id="clean_up", **who).execute(context)
        assert control.requests() == []


class TestLongPauses:
    """A portal that blocks ``terminate`` for minutes, after so many batches."""

    @staticmethod
    def run_through(
        context: Any, clock: VirtualTime, meanwhile: Callable[[], object] = lambda: None, **arguments: Any
    ) -> tuple[dict[str, Any], list[float]]:
        """Run a task through its pauses, in a new worker after each.

        :returns: its report, and how long each pause was.
        """
        pauses: list[float] = []

        def make() -> CleanUpWorkflowsOperator:
            given: dict[str, Any] = {"filters": {"TEMPLATE_ID": 7}, "deferrable": True} | arguments
            return CleanUpWorkflowsOperator(task_id="clean_up", **given)

        try:
            report: dict[str, Any] = make().execute(context)
            return report, pauses
        except TaskDeferred as first:
            deferred = first
        while True:
            trigger: Any = revive(deferred.trigger)
            pauses.append(trigger.until - clock.time())
            clock.sleep(pauses[-1] + 1)
            meanwhile()
            try:
                report = resume(make, context, deferred, {"status": "success", "checkpoint": trigger.checkpoint})
                return report, pauses
            except TaskDeferred as later:
                deferred = later

    @pytest.mark.parametrize("blocked", ["bizproc.workflow.terminate", "batch"])
    @pytest.mark.parametrize("batches_before", [0, 1, 3])
    def test_are_spent_in_the_triggerer_and_the_work_goes_on_where_it_was(
        self, control: Control, context: Any, clock: VirtualTime, blocked: str, batches_before: int
    ) -> None:
        ids = control.add_workflows([OLD] * 300)
        skip = batches_before * (50 if blocked != "batch" else 1)
        control.inject("operating_limit", method=blocked, skip=skip)
        report, pauses = self.run_through(context, clock)
        assert pauses == [pytest.approx(300, abs=60)]
        assert (sorted(report["ended_ids"]), report["failed"], report["already_ended_ids"]) == (sorted(ids), 0, [])
        assert Counter(entry["id"] for entry in control.journal()) == dict.fromkeys(ids, 1)
        assert report["requested"] == 300
        assert report["by_template"] == {"7": 300}
        assert report["paused_seconds"] >= 240
        assert report["requests"] == len(control.requests())

    def test_one_that_starts_during_a_pause_is_left_and_reported(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        ids = control.add_workflows([OLD] * 120)
        control.inject("operating_limit", method="bizproc.workflow.terminate", skip=50)
        new: list[str] = []
        report, _ = self.run_through(context, clock, lambda: new.extend(control.add_workflows([{"TEMPLATE_ID": 7}])))
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert report["appeared"] == new
        assert states(control).count("running") == 1

    def test_one_that_ends_by_itself_during_a_pause_was_ended_already(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        ids = control.add_workflows([OLD] * 50)
        control.inject("operating_limit", method="bizproc.workflow.terminate", times=50)
        report, _ = self.run_through(context, clock, lambda: control.finish_workflows(ids[:5]))
        assert sorted(report["already_ended_ids"]) == sorted(ids[:5])
        assert sorted(report["ended_ids"]) == sorted(ids[5:])

    def test_a_pause_of_the_first_list_starts_it_again(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        ids = control.add_workflows([OLD] * 10)
        control.inject("operating_limit", method="bizproc.workflow.instances")
        report, pauses = self.run_through(context, clock)
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert len(pauses) == 1

    def test_a_pause_of_the_last_list_ends_nothing_twice(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        ids = control.add_workflows([OLD] * 10)
        control.inject("operating_limit", method="bizproc.workflow.instances", skip=1)
        report, _ = self.run_through(context, clock)
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert len(control.journal()) == 10

    def test_short_pauses_stay_in_the_worker(self, control: Control, context: Any, clock: VirtualTime) -> None:
        control.add_workflows([OLD] * 10)
        control.inject("refused", times=3)
        _, pauses = self.run_through(context, clock)
        assert pauses == []

    def test_without_deferring_the_worker_waits(self, control: Control, context: Any, clock: VirtualTime) -> None:
        ids = control.add_workflows([OLD] * 10)
        control.inject("operating_limit", method="bizproc.workflow.terminate")
        began = clock.time()
        report, pauses = self.run_through(context, clock, deferrable=False)
        assert (sorted(report["ended_ids"]), pauses) == (sorted(ids), [])
        assert clock.time() - began >= 290

    @pytest.mark.parametrize("event", [None, {}, {"status": "done"}])
    def test_an_event_that_is_not_ours_fails_the_task(self, control: Control, context: Any, event: Any) -> None:
        control.add_workflows([OLD] * 10)
        control.inject("operating_limit", method="bizproc.workflow.terminate")
        task = CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 7}, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context)
        with pytest.raises(WaitFailedError):
            resume(lambda: task, context, deferred.value, event)


def pause(context: Any, make: Callable[[], Any]) -> tuple[TaskDeferred, Any]:
    """Run a task up to its pause; give what Airflow is told, and the event with which it goes on."""
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(context)
    trigger: Any = revive(deferred.value.trigger)
    return deferred.value, {"status": "success", "checkpoint": trigger.checkpoint}


class TestGoingOn:
    """After a pause nothing is trusted that users can edit, and nothing is ended that was not listed again."""

    @staticmethod
    def make(**arguments: Any) -> CleanUpWorkflowsOperator:
        given: dict[str, Any] = {"filters": {"TEMPLATE_ID": 7}, "deferrable": True} | arguments
        return CleanUpWorkflowsOperator(task_id="clean_up", **given)

    def test_edited_xcoms_change_nothing(
        self, control: Control, context: Any, ti: TaskInstance, clock: VirtualTime
    ) -> None:
        control.add_workflows([OLD])
        others = control.add_workflows([NEW] * 5)
        control.inject("operating_limit", method="bizproc.workflow.terminate")
        deferred, event = pause(context, lambda: self.make(max_workflows=1))
        control.finish_workflows([id for id in control.state()["bitrix24"]["workflows"] if id not in others])
        for key in [*ti.xcoms, "checkpoint"]:
            ti.xcoms[key] = {"so_far": {"left": others, "report": {}, "unknown": []}, "left": others, "totals": {}}
        clock.sleep(301)
        report = resume(lambda: self.make(max_workflows=1), context, deferred, event)
        assert (report["ended"], report["already_ended"], control.journal()) == (0, 1, [])
        assert states(control).count("running") == 5

    def test_what_matches_no_more_is_left_alone(self, control: Control, context: Any, clock: VirtualTime) -> None:
        ids = control.add_workflows([{**OLD, "OWNED_UNTIL": "2026-01-01T00:00:00Z"}] * 40)
        control.inject("operating_limit", method="bizproc.workflow.terminate", times=40)
        stuck = {"stuck_for": timedelta(hours=1)}
        deferred, event = pause(context, lambda: self.make(**stuck))
        control.change_workflows(ids[:10], OWNED_UNTIL=None)
        clock.sleep(301)
        report = resume(lambda: self.make(**stuck), context, deferred, event)
        assert (report["requested"], report["ended"], report["moved_on"]) == (40, 30, 10)
        assert {entry["id"] for entry in control.journal()} == set(ids[10:])

    def test_more_than_may_be_ended_stop_it_there(
        self, control: Control, context: Any, ti: TaskInstance, clock: VirtualTime
    ) -> None:
        control.add_workflows([OLD] * 100)
        control.inject("operating_limit", method="bizproc.workflow.terminate", skip=50, times=50)
        deferred, event = pause(context, lambda: self.make(max_workflows=110))
        control.add_workflows([OLD] * 20)
        clock.sleep(301)
        ended = len(control.journal())
        with refused(TooManyWorkflowsError, match=f"120 workflows match, .* {ended} of them were ended"):
            resume(lambda: self.make(max_workflows=110), context, deferred, event)
        assert len(control.journal()) == ended
        assert (ti.xcoms["return_value"]["ended"], ti.xcoms["return_value"]["requested"]) == (ended, 100)

    def test_an_employee_who_cannot_be_told_any_more_keeps_his_workflows(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
        ids = control.add_workflows([OLD] * 10)
        control.add_tasks([{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in ids])
        control.inject("operating_limit", method="bizproc.workflow.terminate", times=10)

        def make() -> CleanUpEmployeeWorkflowsOperator:
            return CleanUpEmployeeWorkflowsOperator(task_id="clean_up", name="Bob", last_name="Gone", deferrable=True)

        deferred, event = pause(context, make)
        control.add_users([{"ID": "10", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
        clock.sleep(301)
        with refused(EmployeeError, match="2 dismissed employees"):
            resume(make, context, deferred, event)
        assert control.journal() == []

    def test_ids_that_cannot_be_ids_are_refused(self) -> None:
        saved = CleanUp().save()
        with pytest.raises(ValueError, match="is not a workflow id"):
            CleanUp.load(saved | {"left": ["../../../user.get"]})

    def test_what_is_kept_is_small_however_many_there_are(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        control.generate_workflows(20_000, templates=300)
        control.configure(bucket_capacity=1000, bucket_drain=1000)
        control.inject("operating_limit", method="bizproc.workflow.terminate", skip=5000, times=1000)
        _, event = pause(context, lambda: self.make(filters={">TEMPLATE_ID": 0}))
        assert len(event["checkpoint"]) < 40_000
        assert "checkpoint" not in context["ti"].xcoms

    def test_the_report_is_there_while_it_is_deferred(self, control: Control, context: Any, ti: TaskInstance) -> None:
        control.add_workflows([OLD] * 100)
        control.inject("operating_limit", method="bizproc.workflow.terminate", skip=50, times=50)
        pause(context, self.make)
        assert (ti.xcoms["return_value"]["requested"], ti.xcoms["return_value"]["ended"]) == (
            100,
            len(control.journal()),
        )


class TestGivingUp:
    """A portal that blocks a method: for good, or whenever its running time is used up."""

    @staticmethod
    def through(context: Any, clock: VirtualTime, **arguments: Any) -> tuple[Any, float, int]:
        """Run a task; give its report or error, how long it took, and how often it was deferred."""
        began, deferrals = clock.time(), 0

        def make() -> CleanUpWorkflowsOperator:
            given: dict[str, Any] = {"filters": {">TEMPLATE_ID": 0}} | arguments
            return CleanUpWorkflowsOperator(task_id="clean_up", **given)

        def run() -> Any:
            nonlocal deferrals
            deferred: TaskDeferred | None = None
            while True:
                try:
                    if deferred is None:
                        return make().execute(context)
                    trigger: Any = revive(deferred.trigger)
                    clock.sleep(trigger.until - clock.time() + 1)
                    return resume(make, context, deferred, {"status": "success", "checkpoint": trigger.checkpoint})
                except TaskDeferred as again:
                    deferred, deferrals = again, deferrals + 1
                    assert deferrals < 50
                except Exception as error:
                    return error

        outcome = run()
        return outcome, clock.time() - began, deferrals

    @pytest.mark.parametrize("method", ["bizproc.workflow.terminate", "bizproc.workflow.instances", "batch"])
    def test_a_method_that_is_blocked_for_good_is_given_up_in_the_triggerer_as_in_the_worker(
        self, control: Control, context: Any, clock: VirtualTime, method: str
    ) -> None:
        control.add_workflows([OLD] * 120)
        control.inject("operating_limit", method=method, times=None)
        in_worker, worked, _ = self.through(context, clock, deferrable=False)
        deferred, waited, deferrals = self.through(context, clock, deferrable=True)
        assert type(in_worker) is type(deferred)
        assert isinstance(deferred, OperatingTimeLimitError)
        assert waited == pytest.approx(worked, abs=650)
        assert 1 <= deferrals <= RETRY_TIMEOUT / 300 + 1
        assert control.journal() == []

    def test_a_list_that_takes_longer_than_the_method_may_run_is_read_in_parts(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        control.generate_workflows(20_000, templates=3)
        control.configure(
            bucket_capacity=1000,
            bucket_drain=1000,
            operating_model="documented",
            operating_limit=480.0,
            operating_by_method={"bizproc.workflow.instances": 1.5},
        )
        report, _, deferrals = self.through(context, clock, deferrable=True)
        assert (report["requested"], report["ended"], report["failed"]) == (20_000, 20_000, 0)
        assert sum(report["by_template"].values()) == 20_000
        assert len(control.journal()) == 20_000
        # The list is read until it is stopped, then once in parts, then again to end them.
        assert deferrals <= 2 + 2 * (400 * 1.5) / 480 + 1


class TestTheAccount:
    """Whatever ends the task, it is known what it was about to end, and what it has ended."""

    def test_before_the_first_is_ended_the_log_tells_what_is_about_to_be(
        self, control: Control, context: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = control.add_workflows([OLD] * 3)
        control.inject("error", method="batch", status=403, code="ACCESS_DENIED")
        with caplog.at_level("INFO"), refused(NotAdministratorError):
            clean_up(context, action="kill")
        lines = [record.getMessage() for record in caplog.records]
        first = next(nth for nth, line in enumerate(lines) if "about to kill" in line)
        assert lines[first : first + 3] == [
            f"{control.url}: about to kill 3 running workflows of {{'TEMPLATE_ID': 7}}",
            "By template: 7: 3",
            "By age: over a year: 3",
        ]
        last = " ".join(line.strip() for line in lines[first + 3 : first + 5])
        assert sorted(last.removeprefix("The first: ").split(", ")) == sorted(ids)
        assert max(map(len, lines[first + 1 : first + 5])) <= 80
        assert control.journal() == []

    @pytest.mark.parametrize("action", ["terminate", "kill"])
    def test_a_second_list_that_is_refused_leaves_the_report(
        self, control: Control, context: Any, ti: TaskInstance, action: str
    ) -> None:
        ids = control.add_workflows([OLD] * 100)
        control.inject("error", method="bizproc.workflow.instances", status=403, code="ACCESS_DENIED", skip=2)
        with refused(NotAdministratorError):
            clean_up(context, action=action)
        report = ti.xcoms["return_value"]
        assert (report["requested"], report["ended"], report["failed"]) == (100, 100, 0)
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert clean_up(context, action=action)["requested"] == 0

    def test_killed_it_sends_nothing_new_and_leaves_the_report(
        self, control: Control, context: Any, ti: TaskInstance, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        control.add_workflows([OLD] * 600)
        control.configure(bucket_capacity=2, bucket_drain=1)
        connected(control, monkeypatch, bucket_capacity=2, bucket_drain=1)
        task = CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 7}, action="kill")
        nap = clock.sleep

        def and_be_killed(seconds: float, until: Any = None) -> None:
            if len(control.journal()) >= 100:
                task.on_kill()
            nap(seconds, until)

        monkeypatch.setattr(clock, "sleep", and_be_killed)
        with pytest.raises(NotAllEndedError):
            task.execute(context)
        killed, report = len(control.journal()), ti.xcoms["return_value"]
        assert 100 <= killed <= 350, "no more than what was under way"
        assert (report["requested"], report["ended"], report["failed"]) == (600, killed, 600 - killed)

    def test_the_record_tells_of_each_before_it_is_ended_and_afterwards(
        self, control: Control, context: Any, clock: VirtualTime, tmp_path: Path
    ) -> None:
        ids = control.add_workflows([{**OLD, "DOCUMENT_ID": "DEAL_5", "STARTED_BY": 3}] * 120)
        control.inject("operating_limit", method="bizproc.workflow.kill", skip=50, times=70)
        path = tmp_path / "record.jsonl"
        TestLongPauses.run_through(context, clock, action="kill", record_path=str(path))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        about = [line for line in lines if line["event"] == "about to end"]
        assert {line["id"] for line in about} == set(ids)
        assert {(line["template"], line["document"], line["started_by"]) for line in about} == {(7, "DEAL_5", 3)}
        assert Counter(line["id"] for line in lines if line["event"] == "ended") == dict.fromkeys(ids, 1)

    def test_of_an_employees_workflows_it_tells_the_same(self, control: Control, context: Any, tmp_path: Path) -> None:
        control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
        ids = control.add_workflows([{**OLD, "DOCUMENT_ID": "DEAL_5"}] * 3)
        control.add_tasks([{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in ids])
        path = tmp_path / "record.jsonl"
        CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9, record_path=str(path)).execute(context)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert {line["id"]: line["document"] for line in lines[:3]} == dict.fromkeys(ids, "DEAL_5")

    def test_a_retrys_report_holds_what_earlier_tries_have_ended(self, control: Control, context: Any) -> None:
        store: Any = context.setdefault("task_state_store", Store())
        ids = control.add_workflows([OLD] * 60)
        control.inject("error", method="bizproc.workflow.terminate", id=ids[4], status=400, code="", description="Nein")
        with refused(NotAllEndedError):
            clean_up(context, max_workflows=60)
        assert store
        report = clean_up(context, max_workflows=1)
        assert (report["requested"], report["ended"], sorted(report["ended_ids"])) == (60, 60, sorted(ids))


class TestWhatHasMovedOn:
    """A portal that is slow, so that the last come to their turn long after they were seen."""

    @pytest.fixture
    def slow(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> Control:
        """Return the control of a portal that takes a request each four seconds."""
        connected(control, monkeypatch, bucket_capacity=2, bucket_drain=0.25)
        return control

    def test_is_left_alone_and_what_has_ended_is_told_apart(
        self, slow: Control, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = slow.add_workflows([{**OLD, "OWNED_UNTIL": "2026-01-01T00:00:00Z"}] * 2000)
        last = sorted(ids)[-100:]
        nap = clock.sleep

        def and_others_work(seconds: float, until: Any = None) -> None:
            if len(slow.journal()) >= 500 and "done" not in done:
                done.append("done")
                slow.change_workflows(last[:30], OWNED_UNTIL=None)
                slow.finish_workflows(last[30:50])
            nap(seconds, until)

        done: list[str] = []
        monkeypatch.setattr(clock, "sleep", and_others_work)
        report = clean_up(context, stuck_for=timedelta(minutes=5))
        assert (report["requested"], report["ended"], report["failed"]) == (2000, 1950, 0)
        assert (report["moved_on"], report["already_ended"]) == (30, 20)
        rows = slow.state()["bitrix24"]["workflows"]
        assert {id for id, row in rows.items() if row["state"] == "running"} == set(last[:30])

    def test_costs_few_requests(self, slow: Control, context: Any) -> None:
        slow.add_workflows([OLD] * 3000)
        report = clean_up(context)
        assert report["ended"] == 3000
        # Some to list and 60 to end them; from the second minute on one more for each 500; one to look again.
        assert report["requests"] - report["refusals"] <= 4 + 60 + 6 + 1

    def test_in_the_first_minute_nothing_is_asked_again(self, control: Control, context: Any) -> None:
        control.add_workflows([OLD] * 2000)
        assert clean_up(context)["requests"] == 2 + 40 + 1

    def test_of_an_employee_is_checked_again_too(
        self, slow: Control, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
        ids = sorted(slow.add_workflows([OLD] * 1200))
        slow.add_tasks([{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in ids])
        nap = clock.sleep

        def and_some_end(seconds: float, until: Any = None) -> None:
            if len(slow.journal()) >= 300 and not ended:
                ended.extend(ids[-10:])
                slow.finish_workflows(ended)
            nap(seconds, until)

        ended: list[str] = []
        monkeypatch.setattr(clock, "sleep", and_some_end)
        report = CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9).execute(context)
        assert (report["requested"], report["ended"], report["failed"]) == (1200, 1190, 0)
        assert (sorted(report["already_ended_ids"]), report["moved_on"]) == (ended, 0)


def connected(control: Control, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
    """Have the connection know the portal's limits."""
    fields = json.loads(os.environ["AIRFLOW_CONN_BITRIX24_DEFAULT"]) | {"extra": json.dumps(limits)}
    monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", json.dumps(fields))
    control.configure(**limits)


class TestNew:
    def test_is_never_one_that_is_old_and_matches_only_now(
        self, control: Control, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = control.add_workflows([OLD] * 3)
        nap = clock.sleep

        def meanwhile(seconds: float, until: Any = None) -> None:
            nap(seconds, until)
            if len(ids) < 5:
                ids.extend(control.add_workflows([OLD]))

        monkeypatch.setattr(clock, "sleep", meanwhile)
        control.inject("refused", method="batch")
        report = clean_up(context)
        assert (report["appeared"], sorted(report["ended_ids"])) == ([], sorted(ids))

    def test_however_many_begin_to_match_it_comes_to_an_end(
        self, control: Control, context: Any, clock: VirtualTime, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connected(control, monkeypatch, bucket_capacity=2, bucket_drain=1)
        control.add_workflows([OLD] * 3)
        nap = clock.sleep

        def meanwhile(seconds: float, until: Any = None) -> None:
            nap(seconds, until)
            control.add_workflows([OLD])

        monkeypatch.setattr(clock, "sleep", meanwhile)
        with pytest.raises(NotAllEndedError, match="began to match while others were ended"):
            clean_up(context)
        report = ti.xcoms["return_value"]
        assert report["requested"] == report["ended"] + report["failed"]
