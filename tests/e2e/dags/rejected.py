"""A Dag whose task the portal rejects."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator

with DAG("rejected", default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}, schedule=None):
    StartWorkflowOperator(task_id="workflow", template_id=404, document_id=["crm", "CCrmDocumentLead", "LEAD_1"])
