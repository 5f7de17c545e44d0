"""Lists while others end and start workflows, and ``stuck_for`` where the worker's clock is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpEmployeeWorkflowsOperator,
    CleanUpWorkflowsOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.simulator import Control

LIST = "bizproc.workflow.instances"
WHILE_EACH_PAGE_IS_READ: dict[str, Any] = {"method": LIST, "times": None}


def running(control: Control, **fields: Any) -> set[str]:
    """Return the ids of the workflows that run."""
    rows = control.state()["bitrix24"]["workflows"]
    return {id for id, row in rows.items() if row["state"] == "running" and fields.items() <= row.items()}


@pytest.mark.parametrize(
    ("filters", "limit"),
    [
        (None, None),
        ({"TEMPLATE_ID": 1}, 1000),
        ({"<STARTED": "2030-01-01"}, None),
        ({">MODIFIED": "2020-01-01"}, 1000),
    ],
)
def test_what_runs_before_and_after_a_listing_is_in_it(
    control: Control, context: Any, filters: Any, limit: int | None
) -> None:
    control.generate_workflows(6000, templates=2)
    control.inject("others", end=2, start=1, **WHILE_EACH_PAGE_IS_READ)
    before = running(control)
    rows = ListWorkflowsOperator(task_id="list", filters=filters, limit=limit).execute(context)
    wanted = {"TEMPLATE_ID": "1"} if filters == {"TEMPLATE_ID": 1} else {}
    throughout = before & running(control, **wanted)
    started = [row["STARTED"] for row in rows]
    assert started == sorted(started)
    if limit is None:
        assert throughout <= {row["ID"] for row in rows}
    else:
        everything = control.state()["bitrix24"]["workflows"]
        missed = throughout - {row["ID"] for row in rows}
        assert len(rows) == limit
        assert all(everything[id]["STARTED"] >= started[-1] for id in missed)


def test_a_clean_up_leaves_none_that_ran_before_it(control: Control, context: Any) -> None:
    control.generate_workflows(6000, templates=1)
    before = running(control)
    control.inject("others", end=3, **WHILE_EACH_PAGE_IS_READ)
    report = CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 1}).execute(context)
    assert running(control) == set()
    assert report["appeared"] == []
    assert report["requested"] <= len(before)


def test_a_clean_up_finds_all_tasks_of_an_employee_while_others_are_answered(control: Control, context: Any) -> None:
    control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
    ids = control.add_workflows([{}] * 300)
    control.add_tasks([{"WORKFLOW_ID": one, "USER_ID": 9} for one in ids[:200]])
    control.add_tasks([{"WORKFLOW_ID": one, "USER_ID": 9, "USER_STATUS": 1} for one in ids[200:250]])
    report = CleanUpEmployeeWorkflowsOperator(task_id="clean_up", user_id=9).execute(context)
    assert report["requested"] == 200
    assert running(control) == set(ids[200:])


class TestClocks:
    """The worker's clock is an hour off the portal's."""

    @pytest.fixture(params=[-3600.0, 3600.0], ids=["the worker is ahead", "the worker is behind"])
    def workflows(self, control: Control, request: pytest.FixtureRequest) -> tuple[str, str]:
        """Return a workflow that is stuck for a quarter of an hour, and one that is locked for another two minutes."""
        control.configure(clock_ahead=request.param)
        now = datetime.now(UTC) + timedelta(seconds=request.param)
        locks = [now - timedelta(minutes=15), now + timedelta(minutes=2)]
        start = {"STARTED": (now - timedelta(days=1)).isoformat(), "TEMPLATE_ID": 7}
        stuck, locked = control.add_workflows([start | {"OWNED_UNTIL": lock.isoformat()} for lock in locks])
        return stuck, locked

    def test_what_is_stuck_is_listed(self, control: Control, context: Any, workflows: tuple[str, str]) -> None:
        rows = ListWorkflowsOperator(task_id="list", stuck_for=timedelta(minutes=5)).execute(context)
        assert [row["ID"] for row in rows] == [workflows[0]]
        assert len(control.requests()) == 2

    def test_what_is_stuck_is_cleaned_up(self, control: Control, context: Any, workflows: tuple[str, str]) -> None:
        CleanUpWorkflowsOperator(task_id="c", filters={"TEMPLATE_ID": 7}, stuck_for=timedelta(minutes=5)).execute(
            context
        )
        assert running(control) == {workflows[1]}

    def test_what_starts_meanwhile_is_left_alone(
        self, control: Control, context: Any, workflows: tuple[str, str]
    ) -> None:
        control.inject("others", method=LIST, end=0, start=1, template_id=7, times=None, skip=1)
        report = CleanUpWorkflowsOperator(task_id="c", filters={"TEMPLATE_ID": 7}).execute(context)
        assert report["requested"] == 2
        assert len(running(control)) == len(report["appeared"]) > 0

    def test_of_those_that_were_approved_only_what_is_stuck_is_ended(
        self, control: Control, context: Any, workflows: tuple[str, str]
    ) -> None:
        TerminateWorkflowOperator(task_id="t", workflow_id=list(workflows), stuck_for=timedelta(minutes=5)).execute(
            context
        )
        assert running(control) == {workflows[1]}

    def test_what_is_stuck_is_seen(self, control: Control, context: Any, workflows: tuple[str, str]) -> None:
        seen = RunningWorkflowsSensor(task_id="s", stuck_for=timedelta(minutes=5)).poke(context)
        assert seen.xcom_value == [workflows[0]]

    def test_a_right_clock_costs_nothing(self, control: Control, context: Any) -> None:
        ListWorkflowsOperator(task_id="list", stuck_for=timedelta(minutes=5)).execute(context)
        assert len(control.requests()) == 1

    def test_a_portal_that_tells_no_times_is_asked_for_the_date_of_its_replies(
        self, control: Control, context: Any
    ) -> None:
        lock = datetime.now(UTC) - timedelta(minutes=15)
        ids = control.add_workflows([{"OWNED_UNTIL": lock.isoformat()}])
        control.inject("strange_time", times=None, time=None)
        rows = ListWorkflowsOperator(task_id="list", stuck_for=timedelta(minutes=5)).execute(context)
        assert [row["ID"] for row in rows] == ids
