"""Mass ending: end all Bitrix24 workflows that were started before a date.

**What it does.** It lists the running workflows that were started before `started_before`, ends them in batches within
the portal's limits, and lists again. Triggered as it is, it only shows what it would end: how many, by template and
age, and the first of them. Nothing is ended if more than `max_workflows` match. What starts meanwhile is left.

**Why.** Ten thousand dead workflows are no work for one call after the other: that trips over the portal's limits, and
after a failure nobody knows what was ended. It is the job of the vendor's tutorial "How to Mass Finish Workflows with
Date Filter", with the same care: look first, then confirm.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator with the scope
`bizproc`. Trigger it with `dry_run` switched off to end what it has shown.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator

with DAG(
    dag_id="mass_ending_by_date",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "clean-up"],
    params={
        "started_before": Param("2026-01-01", type="string", format="date", description="Midnight UTC of this day."),
        "max_workflows": Param(5000, type="integer", minimum=1, description="If more match, none is ended."),
        "dry_run": Param(True, type="boolean", description="Only show what would be ended."),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
) as dag:
    CleanUpWorkflowsOperator(
        task_id="end_old",
        filters={"<STARTED": "{{ params.started_before }}"},
        status="Ended by {{ dag.dag_id }}",
        max_workflows="{{ params.max_workflows }}",
        dry_run="{{ params.dry_run }}",
    )
