"""Clean-up across both systems: end what is stuck in Bitrix24 and what hangs on it in Domo.

**What it does.** It waits until workflows are stuck in Bitrix24. Then it switches the flows off that feed them, so
that nothing new comes in, terminates the stuck workflows (up to 1,000), cancels the instances in Domo and waits until
Domo says so, switches the flows on again, and makes sure that nothing is stuck any more. The flows are switched on
again also when the clean-up between fails. When nothing is stuck all day, the tasks are skipped and nothing is touched.

**Why.** A process that spans two systems gets stuck in both, and cleaned up in one alone it fills again from the
other.

**What it needs.** The connections `bitrix24_default`, an incoming webhook of a portal administrator with the scopes
`bizproc` and `task`, and `domo_default`, a developer token of a user who may cancel the workflow instances. The ids
of the flows and of the instances are parameters.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_workflows.operators.bitrix24 import FlowActivateOperator, TerminateWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor

# As Bitrix24 itself has it.
STUCK_FOR = timedelta(minutes=5)

with DAG(
    dag_id="cross_system_cleanup",
    doc_md=__doc__,
    schedule="0 7 * * 1-5",
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "domo", "clean-up"],
    params={
        "flow_ids": Param(
            [517, 518], type="array", items={"type": "integer"}, description="Ids of the flows that feed the workflows."
        ),
        "instance_ids": Param(
            ["2052e10a-d142-4391-a731-2be1ab1c0188", "7c9e6679-7425-40de-944b-e07fc1f90ae7"],
            type="array",
            items={"type": "string"},
            description="Ids of the workflow instances in Domo to cancel.",
        ),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
):
    stuck = RunningWorkflowsSensor(
        task_id="find_stuck",
        stuck_for=STUCK_FOR,
        mode="reschedule",
        poke_interval=300,
        timeout=timedelta(hours=10).total_seconds(),
        soft_fail=True,
    )

    @task
    def feeding_flows(**context: Any) -> Any:
        """Return the flows, so that each becomes a task of its own."""
        return context["params"]["flow_ids"]

    flows = feeding_flows()
    flows_off = FlowActivateOperator.partial(task_id="flows_off", active=False).expand(flow_id=flows)

    terminate = TerminateWorkflowOperator(
        task_id="terminate_stuck",
        workflow_id=stuck.output,
        stuck_for=STUCK_FOR,
        status="Stuck, ended by {{ dag.dag_id }}",
    )
    cancel = DomoCancelOperator(
        task_id="cancel_in_domo", instance_id="{{ params.instance_ids }}", wait_for_completion=True
    )

    # Also after a failure, but not when all was skipped because nothing is stuck.
    flows_on = FlowActivateOperator.partial(task_id="flows_on", active=True, trigger_rule="none_skipped").expand(
        flow_id=flows
    )

    none_left = RunningWorkflowsSensor(
        task_id="none_left",
        stuck_for=STUCK_FOR,
        min_count=0,
        max_count=0,
        mode="reschedule",
        poke_interval=60,
        timeout=timedelta(minutes=15).total_seconds(),
    )

    stuck >> flows >> flows_off >> [terminate, cancel] >> flows_on
    # The last task comes after them all, so that the run fails if any of them failed.
    [terminate, cancel, flows_on] >> none_left
