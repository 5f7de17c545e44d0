"""The examples that end what was found a while ago, or what somebody else names: only what is stuck still."""

from __future__ import annotations

import json
import runpy
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_workflows.simulator import Control, Simulator
from tests.example_dags.conftest import EXAMPLES
from tests.operators.remote import TaskInstance

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="on this Airflow these files give no Dag")


@pytest.fixture
def two(control: Control, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of a workflow that is stuck, and of one that has moved on."""
    for name, connection in simulator.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    return control.add_workflows([{"OWNED_UNTIL": f"{year}-01-01T00:00:00Z"} for year in (2025, 2036)])


def task_of(example: str, task_id: str) -> Any:
    """Return a task of an example."""
    return runpy.run_path(str(EXAMPLES / f"{example}.py"))["dag"].get_task(task_id)


@pytest.mark.parametrize(
    ("example", "task_id"), [("approved_cleanup", "end_approved"), ("stuck_workflows_watcher", "end_stuck")]
)
def test_what_has_moved_on_is_left_alone(control: Control, two: list[str], example: str, task_id: str) -> None:
    task = task_of(example, task_id)
    task.workflow_id, task.status = two, None
    context: Any = {"ti": TaskInstance()}
    report = task.execute(context)
    assert (report["ended_ids"], report["moved_on"]) == (two[:1], 1)
    states = {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}
    assert states == {two[0]: "terminated", two[1]: "running"}


def test_events_that_somebody_created_over_the_api_are_ignored() -> None:
    seen = {"from_trigger": True, "payload": {"workflow_ids": ["a", "b"]}}
    # So Airflow marks what came over its API.
    made_up = {"from_trigger": True, "payload": {"workflow_ids": ["c"]}, "from_rest_api": True}
    events = [SimpleNamespace(extra=extra) for extra in (made_up, seen, {"from_rest_api": True}, {})]
    reported = task_of("stuck_workflows_watcher", "reported").python_callable
    assert reported(triggering_asset_events={"stuck_workflows": events}) == ["a", "b"]
