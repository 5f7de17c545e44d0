"""Start and wait: a Domo workflow prepares figures, then a Bitrix24 workflow starts on a deal with them.

**What it does.** It starts a Domo workflow and waits until it is COMPLETED; then it starts a Bitrix24 workflow on a
deal, waits until that has ended, and makes sure that none is left on it. While it waits, no worker is kept: the tasks
wait in the triggerer, and share their requests there.

**Why.** Starting is not harmless to repeat. A start whose reply was lost is looked for and not sent again: the task
fails and names what may be it. A retry goes on with what an earlier try has started (from Airflow 3.3 on). A task that
is killed ends what it started.

**What it needs.** The connections `bitrix24_default`, an incoming webhook of a portal administrator with the scope
`bizproc`, and `domo_default`, a developer token whose user may execute the workflow.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoStartOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor

with DAG(
    dag_id="start_and_wait",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "domo"],
    params={
        "model_id": Param("a8afdc89-9491-4ee4-b7c3-b9e9b86c0138", type="string", description="The Domo workflow."),
        "template_id": Param(7, type="integer", description="The Bitrix24 template."),
        "deal": Param("DEAL_1", type="string", description="The deal it starts on."),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
):
    figures = DomoStartOperator(
        task_id="prepare_figures",
        model_id="{{ params.model_id }}",
        version="1.0.0",
        message_name="Start AddTwoNumbers",
        data={"run": "{{ run_id }}"},
        wait_for_completion=True,
        deferrable=True,
        wait_timeout=timedelta(hours=2).total_seconds(),
    )

    approval = StartWorkflowOperator(
        task_id="approve_deal",
        template_id="{{ params.template_id }}",
        document_id=["crm", "CCrmDocumentDeal", "{{ params.deal }}"],
        parameters={"execution": "{{ ti.xcom_pull(task_ids='prepare_figures')['id'] }}"},
        wait_for_completion=True,
        deferrable=True,
        wait_timeout=timedelta(days=3).total_seconds(),
    )

    none_left = RunningWorkflowsSensor(
        task_id="none_left",
        filters={"TEMPLATE_ID": "{{ params.template_id }}", "DOCUMENT_ID": "{{ params.deal }}"},
        min_count=0,
        max_count=0,
        deferrable=True,
        poke_interval=30,
        timeout=timedelta(hours=1).total_seconds(),
    )

    figures >> approval >> none_left
