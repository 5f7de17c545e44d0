"""Dags of all kinds, as Airflow runs them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, task

from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor

LEAD = ["crm", "CCrmDocumentLead", "LEAD_1"]


class Show(BaseOperator):
    """Returns a text, which may stand in a file beside the Dag's."""

    template_fields, template_ext = ("text",), (".txt",)

    def __init__(self, *, text, **kwargs):
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context):
        return self.text


@pytest.fixture
def dag():
    return DAG("made_in_a_test", schedule=None, start_date=datetime(2026, 1, 1))


def test_a_day_of_waiting_takes_no_time(bitrix24_simulator, domo_simulator, run_dag, dag):
    with dag:
        RunningWorkflowsSensor(task_id="none", min_count=0, max_count=0, poke_interval=600, mode="reschedule")
        waits = DomoWorkflowSensor.partial(task_id="done", poke_interval=600, mode="reschedule")
        waits.expand(instance_id=domo_simulator.add_instances(2, finishes_after=86_000.0))
    workflow = bitrix24_simulator.add_workflows(ends_after=80_000.0)

    run = run_dag(dag)

    assert run.tasks == {"none": "success", "done[0]": "success", "done[1]": "success"}
    assert bitrix24_simulator.finished == workflow
    assert [run.returned[f"done[{index}]"]["id"] for index in (0, 1)] == domo_simulator.completed


def test_what_fails_is_tried_again_at_once_and_then_fails_the_run(bitrix24_simulator, run_dag, dag):
    tries = []

    @task(retries=2, retry_delay=timedelta(hours=1))
    def fail(ti=None):
        tries.append(ti.try_number)
        raise ValueError("No luck")

    with dag:
        start = StartWorkflowOperator(task_id="start", template_id=7, document_id=LEAD, bitrix24_conn_id="sales")
        start >> Show(task_id="show", text="greeting.txt") >> fail()
    bitrix24_simulator.connect("sales")
    bitrix24_simulator.add_template(7)

    run = run_dag(dag, logical_date=None)

    assert tries == [1, 2, 3]
    assert (run.state, run.tasks) == ("failed", {"start": "success", "show": "success", "fail": "failed"})
    assert run.returned["show"] == "Hello from made_in_a_test"
    assert bitrix24_simulator.running == bitrix24_simulator.started == [run.returned["start"]]
