"""Dags whose tasks wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator, StartWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor

DOCUMENT = ["crm", "CCrmDocumentLead", "LEAD_1"]
DOMO: dict[str, Any] = {
    "model_id": "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138",
    "version": "1.0.0",
    "message_name": "Start AddTwoNumbers",
    "wait_for_completion": True,
    "poll_interval": 2,
}
BITRIX24: dict[str, Any] = {"template_id": 7, "document_id": DOCUMENT, "wait_for_completion": True, "poll_interval": 2}

with DAG("all_that_waits", schedule=None):
    RunningWorkflowsSensor(task_id="workflows", filters={"TEMPLATE_ID": 70}, poke_interval=2, deferrable=True)
    DomoWorkflowSensor(
        task_id="instance", instance_id="{{ dag_run.conf['watched'] }}", poke_interval=2, deferrable=True
    )
    DomoCancelOperator(
        task_id="cancel",
        instance_id="{{ dag_run.conf['cancelled'] }}",
        wait_for_completion=True,
        poll_interval=2,
        deferrable=True,
    )
    DomoStartOperator(task_id="start_instance", deferrable=True, **DOMO)
    StartWorkflowOperator(task_id="start_workflow", deferrable=True, **BITRIX24)

with DAG("clean_up", schedule=None):
    CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 8}, deferrable=True)

with DAG("starts", schedule=None):
    DomoStartOperator(task_id="instance", deferrable=True, **DOMO)
    StartWorkflowOperator(task_id="workflow", deferrable=True, **BITRIX24)

with DAG("starts_in_the_worker", default_args={"retries": 1, "retry_delay": timedelta(seconds=2)}, schedule=None):
    DomoStartOperator(task_id="instance", **DOMO)
    StartWorkflowOperator(task_id="workflow", **BITRIX24)

with DAG("one_sensor", schedule=None):
    RunningWorkflowsSensor(task_id="workflows", filters={"TEMPLATE_ID": 71}, poke_interval=2, deferrable=True)

with DAG("many_sensors", schedule=None):
    RunningWorkflowsSensor.partial(task_id="workflows", poke_interval=10, deferrable=True).expand(
        filters=[{"TEMPLATE_ID": 1000 + number} for number in range(200)]
    )

with DAG("starts_in_the_triggerer", schedule=None):
    given: dict[str, Any] = {"poke_interval": 2, "deferrable": True, "start_from_trigger": True}

    RunningWorkflowsSensor(
        task_id="templated",
        filters={"TEMPLATE_ID": "{{ dag_run.conf['template'] }}", "<STARTED": "{{ dag_run.conf['before'] }}"},
        **given,
    )
    RunningWorkflowsSensor(task_id="in_vain", filters={"TEMPLATE_ID": 79}, timeout=20, soft_fail=True, **given)
    RunningWorkflowsSensor.partial(task_id="mapped", **given).expand(filters=[{"TEMPLATE_ID": 72}])

with DAG("many_start_in_the_triggerer", schedule=None):
    for number in range(200):
        RunningWorkflowsSensor(
            task_id=f"workflows_{number}",
            filters={"TEMPLATE_ID": 2000 + number},
            poke_interval=10,
            deferrable=True,
            start_from_trigger=True,
        )
