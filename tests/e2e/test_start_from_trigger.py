"""Sensors that need no worker before there is something to report: what Airflow does with templates and mapping."""

from __future__ import annotations

import time

from airflow_provider_workflows.simulator import Control
from tests.e2e.api import Airflow
from tests.e2e.services import wait_until

DAG, MANY = "starts_in_the_triggerer", "many_start_in_the_triggerer"


def test_templates_are_filled_in_by_the_triggerer_and_mapped_tasks_start_in_a_worker(
    airflow: Airflow, control: Control
) -> None:
    run = airflow.run(DAG, template=71, before="2026-03-01")
    airflow.wait_for(DAG, run, "deferred", task_id="templated")
    airflow.wait_for(DAG, run, "deferred", task_id="mapped")
    ids = control.add_workflows(
        [
            {"TEMPLATE_ID": 71, "STARTED": "2026-02-01T00:00:00Z"},
            {"TEMPLATE_ID": 71, "STARTED": "2026-04-01T00:00:00Z"},
            {"TEMPLATE_ID": 72},
        ]
    )

    wait_until(lambda: airflow.states(DAG, run)["in_vain"] == "skipped", 120, "its time is up")
    for task_id in ("templated", "mapped"):
        airflow.wait_for(DAG, run, "success", 60, task_id)

    assert airflow.xcom(DAG, run, "templated") == ids[:1]
    assert control.settings()["webhook_code"] not in airflow.log(DAG, run, "templated")


def test_two_hundred_are_deferred_without_a_worker(airflow: Airflow, control: Control) -> None:
    began = time.monotonic()
    run = airflow.run(MANY)
    airflow.wait_for_triggers(MANY, run, 300)
    print("SECONDS", time.monotonic() - began, "requests", len(control.requests("bitrix24")))
    control.add_workflows([{"TEMPLATE_ID": 2000 + number} for number in range(200)])
    airflow.wait_for(MANY, run, "success", 420)
