"""The examples of one task, without Airflow's own start: what counts is what became of the portal."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest

from airflow_provider_workflows.simulator import Control, Simulator
from tests.example_dags.conftest import EXAMPLES
from tests.operators.remote import TaskInstance, render


@pytest.fixture(autouse=True)
def connections(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, connection in simulator.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def run(dag_id: str, **params: Any) -> Any:
    """Run the only task of an example, with parameters that are not the defaults."""
    dag = runpy.run_path(str(EXAMPLES / f"{dag_id}.py"))["dag"]
    (task,) = dag.tasks
    render(task, params=dag.params.dump() | params, dag=dag)
    context: Any = {"ti": TaskInstance()}
    return task.execute(context)


def states(control: Control) -> dict[str, str]:
    return {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}


def test_mass_ending_shows_first_and_ends_only_what_was_started_before_the_date(control: Control) -> None:
    old = control.add_workflows([{"STARTED": "2025-12-31T23:59:59Z"}] * 60)
    new = control.add_workflows([{"STARTED": "2026-01-01T00:00:00Z"}] * 3)
    assert run("mass_ending_by_date")["requested"] == 60
    assert control.journal() == []

    run("mass_ending_by_date", dry_run=False, max_workflows=60)
    rows = control.state()["bitrix24"]["workflows"]
    assert states(control) == dict.fromkeys(old, "terminated") | dict.fromkeys(new, "running")
    assert {rows[id]["status_text"] for id in old} == {"Ended by mass_ending_by_date"}


def test_of_a_dismissed_employee_what_waits_for_the_one_who_left_is_ended(control: Control) -> None:
    control.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
    waiting, other = control.add_workflows([{}] * 55), control.add_workflows([{}] * 2)
    control.add_tasks(
        [{"WORKFLOW_ID": id, "USER_ID": 9, "STATUS": 0} for id in waiting]
        + [{"WORKFLOW_ID": id, "USER_ID": 1, "STATUS": 0} for id in other]
    )
    run("dismissed_employee")
    assert control.journal() == []

    run("dismissed_employee", dry_run=False)
    assert states(control) == dict.fromkeys(waiting, "terminated") | dict.fromkeys(other, "running")
