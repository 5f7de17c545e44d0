"""Approved clean-up: list Bitrix24 workflows, have a person approve, end the approved ones that are stuck still.

**What it does.** It lists the workflows that are stuck, shows them to a person in Airflow's UI, and waits for the
answer. Approved, it terminates the ids that were shown, and of them those that are stuck still: hours may have passed,
and who may edit XComs could have changed the list. A workflow that gets stuck meanwhile is not touched. Rejected,
nothing happens.

**Why.** Ending a business process cannot be taken back; some portals want a person's word for it each time.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator with the scope
`bizproc`. Airflow 3.1 or newer, for its human-in-the-loop operators; on older ones this file gives no Dag.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException

from airflow_provider_workflows.operators.bitrix24 import ListWorkflowsOperator, TerminateWorkflowOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):
    ApprovalOperator = None  # type: ignore[assignment, misc]

if ApprovalOperator is not None:
    with DAG(
        dag_id="approved_cleanup",
        doc_md=__doc__,
        schedule="0 8 * * 1-5",
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        max_active_runs=1,
        tags=["bitrix24", "clean-up"],
        default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
    ) as dag:
        stuck = ListWorkflowsOperator(task_id="list_stuck", stuck_for=timedelta(hours=1), limit=500)

        approved = ApprovalOperator(
            task_id="approve",
            subject="End {{ ti.xcom_pull(task_ids='list_stuck') | length }} stuck workflows?",
            body=(
                "{% for row in ti.xcom_pull(task_ids='list_stuck') %}"
                "- {{ row.ID }}: {{ row.DOCUMENT_ID }}, template {{ row.TEMPLATE_ID }}, started {{ row.STARTED }}\n"
                "{% endfor %}"
            ),
            response_timeout=timedelta(hours=8),
        )

        ended = TerminateWorkflowOperator(
            task_id="end_approved",
            workflow_id=stuck.output,
            stuck_for=timedelta(hours=1),
            status="Stuck; ending approved in {{ dag.dag_id }}",
        )

        stuck >> approved >> ended
