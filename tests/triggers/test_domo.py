"""The trigger that watches Domo's instances, against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_workflows.domo.account import IN_FLIGHT
from airflow_provider_workflows.rest.loop_runtime import LoopRuntime
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
    assert fire(watch(ids)) == {"status": "success", "instance_ids": ids}
    assert len(control.requests()) == 1


def test_it_waits_for_the_last_and_polls_no_more_those_that_have_ended(control: Control, clock: Clock) -> None:
    ended, running = control.add_domo_instances([{"status": "COMPLETED"}, {}])

    def end() -> None:
        control.reset()
        control.add_domo_instances([{"id": running, "status": "COMPLETED"}])

    clock.events[3] = end
    assert fire(watch([ended, running])) == {"status": "success", "instance_ids": [ended, running]}
    assert [request["params"]["id"] for request in control.requests("domo")] == [running]
    assert len(clock.naps) == 4


@pytest.mark.parametrize("status", ["PAUSED", "SUCCESS", None, "IN_PROGRESS"])
def test_no_other_word_is_an_end(
    control: Control, clock: Clock, caplog: pytest.LogCaptureFixture, status: str | None
) -> None:
    ids = control.add_domo_instances([{"status": status}])
    assert fire(watch(ids, deadline=START + 100)) == {"status": "timeout", "instance_ids": ids}
    assert ("has the undocumented status" in caplog.text) == (status in {"PAUSED", "SUCCESS"})


def test_one_that_is_not_there_is_left_to_who_waits_for_it(control: Control, clock: Clock) -> None:
    assert fire(watch([UNKNOWN])) == {"status": "success", "instance_ids": [UNKNOWN]}


@pytest.mark.parametrize("fault", ["refused", "lost_before", "error_500", "html"])
def test_failures_are_borne_for_most_of_an_hour(control: Control, clock: Clock, fault: str) -> None:
    ids = control.add_domo_instances([{"status": "COMPLETED"}])
    control.inject(fault, vendor="domo", times=100)
    assert fire(watch(ids))["status"] == "success"


@pytest.mark.parametrize("fault", ["refused", "lost_before", "error_500", "html"])
def test_an_hour_of_them_is_an_error(control: Control, clock: Clock, fault: str) -> None:
    ids = control.add_domo_instances([{"status": "COMPLETED"}])
    control.inject(fault, vendor="domo", times=None)
    assert fire(watch(ids))["status"] == "error"
    assert 3600 <= clock.now - START <= 3660


def test_how_long_they_are_borne_may_be_set(control: Control, clock: Clock) -> None:
    ids = control.add_domo_instances([{"status": "COMPLETED"}])
    control.inject("refused", vendor="domo", times=None)
    assert fire(watch(ids, tolerance=300.0))["status"] == "error"
    assert 300 <= clock.now - START <= 360


@pytest.mark.parametrize("fault", ["refused", "error_500"])
def test_what_a_poll_has_learnt_is_kept_though_one_read_failed(control: Control, clock: Clock, fault: str) -> None:
    ids = control.add_domo_instances([{"status": "COMPLETED"}] * 20)
    control.inject(fault, vendor="domo", skip=10)
    assert fire(watch(ids)) == {"status": "success", "instance_ids": ids}
    reads = Counter(request["params"]["id"] for request in control.requests("domo"))
    # Besides the one that failed, only what was not read after a refusal.
    assert len(reads) == 20
    assert sum(reads.values()) == 21
    assert len(clock.naps) == 2


def test_an_account_that_refuses_some_of_each_poll_ends_no_wait(control: Control, clock: Clock) -> None:
    ids = control.add_domo_instances([{}] * 6)
    clock.always = lambda nap: control.inject("refused", vendor="domo", skip=5, retry_after=50)
    assert fire(watch(ids, deadline=START + 3 * 3600)) == {"status": "timeout", "instance_ids": ids}
    reads = Counter(request["params"]["id"] for request in control.requests("domo") if not request["fault"])
    assert min(reads.values()) > 50


def test_many_do_not_poll_at_the_same_moment(control: Control, clock: Clock) -> None:
    """They have no requests to share, and the account is spared a burst."""
    ids = control.add_domo_instances([{"status": "COMPLETED"}] * 40)
    polls = []
    for one in ids:
        clock.now = START
        assert fire(watch([one], poll_interval=100.0)) == {"status": "success", "instance_ids": [one]}
        polls.append(clock.naps[0])
        clock.naps.clear()
    assert max(Counter(poll // 10 for poll in polls).values()) < 20


@pytest.mark.parametrize("in_flight", [None, 2])
def test_many_have_few_requests_under_way_at_once(
    control: Control,
    clock: Clock,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    in_flight: int | None,
) -> None:
    if in_flight:
        token = control.settings()["domo_token"]
        connect("DOMO_DEFAULT", password=token, extra=json.dumps({"in_flight": in_flight}))
    ids = control.add_domo_instances([{"status": "COMPLETED"}] * 60)
    exchange = LoopRuntime.exchange
    under_way: list[str] = []
    most = 0

    async def counted(self: LoopRuntime, call: str, request: Any) -> Any:
        nonlocal most
        under_way.append(call)
        most = max(most, len(under_way))
        try:
            return await exchange(self, call, request)
        finally:
            under_way.remove(call)

    monkeypatch.setattr(LoopRuntime, "exchange", counted)

    async def first(one: str) -> Any:
        async for event in revive(watch([one])).run():
            return event.payload["status"]
        return None

    async def work() -> list[Any]:
        return await asyncio.gather(*map(first, ids))

    assert asyncio.run(work()) == ["success"] * 60
    assert 1 < most <= (in_flight or IN_FLIGHT)


@pytest.mark.parametrize("settings", [{"domo_blocked": "page"}, {"domo_blocked": "redirect"}])
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
