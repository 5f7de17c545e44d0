"""The examples of one task, without Airflow's own start: what counts is what became of the portal."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

from airflow_provider_workflows.testing import Bitrix24Simulator
from tests.example_dags.conftest import EXAMPLES

RunTask = Callable[..., Any]


def task_of(dag_id: str) -> Any:
    """Return the only task of an example."""
    (task,) = runpy.run_path(str(EXAMPLES / f"{dag_id}.py"))["dag"].tasks
    return task


def test_mass_ending_shows_first_and_ends_only_what_was_started_before_the_date(
    bitrix24_simulator: Bitrix24Simulator, run_task: RunTask
) -> None:
    old = bitrix24_simulator.add_workflows(60, STARTED="2025-12-31T23:59:59Z")
    new = bitrix24_simulator.add_workflows(3, STARTED="2026-01-01T00:00:00Z")
    task = task_of("mass_ending_by_date")
    assert run_task(task)["requested"] == 60
    assert bitrix24_simulator.control.journal() == []

    run_task(task, params={"dry_run": False, "max_workflows": 60})
    assert (bitrix24_simulator.terminated, bitrix24_simulator.running) == (old, new)
    workflows = bitrix24_simulator.workflows
    assert {workflows[id]["status_text"] for id in old} == {"Ended by mass_ending_by_date"}


def test_of_a_dismissed_employee_what_waits_for_the_one_who_left_is_ended(
    bitrix24_simulator: Bitrix24Simulator, run_task: RunTask
) -> None:
    control = bitrix24_simulator.control
    control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
    waiting, other = bitrix24_simulator.add_workflows(55), bitrix24_simulator.add_workflows(2)
    control.add_tasks(
        [{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in waiting]
        + [{"WORKFLOW_ID": id, "USER_ID": 1, "STATUS": 0} for id in other]
    )
    task = task_of("dismissed_employee")
    run_task(task)
    assert control.journal() == []

    run_task(task, params={"dry_run": False})
    assert (bitrix24_simulator.terminated, bitrix24_simulator.running) == (waiting, other)
