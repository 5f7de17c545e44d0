"""What users' tests have: one task that runs to its end, and a simulator that holds what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    Param,
    ParamValidationError,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from jinja2 import UndefinedError

from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpWorkflowsOperator,
    FlowActivateOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    StartWorkflowOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor
from airflow_provider_workflows.testing import Bitrix24Simulator, DomoSimulator

RunTask = Callable[..., Any]
DAY = 86_400.0


class TestTemplates:
    @pytest.fixture
    def end(self) -> TerminateWorkflowOperator:
        with DAG("docs", schedule=None, start_date=datetime(2026, 1, 1), params={"why": "too old"}):
            old = ListWorkflowsOperator(task_id="old", filters={"TEMPLATE_ID": 1})
            return TerminateWorkflowOperator(
                task_id="end", workflow_id=old.output, status="{{ params.why }}, {{ ds }}, {{ author }}"
            )

    def test_they_know_parameters_dates_what_a_task_before_has_returned_and_what_else_is_given(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask, end: TerminateWorkflowOperator
    ) -> None:
        first, second = bitrix24_simulator.add_workflows(2)
        run_task(end, returned={"old": [first]}, logical_date=datetime(2026, 5, 4, tzinfo=UTC), author="Ann")
        run_task(end, returned={"old": [second]}, params={"why": "unused"}, author="Bob", ds="today")
        texts = [row["status_text"] for row in bitrix24_simulator.workflows.values()]
        assert texts == ["too old, 2026-05-04, Ann", "unused, today, Bob"]

    def test_a_run_by_hand_has_no_logical_date_in_airflow_3(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask, end: TerminateWorkflowOperator
    ) -> None:
        ids = bitrix24_simulator.add_workflows()
        if AIRFLOW_V_3_0_PLUS:
            with pytest.raises(UndefinedError, match="'ds' is undefined"):
                run_task(end, returned={"old": ids}, logical_date=None, author="Ann")
            assert bitrix24_simulator.running == ids
        end.status = "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"
        run_task(end, returned={"old": ids}, logical_date=None)
        today = datetime.fromtimestamp(Bitrix24Hook.clock.time(), UTC).date()
        assert bitrix24_simulator.workflows[ids[0]]["status_text"] == str(today)

    def test_a_parameter_that_must_be_given_is_checked_as_in_a_run(
        self, domo_simulator: DomoSimulator, run_task: RunTask
    ) -> None:
        with DAG("docs", schedule=None, start_date=datetime(2026, 1, 1), params={"id": Param(type="string")}):
            cancel = DomoCancelOperator(task_id="cancel", instance_id="{{ params.id }}")
        (instance,) = domo_simulator.add_instances()
        for wrong in ({}, {"id": 7}):
            with pytest.raises(ParamValidationError):
                run_task(cancel, params=wrong)
        run_task(cancel, params={"id": instance})
        assert domo_simulator.canceled == [instance]

    def test_several_tasks_before_it_are_pulled_at_once(self, domo_simulator: DomoSimulator, run_task: RunTask) -> None:
        ids = domo_simulator.add_instances(2)
        pull = "{{ ti.xcom_pull(task_ids=['first', 'second']) }}"
        run_task(
            DomoCancelOperator(task_id="cancel", instance_id=pull),
            returned=dict(zip(("first", "second"), ids, strict=True)),
        )
        assert domo_simulator.canceled == ids

    def test_the_dag_keeps_its_task_as_it_was(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask, end: TerminateWorkflowOperator
    ) -> None:
        run_task(end, returned={"old": []}, author="Ann")
        assert end.status == "{{ params.why }}, {{ ds }}, {{ author }}"


class TestWaiting:
    @pytest.mark.parametrize("how", [{"deferrable": True}, {"deferrable": False}, {"mode": "reschedule"}])
    def test_a_sensor_waits_for_a_day_in_no_time(
        self, domo_simulator: DomoSimulator, run_task: RunTask, how: dict[str, Any]
    ) -> None:
        (instance,) = domo_simulator.add_instances(finishes_after=DAY)
        sensor = DomoWorkflowSensor(task_id="wait", instance_id=instance, poke_interval=3600, timeout=2 * DAY, **how)
        assert run_task(sensor)["status"] == "COMPLETED"
        assert (domo_simulator.completed, domo_simulator.running) == ([instance], [])

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_what_does_not_come_times_out(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask, deferrable: bool
    ) -> None:
        running = bitrix24_simulator.add_workflows()
        sensor = RunningWorkflowsSensor(
            task_id="none", min_count=0, max_count=0, poke_interval=3600, timeout=DAY, deferrable=deferrable
        )
        with pytest.raises(AirflowSensorTimeout):
            run_task(sensor)
        assert bitrix24_simulator.running == running

    def test_what_is_started_is_waited_for(self, domo_simulator: DomoSimulator, run_task: RunTask) -> None:
        model = domo_simulator.add_model(name="Report", message_name="Go")
        domo_simulator.control.configure(finishes_after=DAY, final_status="FAILED")
        how: Any = {"wait_for_completion": True, "deferrable": True, "poll_interval": 3600}
        start = DomoStartOperator(task_id="start", model_id=model, version="1.0.0", message_name="Go", **how)
        with pytest.raises(Exception, match="FAILED"):
            run_task(start)
        assert len(domo_simulator.started) == 1
        assert domo_simulator.failed == domo_simulator.started

    def test_time_begins_anew_in_each_test(self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask) -> None:
        """The tests before have been waiting for days."""
        now = datetime.now(UTC)
        bitrix24_simulator.add_workflows(OWNED_UNTIL=now - timedelta(minutes=30))
        stuck = bitrix24_simulator.add_workflows(OWNED_UNTIL=now - timedelta(hours=2))
        run_task(CleanUpWorkflowsOperator(task_id="stuck", stuck_for=timedelta(hours=1)))
        assert bitrix24_simulator.terminated == stuck


class TestWhatBecameOfIt:
    def test_of_a_portal(self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask) -> None:
        running, killed = bitrix24_simulator.add_workflows(2, TEMPLATE_ID=3)
        finished = bitrix24_simulator.add_workflows(ends_after=0.0)
        bitrix24_simulator.add_template(7, NAME="Approval")
        flow = bitrix24_simulator.add_flow(name="Sales")

        run_task(KillWorkflowOperator(task_id="kill", workflow_id=killed))
        lead = ["crm", "CCrmDocumentLead", "LEAD_1"]
        started = run_task(StartWorkflowOperator(task_id="start", template_id=7, document_id=lead, retries=3))
        run_task(FlowActivateOperator(task_id="off", flow_id=flow, active=False))

        assert bitrix24_simulator.running == [running, started]
        assert bitrix24_simulator.started == [started]
        assert (bitrix24_simulator.killed, bitrix24_simulator.terminated) == ([killed], [])
        assert bitrix24_simulator.finished == finished
        assert bitrix24_simulator.flows[flow]["active"] is False

    def test_of_an_account(self, domo_simulator: DomoSimulator, run_task: RunTask) -> None:
        (waiting,), (working, other) = domo_simulator.add_instances(status=None), domo_simulator.add_instances(2)
        run_task(DomoCancelOperator(task_id="cancel", instance_id=other))
        assert domo_simulator.running == [waiting, working]
        assert domo_simulator.canceled == [other]
        assert domo_simulator.started == []

    def test_a_failure_is_the_tasks_own_error(self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask) -> None:
        ids = bitrix24_simulator.add_workflows(2)
        bitrix24_simulator.control.configure(is_admin=False)
        with pytest.raises(AirflowFailException, match="administrator"):
            run_task(TerminateWorkflowOperator(task_id="end", workflow_id=ids))
        assert bitrix24_simulator.running == ids


class TestConnections:
    end = TerminateWorkflowOperator(task_id="end", workflow_id="1.2", bitrix24_conn_id="sales")

    def test_a_real_system_is_never_reached(self, run_task: RunTask, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = {"conn_type": "bitrix24", "host": "acme.bitrix24.com", "login": "1", "password": "code0code0code0"}
        monkeypatch.setenv("AIRFLOW_CONN_SALES", json.dumps(connection))
        with pytest.raises(AirflowFailException, match=r"acme\.bitrix24\.com, which a test must not reach"):
            run_task(self.end)

    def test_nor_is_the_vendors_token_server(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        application = {"client_id": "local.1", "client_secret": "of0no0use"}
        connection = {"conn_type": "bitrix24", "host": bitrix24_simulator.control.url, "extra": application}
        monkeypatch.setenv("AIRFLOW_CONN_SALES", json.dumps(connection))
        with pytest.raises(
            AirflowFailException, match=r"oauth\.bitrix\.info/oauth/token/, which a test must not reach"
        ):
            run_task(self.end)

    def test_another_connection_is_led_to_the_simulator(
        self, bitrix24_simulator: Bitrix24Simulator, run_task: RunTask
    ) -> None:
        bitrix24_simulator.connect("sales")
        assert run_task(self.end)["already_ended"] == 1

    def test_when_no_fixture_is_used_a_connection_leads_where_it_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SALES", "bitrix24://1:code0code0code0@acme.bitrix24.com")
        assert Bitrix24Hook("sales").get_conn().portal.base_url == "https://acme.bitrix24.com"


def test_a_trigger_leaves_the_garbage_collector_to_other_tests(
    domo_simulator: DomoSimulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    (instance,) = domo_simulator.add_instances(finishes_after=60)
    monkeypatch.setattr("gc.freeze", lambda: pytest.fail("all that other tests have made is kept for good"))
    run_task(DomoWorkflowSensor(task_id="wait", instance_id=instance, deferrable=True))
    assert domo_simulator.completed == [instance]


@pytest.mark.parametrize("conn_type", ["bitrix24", "domo"])
def test_both_systems_are_empty_at_first(
    bitrix24_simulator: Bitrix24Simulator, domo_simulator: DomoSimulator, conn_type: str
) -> None:
    assert (bitrix24_simulator.workflows, domo_simulator.statuses) == ({}, {})
    bitrix24_simulator.add_workflows()
    domo_simulator.add_instances()
