"""A Dag that must fail: the filter that it is given has a misspelt field, which the portal itself would ignore.

Written into the Dag file, the filter would be an import error.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import ListWorkflowsOperator, TerminateWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator

with DAG(
    dag_id="misspelt_filter",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params={"filters": {"<STARTDE": "2026-01-01"}},
    render_template_as_native_obj=True,
):
    # Both credentials are sent once, so that they could leak.
    recent = ListWorkflowsOperator(task_id="recent", filters={">STARTED": "2026-01-01"})
    completed = DomoCancelOperator(task_id="completed", instance_id="completed-instance")
    old = ListWorkflowsOperator(task_id="old", filters="{{ params.filters }}")  # type: ignore[arg-type]
    terminate = TerminateWorkflowOperator(task_id="terminate", workflow_id=old.output)
    [recent, completed] >> old
