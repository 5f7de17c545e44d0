"""Stuck workflows watcher: a Dag that Airflow starts when Bitrix24 workflows get stuck.

**What it does.** Airflow's triggerer looks at the portal every minute. When workflows have been stuck for an hour, it
starts this Dag once for them, and the Dag ends those of them that are stuck still. Events that somebody created over
Airflow's REST API are ignored.

**Why.** A schedule either looks too seldom, or starts a Dag run a minute that finds nothing.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator with the scope
`bizproc`. Airflow 3.0 or newer, for its asset watchers; on older ones this file gives no Dag. From 3.3 on a restart of
the triggerer reports no workflow twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_workflows.operators.bitrix24 import TerminateWorkflowOperator
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsAppearedTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:
    AssetWatcher = None  # type: ignore[assignment, misc]

if AssetWatcher is not None:
    stuck_workflows = Asset(
        "stuck_workflows",
        watchers=[
            AssetWatcher(name="stuck_for_an_hour", trigger=WorkflowsAppearedTrigger(stuck_for=timedelta(hours=1)))
        ],
    )

    with DAG(
        dag_id="stuck_workflows_watcher",
        doc_md=__doc__,
        schedule=[stuck_workflows],
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        max_active_runs=1,
        tags=["bitrix24", "clean-up"],
        default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
    ) as dag:

        @task
        def reported(triggering_asset_events: Any = None) -> list[str]:
            """Return the ids of the workflows that the watcher has seen."""
            extras = [event.extra for events in triggering_asset_events.values() for event in events]
            # Airflow marks what came over its REST API, whatever else such an event claims.
            seen = [extra for extra in extras if extra.get("from_trigger") and not extra.get("from_rest_api")]
            return [workflow_id for extra in seen for workflow_id in extra["payload"]["workflow_ids"]]

        TerminateWorkflowOperator(
            task_id="end_stuck",
            workflow_id=reported(),
            stuck_for=timedelta(hours=1),
            status="Stuck for an hour; ended by {{ dag.dag_id }}",
        )
