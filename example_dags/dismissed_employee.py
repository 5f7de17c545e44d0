"""A dismissed employee: end the Bitrix24 workflows that wait for somebody who has left.

**What it does.** It makes sure that the user is dismissed, finds the open workflow tasks of that user, and ends the
workflows they belong to. Triggered as it is, it only shows what it would end.

**Why.** Nobody will ever complete these tasks, so the workflows wait for ever. It is the job of the vendor's tutorial
"How to Complete Business Processes of a Terminated Employee", on all pages of the tasks and with the same guards as any
other mass ending.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator with the scopes
`bizproc` and `user`. Trigger it with the id of the user, and with `dry_run` switched off to end what it has shown.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_workflows.operators.bitrix24 import CleanUpEmployeeWorkflowsOperator

with DAG(
    dag_id="dismissed_employee",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "clean-up"],
    params={
        "user_id": Param(9, type="integer", minimum=1, description="Id of the dismissed user in Bitrix24."),
        "max_workflows": Param(500, type="integer", minimum=1, description="If more are found, none is ended."),
        "dry_run": Param(True, type="boolean", description="Only show what would be ended."),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
) as dag:
    CleanUpEmployeeWorkflowsOperator(
        task_id="end_waiting",
        user_id="{{ params.user_id }}",
        status="User {{ params.user_id }} has left",
        max_workflows="{{ params.max_workflows }}",
        dry_run="{{ params.dry_run }}",
    )
