"""The example Dags as Airflow's Dag processor sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS

from tests.example_dags.conftest import Run

EVERYWHERE = {
    "cross_system_cleanup",
    "dismissed_employee",
    "holiday_flow_switch",
    "keep_application_alive",
    "mass_ending_by_date",
    "nightly_workflow_cleanup",
    "start_and_wait",
}
ON_LATER_AIRFLOWS = {"stuck_workflows_watcher": AIRFLOW_V_3_0_PLUS, "approved_cleanup": AIRFLOW_V_3_1_PLUS}

# Airflow finds the files by itself, with no way to a network or to a database.
PARSE = """
import json, socket, sys

def no_network(*_):
    raise OSError("an example opens a connection while it is parsed")

socket.socket.connect = no_network

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag

airflows = set(sys.modules)
bag = DagBag()
print(json.dumps({
    "errors": bag.import_errors,
    "loaded": sorted(sys.modules.keys() - airflows),
    "files": [stat.file.rpartition("/")[2] for stat in bag.dagbag_stats],
    "dags": {
        dag_id: {
            "doc": dag.doc_md,
            "tags": sorted(dag.tags),
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "tasks": [
                {
                    "id": task.task_id,
                    "owner": task.owner,
                    "retries": task.retries,
                    "after": sorted(task.upstream_task_ids),
                }
                for task in dag.tasks
            ],
        }
        for dag_id, dag in bag.dags.items()
    },
}))
"""


@pytest.fixture(scope="module")
def parsed(run: Run) -> Any:
    done = run("python", "-c", PARSE, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:////no/such/folder/airflow.db")
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_every_example_parses_without_network_and_database(parsed):
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == EVERYWHERE | {dag_id for dag_id, here in ON_LATER_AIRFLOWS.items() if here}


def test_what_is_only_needed_to_run_is_not_loaded(parsed):
    """Airflow parses each file anew every half minute, in a process of its own."""
    ours = "airflow_provider_workflows"
    assert f"{ours}.operators.bitrix24" in parsed["loaded"]
    libraries = {"requests", "urllib3", "httpx", "aiohttp", "sqlalchemy", "redis", "opentelemetry", "cryptography"}
    parts = ("bitrix24.employees", "bitrix24.oauth", "records", "commands", "simulator", "ui.app")
    needless = libraries | {f"{ours}.{part}" for part in parts}
    assert needless & {*parsed["loaded"]} == set()


def test_airflow_leaves_the_demo_alone(parsed):
    assert set(parsed["files"]) == {f"{dag_id}.py" for dag_id in EVERYWHERE | ON_LATER_AIRFLOWS.keys()}


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="this Airflow has no human-in-the-loop operators")
def test_a_person_approves_what_was_listed_before_it_is_ended(parsed):
    tasks = {task["id"]: task["after"] for task in parsed["dags"]["approved_cleanup"]["tasks"]}
    assert tasks == {"list_stuck": [], "approve": ["list_stuck"], "end_approved": ["approve", "list_stuck"]}


def test_every_dag_says_what_it_is_for_and_runs_once_at_a_time(parsed):
    for dag_id, dag in parsed["dags"].items():
        assert "**What it needs.**" in dag["doc"], dag_id
        assert dag["tags"], dag_id
        assert (dag["catchup"], dag["max_active_runs"]) == (False, 1), dag_id


def test_every_task_has_an_owner_and_is_retried(parsed):
    for dag in parsed["dags"].values():
        for task in dag["tasks"]:
            assert task["owner"] != "airflow", task
            assert task["retries"] > 0, task
