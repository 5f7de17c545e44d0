"""Nightly clean-up: end the Bitrix24 workflows that were started too long ago.

**What it does.** Every night it lists the workflows that were started more than `keep_days` days before the run,
terminates them, and waits until the portal itself says that none of them runs any more.

**Why.** Workflows that wait for an answer nobody will give stay in the portal for ever: they fill people's task
lists and slow the portal down. Terminated workflows keep their record, with a status text that names this run.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator with the scope
`bizproc`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_workflows.operators.bitrix24 import ListWorkflowsOperator, TerminateWorkflowOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor

# A run that is triggered by hand may have no logical date, and so no `ds`.
DAY = "(dag_run.logical_date or dag_run.run_after) | ds"
# The same filter finds them and checks that they are gone. A date without a time is midnight UTC.
STARTED_TOO_LONG_AGO = {"<STARTED": f"{{{{ macros.ds_add({DAY}, -params.keep_days) }}}}"}

with DAG(
    dag_id="nightly_workflow_cleanup",
    doc_md=__doc__,
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "clean-up"],
    params={
        "keep_days": Param(
            90, type="integer", minimum=1, description="Workflows may run for this many days before they are ended."
        ),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
):
    old = ListWorkflowsOperator(task_id="list_old", filters=STARTED_TOO_LONG_AGO)

    ended = TerminateWorkflowOperator(
        task_id="terminate_old",
        workflow_id=old.output,
        filters=STARTED_TOO_LONG_AGO,
        status=f"Ended by {{{{ dag.dag_id }}}}, {{{{ {DAY} }}}}",
    )

    none_left = RunningWorkflowsSensor(
        task_id="none_left",
        filters=STARTED_TOO_LONG_AGO,
        min_count=0,
        max_count=0,
        mode="reschedule",
        poke_interval=60,
        timeout=timedelta(minutes=15).total_seconds(),
    )

    ended >> none_left
