"""What this provider does on one Airflow and not on another: what is skipped is not there.

The names are the rows of a table in docs/compatibility.md, so only ``make test-matrix`` runs them.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import BaseTrigger

from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.testing import Bitrix24Simulator, DagResult, DomoSimulator
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsAppearedTrigger
from airflow_provider_workflows.ui.plugin import WorkflowsPlugin
from tests.example_dags.conftest import EXAMPLES

RunDag = Callable[..., DagResult]


@pytest.fixture
def dag() -> DAG:
    return DAG("features", schedule=None, start_date=datetime(2026, 1, 1))


def test_tasks_wait_in_the_triggerer(domo_simulator: DomoSimulator, run_dag: RunDag, dag: DAG) -> None:
    ids = domo_simulator.add_instances(2)
    domo_simulator.control.configure(cancel_delay=300.0)
    DomoCancelOperator(task_id="cancel", dag=dag, instance_id=ids, wait_for_completion=True, deferrable=True)
    assert run_dag(dag).state == "success"
    assert domo_simulator.canceled == ids


def test_a_sensor_starts_without_a_worker() -> None:
    sensor = RunningWorkflowsSensor(task_id="watch", deferrable=True, start_from_trigger=True)
    if not sensor.start_from_trigger:
        pytest.skip("Airflow fills in no templates there")


def test_a_retry_goes_on_with_what_an_earlier_try_has_started(
    bitrix24_simulator: Bitrix24Simulator, run_dag: RunDag, dag: DAG
) -> None:
    tries = []

    def lose_the_worker(*_: Any) -> None:
        tries.append("started")
        if len(tries) == 1:
            raise OSError("The worker is gone")

    bitrix24_simulator.add_template(7)
    StartWorkflowOperator(
        task_id="start",
        dag=dag,
        template_id=7,
        document_id=["crm", "CCrmDocumentLead", "LEAD_1"],
        retries=1,
        post_execute=lose_the_worker,
    )

    run = run_dag(dag)

    assert bitrix24_simulator.running == bitrix24_simulator.started
    assert len(bitrix24_simulator.started) == 1
    assert run.state == ("success" if AIRFLOW_V_3_3_PLUS else "failed")
    if run.state == "failed":
        pytest.skip("the retry does not know whose it is, and starts nothing")


def test_a_deferred_task_that_is_killed_ends_what_it_started() -> None:
    if not hasattr(BaseTrigger, "on_kill"):
        pytest.skip("Airflow does not tell its triggers")


def test_workflows_that_appear_start_a_dag() -> None:
    sdk = pytest.importorskip("airflow.sdk", reason="Airflow has no watchers")
    assert sdk.AssetWatcher(name="stuck", trigger=WorkflowsAppearedTrigger(stuck_for=3600)).trigger
    assert "dag" in runpy.run_path(str(EXAMPLES / "stuck_workflows_watcher.py"))


def test_events_are_not_repeated_after_a_restart_of_the_triggerer() -> None:
    pytest.importorskip("airflow.models.asset_state_store", reason="Airflow keeps no state for watchers")


def test_somebody_approves_what_is_ended() -> None:
    if "dag" not in runpy.run_path(str(EXAMPLES / "approved_cleanup.py")):
        pytest.skip("Airflow asks nobody")


def test_the_ui_has_a_page_on_workflows() -> None:
    if not WorkflowsPlugin.external_views:
        pytest.skip("Airflow takes in no pages")


def test_a_retry_policy_waits_for_the_end_of_a_block() -> None:
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow has no retry policies")
