"""The trigger that watches Domo's instances, against the simulator."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.triggers.domo import InstancesTrigger
from tests.triggers.clock import START, Clock, fire, revive

UNKNOWN = "00000000-0000-0000-0000-000000000000"


def watch(ids: list[str], **how: Any) -> InstancesTrigger:
    given: dict[str, Any] = {"domo_conn_id": "domo_default", "poll_interval": 30.0, "deadline": None}
    return InstancesTrigger(instance_ids=ids, **given | how)


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELED", "FAILED"])
def test_every_end_is_an_end(control: Control, clock: Clock, status: str) -> None:
    ids = control.add_domo_instances([{"status": status}])
    assert fire(watch(ids)) == {"status": "success"}
    assert len(control.requests()) == 1


def test_it_waits_for_the_last_and_looks_no_more_at_those_that_have_ended(control: Control, clock: Clock) -> None:
    ended, running = control.add_domo_instances([{"status": "COMPLETED"}, {}])

    def end() -> None:
        control.reset()
        control.add_domo_instances([{"id": running, "status": "COMPLETED"}])

    clock.events[3] = end
    assert fire(watch([ended, running])) == {"status": "success"}
    assert [request["params"]["id"] for request in control.requests("domo")] == [running]
    assert len(clock.naps) == 4


@pytest.mark.parametrize("status", ["PAUSED", "SUCCESS", None, "IN_PROGRESS"])
def test_no_other_word_is_an_end(
    control: Control, clock: Clock, caplog: pytest.LogCaptureFixture, status: str | None
) -> None:
    ids = control.add_domo_instances([{"status": status}])
    assert fire(watch(ids, deadline=START + 100)) == {"status": "timeout"}
    assert ("has the unknown status" in caplog.text) == (status in {"PAUSED", "SUCCESS"})


def test_one_that_is_not_there_is_left_to_who_waits_for_it(control: Control, clock: Clock) -> None:
    assert fire(watch([UNKNOWN])) == {"status": "success"}


@pytest.mark.parametrize("fault", ["refused", "lost_before", "error_500", "html"])
def test_nine_failures_in_a_row_are_borne_and_ten_are_an_error(control: Control, clock: Clock, fault: str) -> None:
    ids = control.add_domo_instances([{"status": "COMPLETED"}])
    control.inject(fault, vendor="domo", times=9)
    assert fire(watch(ids))["status"] == "success"
    control.inject(fault, vendor="domo", times=10)
    assert fire(watch(ids))["status"] == "error"


@pytest.mark.parametrize(
    "settings", [{"domo_token": "another"}, {"domo_blocked": "page"}, {"domo_blocked": "redirect"}]
)
def test_an_error_that_waiting_cannot_mend_ends_it_at_once(
    control: Control, clock: Clock, settings: dict[str, Any]
) -> None:
    ids = control.add_domo_instances([{}])
    control.configure(**settings)
    event = fire(watch(ids, deadline=START + 100))
    assert event["status"] == "error"
    assert len(control.requests()) == 1


@pytest.mark.parametrize("cancel_on_kill", [True, False])
def test_a_kill_cancels_them_if_that_is_wanted(control: Control, clock: Clock, cancel_on_kill: bool) -> None:
    ids = control.add_domo_instances([{}, {}])
    trigger: Any = revive(watch(ids, cancel_on_kill=cancel_on_kill))
    asyncio.run(trigger.on_kill())
    assert [entry["id"] for entry in control.journal("cancel")] == (ids if cancel_on_kill else [])


def test_what_airflow_keeps_of_it_is_json_without_the_secret(control: Control) -> None:
    kept = json.dumps(watch([UNKNOWN], deadline=START).serialize())
    assert control.settings()["domo_token"] not in kept
    assert json.loads(kept) == list(revive(watch([UNKNOWN], deadline=START)).serialize())
