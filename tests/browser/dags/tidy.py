"""A Dag of which the page tells."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator
from airflow_provider_workflows.operators.domo import DomoStartOperator

with DAG("tidy", schedule=None):
    CleanUpWorkflowsOperator(task_id="look", filters={"TEMPLATE_ID": 12}, dry_run=True) >> CleanUpWorkflowsOperator(
        task_id="clean_up", filters={"TEMPLATE_ID": 12}
    )
    DomoStartOperator(
        task_id="start",
        model_id="a8afdc89-9491-4ee4-b7c3-b9e9b86c0138",
        version="1.0.0",
        message_name="Start AddTwoNumbers",
    )
