"""A Dag as somebody writes it who has this package installed."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import ListWorkflowsOperator, TerminateWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator

# A run that is triggered by hand may have no logical date on Airflow 3, and so no `ds`.
DAY = "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"

with DAG("nightly", schedule="@daily", start_date=datetime(2026, 1, 1), params={"instances": []}) as dag:
    old = ListWorkflowsOperator(task_id="old", filters={"<STARTED": DAY})
    end = TerminateWorkflowOperator(task_id="end", workflow_id=old.output, status=f"Ended by night, {DAY}")
    cancel = DomoCancelOperator(
        task_id="cancel", instance_id="{{ params.instances }}", wait_for_completion=True, deferrable=True, retries=3
    )
    end >> cancel
