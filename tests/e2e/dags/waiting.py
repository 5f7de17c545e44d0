"""Dags whose tasks wait; each works on a portal and an account of its own."""

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


def dag(dag_id: str, **default_args: Any) -> DAG:
    """Return a Dag with the connections that are named after it."""
    connections = {"bitrix24_conn_id": f"bitrix24_{dag_id}", "domo_conn_id": f"domo_{dag_id}"}
    return DAG(dag_id, default_args=connections | default_args, schedule=None)


with dag("all_that_waits"):
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

for name in ("killed", "cleared"):
    with dag(name):
        DomoStartOperator(task_id="instance", deferrable=True, **DOMO)
        StartWorkflowOperator(task_id="workflow", deferrable=True, **BITRIX24)

with dag("starts_in_the_worker", retries=1, retry_delay=timedelta(seconds=2)):
    DomoStartOperator(task_id="instance", **DOMO)
    StartWorkflowOperator(task_id="workflow", **BITRIX24)

with dag("rejected", retries=3, retry_delay=timedelta(seconds=1)):
    StartWorkflowOperator(task_id="workflow", template_id=404, document_id=DOCUMENT)

with dag("pausing_clean_up"):
    CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 8}, deferrable=True)

with dag("killing_clean_up"):
    CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 8}, action="kill")

with dag("one_sensor"):
    RunningWorkflowsSensor(task_id="workflows", filters={"TEMPLATE_ID": 71}, poke_interval=2, deferrable=True)

with dag("with_tokens"):
    RunningWorkflowsSensor(
        task_id="workflows",
        bitrix24_conn_id="with_tokens",
        filters={"TEMPLATE_ID": 72},
        poke_interval=2,
        deferrable=True,
    )

with dag("many_sensors"):
    RunningWorkflowsSensor.partial(task_id="workflows", poke_interval=5, deferrable=True).expand(
        filters=[{"TEMPLATE_ID": 1000 + number} for number in range(60)]
    )

with dag("starts_in_the_triggerer"):
    given: dict[str, Any] = {"poke_interval": 2, "deferrable": True, "start_from_trigger": True}

    RunningWorkflowsSensor(
        task_id="templated",
        filters={"TEMPLATE_ID": "{{ dag_run.conf['template'] }}", "<STARTED": "{{ dag_run.conf['before'] }}"},
        **given,
    )
    RunningWorkflowsSensor(task_id="in_vain", filters={"TEMPLATE_ID": 79}, timeout=20, soft_fail=True, **given)
    RunningWorkflowsSensor.partial(task_id="mapped", **given).expand(filters=[{"TEMPLATE_ID": 72}])
    for number in range(10):
        RunningWorkflowsSensor(task_id=f"workflows_{number}", filters={"TEMPLATE_ID": 2000 + number}, **given)
