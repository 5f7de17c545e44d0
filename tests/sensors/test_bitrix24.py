"""RunningWorkflowsSensor, against a portal with more or fewer workflows than wanted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    TaskDeferred,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_workflows.bitrix24.errors import NotAdministratorError
from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.operators.bitrix24 import TerminateWorkflowOperator
from airflow_provider_workflows.rest.errors import ArgumentError, ProviderError, RateLimitError
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import fire, resume
from tests.operators.remote import VirtualTime, refused, render

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def add(control: Control, count: int, **fields: Any) -> list[str]:
    """Put running workflows into the portal."""
    return control.add_workflows([{"ID": f"66e412fdc9bd44.{number:08d}", **fields} for number in range(count)])


def poke(context: Any, **how: Any) -> PokeReturnValue:
    """Look once."""
    return RunningWorkflowsSensor(task_id="watch", **how).poke(context)


def watched(happens: Callable[[], object], **how: Any) -> RunningWorkflowsSensor:
    """Return a sensor after each poll of which something happens."""
    sensor = RunningWorkflowsSensor(task_id="watch", poke_interval=0.01, **how)
    poke = sensor.poke

    def and_then(context: Any) -> PokeReturnValue:
        value = poke(context)
        happens()
        return value

    setattr(sensor, "poke", and_then)  # noqa: B010 - mypy minds the other way
    return sensor


class TestRange:
    @pytest.mark.parametrize(
        ("count", "how", "met"),
        [
            (0, {}, False),
            (1, {}, True),
            (70, {}, True),
            (0, {"min_count": 0, "max_count": 0}, True),
            (1, {"min_count": 0, "max_count": 0}, False),
            (0, {"min_count": 0}, True),
            (4, {"min_count": 5}, False),
            (5, {"min_count": 5}, True),
            (5, {"max_count": 5}, True),
            (6, {"max_count": 5}, False),
            (60, {"min_count": 60, "max_count": 60}, True),
            (61, {"min_count": 60, "max_count": 60}, False),
        ],
    )
    def test_it_is_met_when_the_number_lies_in_it(
        self, control: Control, context: Any, count: int, how: dict, met: bool
    ) -> None:
        ids = add(control, count)
        looked = poke(context, **how)
        assert (looked.is_done, looked.xcom_value) == (met, ids if met else None)

    @pytest.mark.parametrize("how", [{"min_count": -1}, {"max_count": 0}, {"min_count": 3, "max_count": 2}])
    def test_one_that_nothing_can_lie_in_is_refused_before_anything_is_sent(
        self, control: Control, context: Any, how: dict
    ) -> None:
        with pytest.raises(ValueError, match=r"max_count \(.*\) must be min_count"):
            poke(context, **how)
        assert control.requests() == []

    def test_workflows_that_have_ended_do_not_count(self, control: Control, context: Any) -> None:
        ids = add(control, 3)
        control.finish_workflows(ids[1:])
        assert poke(context, max_count=1).xcom_value == ids[:1]

    def test_it_waits_until_the_last_is_gone(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        sensor = RunningWorkflowsSensor(task_id="watch", min_count=0, max_count=0)
        looked = []
        for id in ids:
            looked.append(sensor.poke(context).is_done)
            control.finish_workflows([id])
        assert [*looked, sensor.poke(context).is_done] == [False, False, True]


class TestWhichCount:
    def test_only_those_that_match_the_filter(self, control: Control, context: Any) -> None:
        control.add_workflows([{"ID": "a.1", "STARTED": OLD}, {"ID": "b.2", "STARTED": NEW}])
        assert poke(context, filters={"<STARTED": "2026-01-15"}).xcom_value == ["a.1"]
        assert not poke(context, filters={"<STARTED": "2025-01-15"}).is_done

    @pytest.mark.parametrize(("stuck_for", "expected"), [(5, ["a.1", "b.2"]), (30, ["a.1"]), (90, None)])
    def test_stuck_ones_are_those_whose_lock_ended_that_long_ago(
        self, control: Control, context: Any, stuck_for: int, expected: list[str] | None
    ) -> None:
        now = datetime.now(UTC)
        locks = {"a.1": 60, "b.2": 10, "c.3": 1, "d.4": -4, "e.5": None}
        control.add_workflows(
            [
                {
                    "ID": id,
                    "STARTED": OLD,
                    "OWNED_UNTIL": None if ago is None else (now - timedelta(minutes=ago)).isoformat(),
                }
                for id, ago in locks.items()
            ]
        )
        assert poke(context, stuck_for=timedelta(minutes=stuck_for)).xcom_value == expected

    @pytest.mark.parametrize("filters", [{"STARTD": OLD}, {"%ID": "a"}, {"STARTED": "soon"}, "", []])
    def test_a_filter_that_would_count_more_is_refused_before_anything_is_sent(
        self, control: Control, context: Any, filters: Any
    ) -> None:
        with pytest.raises(FilterError):
            poke(context, filters=filters)
        assert control.requests() == []

    def test_a_portal_that_ignores_the_filter_does_not_widen_the_count(
        self, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(control, 60, TEMPLATE_ID=1)
        control.add_workflows([{"ID": "f.1", "TEMPLATE_ID": 2, "STARTED": NEW}])
        monkeypatch.setattr("airflow_provider_workflows.simulator.bitrix24.listing.conditions", lambda *_: ())
        assert not poke(context, filters={"TEMPLATE_ID": 2}, min_count=2).is_done
        assert poke(context, filters={"TEMPLATE_ID": 2}, min_count=1, max_count=1).xcom_value == ["f.1"]

    def test_a_template_fills_in_the_values(self, control: Control, context: Any) -> None:
        control.add_workflows([{"ID": "a.1", "STARTED": OLD}, {"ID": "b.2", "STARTED": NEW}])
        sensor = RunningWorkflowsSensor(task_id="watch", filters={"<STARTED": "{{ ds }}"})
        render(sensor, ds="2026-01-15")
        assert sensor.poke(context).xcom_value == ["a.1"]


class TestIds:
    def test_up_to_a_thousand_come_the_oldest_first(self, control: Control, context: Any) -> None:
        control.generate_workflows(1200)
        rows = control.state()["bitrix24"]["workflows"].values()
        oldest = sorted(rows, key=lambda row: (datetime.fromisoformat(row["STARTED"]), row["ID"]))
        assert poke(context).xcom_value == [row["ID"] for row in oldest[:1000]]

    def test_they_are_ready_to_be_ended(self, control: Control, context: Any) -> None:
        add(control, 70)
        ids: Any = poke(context).xcom_value
        report = TerminateWorkflowOperator(task_id="end", workflow_id=ids).execute(context)
        assert sorted(report["ended_ids"]) == ids
        assert poke(context, min_count=0, max_count=0).is_done


class TestCost:
    @pytest.mark.parametrize("how", [{"min_count": 5000}, {"min_count": 0, "max_count": 0}])
    def test_a_poll_that_does_not_meet_it_is_one_request_for_one_small_page(
        self, control: Control, context: Any, how: dict
    ) -> None:
        control.generate_workflows(2000)
        assert not poke(context, **how).is_done
        (sent,) = control.requests()
        assert (sent["method"], sent["params"]["SELECT"]) == ("bizproc.workflow.instances", ["ID", "STARTED"])

    def test_one_that_meets_it_with_fifty_is_one_request_too(self, control: Control, context: Any) -> None:
        add(control, 50)
        assert poke(context).is_done
        assert len(control.requests()) == 1


class TestFaults:
    @pytest.mark.parametrize("fault", ["refused", "lost_before", "lost_after", "error_500", "truncated", "empty_body"])
    def test_whatever_breaks_three_times_the_count_is_right(self, control: Control, context: Any, fault: str) -> None:
        ids = add(control, 3)
        control.inject(fault, times=3)
        assert poke(context, min_count=3, max_count=3).xcom_value == ids

    def test_a_portal_that_never_answers_is_an_error_not_an_empty_count(self, control: Control, context: Any) -> None:
        add(control, 3)
        control.inject("refused", times=None)
        with pytest.raises(RateLimitError):
            poke(context, min_count=0, max_count=0)

    def test_a_credential_that_may_not_count_is_told_at_once(self, control: Control, context: Any) -> None:
        control.configure(is_admin=False)
        with refused(NotAdministratorError):
            poke(context, min_count=0, max_count=0)
        assert len(control.requests()) == 1


class TestModes:
    @pytest.fixture
    def context(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Return the context that a sensor asks for its first start; Airflow 2 asks the database instead."""
        sensors = sys.modules[BaseSensorOperator.__module__]
        monkeypatch.setattr(sensors, "_orig_start_date", lambda **_: Started.began, raising=False)

        class Started:
            dag_id = task_id = run_id = "x"
            map_index = max_tries = 0
            began: datetime | None = None

            def get_first_reschedule_date(self, context: Any) -> datetime | None:
                return self.began

            def xcom_push(self, key: str, value: Any) -> None:
                pass

        return {"ti": Started()}

    def test_poking_it_returns_the_ids(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        assert RunningWorkflowsSensor(task_id="watch", mode="poke").execute(context) == ids

    def test_poking_it_polls_until_it_is_met(self, control: Control, context: Any) -> None:
        polls: list[int] = []

        def happens() -> None:
            polls.append(1)
            if len(polls) == 3:
                add(control, 1)

        sensor = watched(happens, mode="poke")
        assert sensor.execute(context) == ["66e412fdc9bd44.00000000"]
        assert len(control.requests()) == 4

    def test_rescheduled_it_gives_its_slot_back_and_polls_anew(self, control: Control, context: Any) -> None:
        def attempt() -> Any:
            sensor = RunningWorkflowsSensor(task_id="watch", mode="reschedule", poke_interval=600)
            return sensor.execute(context)

        for _ in range(2):
            with pytest.raises(AirflowException) as rescheduled:
                attempt()
            assert type(rescheduled.value).__name__ == "AirflowRescheduleException"
            left = rescheduled.value.reschedule_date - datetime.now(UTC)  # type: ignore[attr-defined]
            assert timedelta(minutes=9) < left <= timedelta(minutes=10)
        ids = add(control, 1)
        assert attempt() == ids
        assert len(control.requests()) == 3

    @pytest.mark.parametrize("left", [100, -1])
    def test_an_account_that_refuses_all_rescheduled_polls_ends_it_at_its_timeout(
        self, control: Control, context: Any, clock: VirtualTime, left: int
    ) -> None:
        sensor = RunningWorkflowsSensor(task_id="watch", mode="reschedule", timeout=3000)
        # As it is in Airflow's database when a later process polls.
        type(context["ti"]).began = datetime.fromtimestamp(clock.time() + left - 3000, UTC)
        control.inject("refused", times=None)
        with pytest.raises(AirflowSensorTimeout, match="timed out"):
            sensor.execute(context)
        assert sum(clock.naps) <= left + 5

    def test_an_error_is_not_waited_out(self, control: Control, context: Any) -> None:
        control.configure(is_admin=False)
        for mode in ("poke", "reschedule"):
            with refused(NotAdministratorError):
                RunningWorkflowsSensor(task_id="watch", mode=mode).execute(context)


class TestDeferred:
    @staticmethod
    def sensor(**how: Any) -> RunningWorkflowsSensor:
        """Return a sensor that waits in the triggerer."""
        return RunningWorkflowsSensor(task_id="watch", **{"deferrable": True, "poke_interval": 0.05, **how})

    def deferred(self, context: Any, **how: Any) -> TaskDeferred:
        """Have a sensor poll in vain."""
        with pytest.raises(TaskDeferred) as deferred:
            self.sensor(**how).execute(context)
        return deferred.value

    def test_it_polls_before_it_defers(self, control: Control, context: Any) -> None:
        ids = add(control, 3)
        assert self.sensor().execute(context) == ids

    @pytest.mark.parametrize(
        ("before", "how", "change"),
        [
            (0, {}, lambda control: add(control, 3)),
            (0, {"filters": {"TEMPLATE_ID": 7}}, lambda control: add(control, 3, TEMPLATE_ID=7)),
            (0, {"filters": {"<STARTED": datetime(2026, 3, 1, tzinfo=UTC)}}, lambda c: add(c, 3, STARTED=OLD)),
            (0, {"stuck_for": timedelta(minutes=5)}, lambda control: add(control, 3, OWNED_UNTIL=OLD)),
        ],
    )
    def test_it_gives_the_ids_that_the_trigger_has_seen(
        self, control: Control, context: Any, before: int, how: Any, change: Any
    ) -> None:
        deferred = self.deferred(context, **how)
        ids = change(control)
        event = fire(deferred.trigger)
        assert resume(lambda: self.sensor(**how), context, deferred, event) == ids

    def test_it_waits_until_none_is_left(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        how = {"min_count": 0, "max_count": 0}
        deferred = self.deferred(context, **how)
        control.finish_workflows(ids)
        assert resume(lambda: self.sensor(**how), context, deferred, fire(deferred.trigger)) == []

    def test_it_times_out_as_every_sensor_does(self, control: Control, context: Any) -> None:
        deferred = self.deferred(context, timeout=0.2)
        event = fire(deferred.trigger)
        with pytest.raises(AirflowSensorTimeout, match="timed out"):
            resume(self.sensor, context, deferred, event)

    def test_a_time_out_can_be_a_skip(self, control: Control, context: Any) -> None:
        deferred = self.deferred(context, timeout=0.2)
        with pytest.raises(AirflowSkipException):
            resume(lambda: self.sensor(soft_fail=True), context, deferred, fire(deferred.trigger))

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            {"status": "done"},
            {"status": "error", "message": "no"},
            {"status": "success"},
            {"status": "success", "workflow_ids": "a.1"},
            {"status": "success", "workflow_ids": ["../../a"]},
            {"status": "success", "workflow_ids": [7]},
        ],
    )
    def test_an_event_that_is_not_ours_fails_the_task(self, control: Control, context: Any, event: Any) -> None:
        deferred = self.deferred(context)
        with pytest.raises((AirflowFailException, ProviderError)):
            resume(self.sensor, context, deferred, event)

    def test_an_error_that_waiting_cannot_mend_fails_the_task(self, control: Control, context: Any) -> None:
        deferred = self.deferred(context)
        control.configure(is_admin=False)
        with refused(WaitFailedError, match="not an administrator"):
            resume(self.sensor, context, deferred, fire(deferred.trigger))

    def test_what_is_kept_of_it_holds_no_secret(self, control: Control, context: Any) -> None:
        deferred = self.deferred(context)
        secret = control.settings()["webhook_code"]
        assert secret not in json.dumps([deferred.trigger.serialize(), deferred.kwargs])


class TestSoftAndNeverFail:
    """What a sensor makes of a failure is the same whether it waits in the worker or in the triggerer."""

    @pytest.fixture
    def context(self, context: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Return a context; Airflow 2 asks the database for the sensor's first start."""
        monkeypatch.setattr(
            sys.modules[BaseSensorOperator.__module__], "_orig_start_date", lambda **_: None, raising=False
        )
        return context

    @staticmethod
    def poked(happens: Any, context: Any, **how: Any) -> str:
        try:
            watched(happens, **how).execute(context)
        except Exception as error:
            return type(error).__name__.replace("WaitFailedError", "NotAdministratorError")
        return "success"

    @staticmethod
    def deferred(happens: Any, context: Any, **how: Any) -> str:
        def make() -> RunningWorkflowsSensor:
            return RunningWorkflowsSensor(task_id="watch", deferrable=True, **{"poke_interval": 0.05, **how})

        with pytest.raises(TaskDeferred) as deferred:
            make().execute(context)
        happens()
        try:
            resume(make, context, deferred.value, fire(deferred.value.trigger))
        except Exception as error:
            return type(error).__name__.replace("WaitFailedError", "NotAdministratorError")
        return "success"

    @pytest.mark.parametrize("how", [{}, {"soft_fail": True}, {"never_fail": True}])
    def test_an_error_that_waiting_cannot_mend(self, control: Control, context: Any, how: Any) -> None:
        def happens() -> None:
            control.configure(is_admin=False)

        ended = self.deferred(happens, context, **how)
        control.configure(is_admin=True)
        assert ended == self.poked(happens, context, **how)
        assert (ended == "AirflowSkipException") >= ("never_fail" in how)

    @pytest.mark.parametrize("how", [{}, {"soft_fail": True}])
    def test_time_that_is_up(self, control: Control, context: Any, how: Any) -> None:
        ended = self.deferred(lambda: None, context, timeout=0.05, **how)
        assert ended == self.poked(lambda: None, context, timeout=0, **how)
        assert ended == ("AirflowSkipException" if how else "AirflowSensorTimeout")

    def test_never_is_never(self, control: Control, context: Any) -> None:
        assert self.deferred(lambda: None, context, timeout=0.05, never_fail=True) == "AirflowSkipException"


class TestStartFromTrigger:
    @staticmethod
    def make(**how: Any) -> RunningWorkflowsSensor:
        return RunningWorkflowsSensor(task_id="watch", deferrable=True, start_from_trigger=True, **how)

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow fills in no templates there")
    def test_airflow_is_told_the_trigger_with_its_templates(self) -> None:
        filters = {"TEMPLATE_ID": "{{ params.template }}", "<STARTED": datetime(2026, 1, 1, tzinfo=UTC)}
        sensor = self.make(filters=filters, timeout=timedelta(hours=2), poke_interval=30, tolerance=60)
        given = sensor.start_trigger_args
        assert given is not None
        assert sensor.start_from_trigger
        assert (given.next_method, given.timeout) == ("execute_complete", timedelta(hours=2))
        assert json.loads(json.dumps(given.trigger_kwargs)) == {
            "bitrix24_conn_id": "bitrix24_default",
            "filters": {"TEMPLATE_ID": "{{ params.template }}", "<STARTED": "2026-01-01T00:00:00+00:00"},
            "stuck_for": None,
            "min_count": 1,
            "max_count": None,
            "poll_interval": 30.0,
            "deadline": None,
            "tolerance": 60,
        }
        # What Airflow fills in are fields that the trigger has under the same name.
        assert set(sensor.template_fields) <= set(given.trigger_kwargs or {})

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="it is not done there")
    @pytest.mark.parametrize(
        "how",
        [
            {"filters": "{{ params.filters }}"},
            {"filters": {"ID": "{{ ti.xcom_pull('pick') }}"}},
            {"filters": {"!ID": ["{{ xcom }}"]}},
            {"bitrix24_conn_id": "{{ ti.xcom_pull('pick') }}"},
        ],
    )
    def test_what_the_triggerer_cannot_fill_in_is_refused_in_the_dag_file(self, how: dict[str, Any]) -> None:
        with pytest.raises(ArgumentError, match="start_from_trigger"):
            self.make(**how)

    @pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="it is done there")
    def test_earlier_airflows_start_it_in_a_worker(self) -> None:
        assert not self.make().start_from_trigger

    def test_without_deferring_it_means_nothing(self) -> None:
        assert not RunningWorkflowsSensor(task_id="watch", start_from_trigger=True).start_from_trigger

    def test_a_worker_that_runs_it_all_the_same_defers(self, control: Control, context: Any) -> None:
        with pytest.raises(TaskDeferred):
            self.make().execute(context)
