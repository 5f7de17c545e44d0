"""DomoWorkflowSensor, against an account whose instances come to their ends, or not."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred

from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.watching import NotCompletedError
from airflow_provider_workflows.rest.errors import AuthenticationError
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.triggers import polling
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import fire, resume, run_through
from tests.operators.remote import VirtualTime, refused, render

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def add(control: Control, **fields: Any) -> str:
    """Put an instance into the account."""
    return control.add_domo_instances([fields])[0]


def sensor(instance_id: Any, **how: Any) -> DomoWorkflowSensor:
    """Return a sensor."""
    return DomoWorkflowSensor(task_id="watch", instance_id=instance_id, **{"poke_interval": 0.05, **how})


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "in the worker"])
class TestEnd:
    def test_a_completed_instance_is_what_it_waits_for(self, control: Control, context: Any, deferrable: bool) -> None:
        one = add(control, finishes_after=0.3)
        result, _ = run_through(lambda: sensor(one, deferrable=deferrable), context)
        assert (result["id"], result["status"]) == (one, "COMPLETED")

    @pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
    def test_another_end_fails_the_task(self, control: Control, context: Any, deferrable: bool, status: str) -> None:
        one = add(control, status=status)
        with refused(NotCompletedError, match=f"{one} is {status}"):
            run_through(lambda: sensor(one, deferrable=deferrable), context)

    def test_a_failure_that_comes_later_fails_it_too(self, control: Control, context: Any, deferrable: bool) -> None:
        one = add(control, finishes_after=0.3, final_status="FAILED")
        with refused(NotCompletedError, match=f"{one} is FAILED"):
            run_through(lambda: sensor(one, deferrable=deferrable), context)

    @pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
    def test_unless_that_is_wanted(self, control: Control, context: Any, deferrable: bool, status: str) -> None:
        one = add(control, status=status)
        result, _ = run_through(lambda: sensor(one, deferrable=deferrable, wanted_statuses=[status]), context)
        assert result["status"] == status

    @pytest.mark.parametrize("asked", [{}, {"retry_after": 600}], ids=["refused", "refused for longer"])
    def test_an_account_that_refuses_every_poll_is_not_waited_for_longer_than_the_timeout(
        self, control: Control, context: Any, clock: VirtualTime, deferrable: bool, asked: dict[str, Any]
    ) -> None:
        one = add(control)
        control.inject("refused", vendor="domo", times=None, **asked)
        began = clock.time()
        with pytest.raises(AirflowSensorTimeout):
            run_through(lambda: sensor(one, deferrable=deferrable, timeout=60), context)
        assert clock.time() - began >= 60
        assert sum(clock.naps) <= 60 + 1

    def test_one_that_does_not_end_times_out(self, control: Control, context: Any, deferrable: bool) -> None:
        one = add(control)
        with pytest.raises(AirflowSensorTimeout):
            run_through(lambda: sensor(one, deferrable=deferrable, timeout=0.2), context)

    def test_an_unknown_status_is_no_end(
        self, control: Control, context: Any, deferrable: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = add(control, status="PAUSED")
        with pytest.raises(AirflowSensorTimeout):
            run_through(lambda: sensor(one, deferrable=deferrable, timeout=0.2), context)
        assert "has the undocumented status 'PAUSED'" in caplog.text

    def test_one_that_is_not_there_is_an_error(self, control: Control, context: Any, deferrable: bool) -> None:
        with refused(NotFoundError):
            run_through(lambda: sensor(UNKNOWN, deferrable=deferrable), context)

    def test_what_a_start_returns_can_be_given(self, control: Control, context: Any, deferrable: bool) -> None:
        one = add(control, status="COMPLETED")
        watch = sensor("{{ started }}", deferrable=deferrable)
        render(watch, started={"id": one, "status": None})
        assert watch.execute(context)["id"] == one


def test_all_polls_together_are_not_waited_for_longer_than_the_timeout(
    control: Control, context: Any, clock: VirtualTime
) -> None:
    watch = sensor(add(control), timeout=60)
    assert not watch.poke(context).is_done
    clock.sleep(50)
    clock.naps.clear()
    control.inject("refused", vendor="domo", times=None)
    with pytest.raises(AirflowSensorTimeout, match="its last poll was refused"):
        watch.poke(context)
    assert sum(clock.naps) <= 10


def test_the_first_poll_is_a_part_of_what_is_waited_in_the_triggerer(
    control: Control, context: Any, clock: VirtualTime
) -> None:
    watch = sensor(add(control), deferrable=True, timeout=1000)
    control.inject("refused", vendor="domo", retry_after=600)
    with pytest.raises(TaskDeferred) as deferred:
        watch.execute(context)
    trigger: Any = deferred.value.trigger
    assert sum(clock.naps) <= 60, "longer refusals are waited out in the triggerer"
    assert trigger.deadline - clock.time() <= 1000 - sum(clock.naps)


class TestRefused:
    @pytest.mark.parametrize("statuses", [(), ("DONE",), ("COMPLETED", "IN_PROGRESS")])
    def test_statuses_that_are_no_end(self, control: Control, context: Any, statuses: Any) -> None:
        with pytest.raises(ValueError, match="wanted_statuses must be "):
            sensor(add(control), wanted_statuses=statuses).poke(context)
        assert control.requests() == []

    @pytest.mark.parametrize("one", ["", "None", "a b", [], [UNKNOWN, "b"]])
    def test_what_is_not_one_id(self, control: Control, context: Any, one: Any) -> None:
        with pytest.raises(ValueError, match="instance_id"):
            sensor(one).poke(context)
        assert control.requests() == []


class TestDeferred:
    def test_an_instance_that_vanishes_fails_the_task(self, control: Control, context: Any, clock: VirtualTime) -> None:
        one = add(control)
        with pytest.raises(TaskDeferred) as deferred:
            sensor(one, deferrable=True).execute(context)
        control.reset()
        with refused(NotFoundError):
            resume(lambda: sensor(one, deferrable=True), context, deferred.value, fire(deferred.value.trigger))

    def test_a_credential_that_is_withdrawn_fails_it(
        self, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polling, "REFUSED_SECONDS", 0.05)
        monkeypatch.setattr(polling, "REFUSED_PAUSE", 0.05)
        one = add(control)
        with pytest.raises(TaskDeferred) as deferred:
            sensor(one, deferrable=True).execute(context)
        control.configure(domo_token="another one")
        event = fire(deferred.value.trigger)
        with refused(WaitFailedError, match="Check the credential"):
            resume(lambda: sensor(one, deferrable=True), context, deferred.value, event)
        with refused(AuthenticationError):
            sensor(one).execute(context)
