"""What a cluster is given to do; a run's ``conf`` says on which portal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator, StartWorkflowOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor

ON_THE_PORTAL: dict[str, Any] = {
    "bitrix24_conn_id": "{{ dag_run.conf['portal'] }}",
    "retries": 5,
    "retry_delay": timedelta(seconds=2),
}
START: dict[str, Any] = {
    "document_id": ["crm", "CCrmDocumentLead", "LEAD_1"],
    "wait_for_completion": True,
    "poll_interval": 2,
}

with DAG("work", default_args=ON_THE_PORTAL, schedule=None):
    CleanUpWorkflowsOperator.partial(task_id="kill", action="kill").expand(
        filters=[{"TEMPLATE_ID": 100 + number} for number in range(10)]
    )
    StartWorkflowOperator.partial(task_id="start_in_worker", **START).expand(template_id=[11, 12])
    StartWorkflowOperator.partial(task_id="start_deferred", deferrable=True, **START).expand(template_id=[21, 22, 23])
    RunningWorkflowsSensor.partial(task_id="wait", poke_interval=2, deferrable=True).expand(
        filters=[{"TEMPLATE_ID": 30 + number} for number in range(5)]
    )

with DAG("start", default_args=ON_THE_PORTAL, schedule=None):
    StartWorkflowOperator(task_id="start", template_id=11, deferrable=True, **START)
