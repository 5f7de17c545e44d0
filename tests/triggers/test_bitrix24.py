"""Triggers that watch a portal, against the simulator."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import listing
from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.loop_runtime import LoopRuntime
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.triggers.bitrix24 import (
    REPORTED,
    RunningWorkflowsTrigger,
    WorkflowsAppearedTrigger,
    WorkflowsEndedTrigger,
)
from tests.triggers.clock import START, Clock, fire, revive

LONG_AGO = "2026-01-01T00:00:00Z"


def running(**how: Any) -> RunningWorkflowsTrigger:
    given: dict[str, Any] = {
        "bitrix24_conn_id": "bitrix24_default",
        "filters": {"TEMPLATE_ID": 7},
        "stuck_for": None,
        "min_count": 1,
        "max_count": None,
        "poll_interval": 30.0,
        "deadline": None,
    }
    return RunningWorkflowsTrigger(**given | how)


def ended(ids: list[str], **how: Any) -> WorkflowsEndedTrigger:
    given: dict[str, Any] = {"bitrix24_conn_id": "bitrix24_default", "poll_interval": 30.0, "deadline": None}
    return WorkflowsEndedTrigger(workflow_ids=ids, **given | how)


class TestRunningWorkflows:
    def test_it_fires_when_the_number_comes_into_the_range(self, control: Control, clock: Clock) -> None:
        ids: list[str] = []
        clock.events[2] = lambda: ids.extend(control.add_workflows([{"TEMPLATE_ID": 7}] * 2 + [{"TEMPLATE_ID": 8}]))
        event = fire(running())
        assert event == {"status": "success", "workflow_ids": sorted(ids[:2])}
        assert len(clock.naps) == 3

    def test_or_when_it_leaves_what_is_too_many(self, control: Control, clock: Clock) -> None:
        ids = control.add_workflows([{"TEMPLATE_ID": 7}] * 3)
        clock.events[1] = lambda: control.finish_workflows(ids)
        assert fire(running(min_count=0, max_count=0))["workflow_ids"] == []
        assert len(clock.naps) == 2

    def test_a_thousand_ids_at_most_come_with_it(self, control: Control, clock: Clock) -> None:
        control.generate_workflows(1100, templates=1)
        assert len(fire(running(filters={}))["workflow_ids"]) == 1000

    def test_only_what_is_stuck_counts_if_that_is_wanted(self, control: Control, clock: Clock) -> None:
        control.add_workflows([{"TEMPLATE_ID": 7, "OWNED_UNTIL": None}])
        stuck: list[str] = []
        clock.events[1] = lambda: stuck.extend(control.add_workflows([{"TEMPLATE_ID": 7, "OWNED_UNTIL": LONG_AGO}]))
        assert fire(running(stuck_for=300.0))["workflow_ids"] == stuck

    def test_after_the_deadline_it_polls_no_more(self, control: Control, clock: Clock) -> None:
        assert fire(running(deadline=START + 100)) == {"status": "timeout"}
        # The next thirty-second marks after START are 20, 50 and 80 s later.
        assert len(control.requests()) == 3

    @pytest.mark.parametrize("fault", ["refused", "lost_before", "lost_after", "error_500", "html", "truncated"])
    def test_failures_are_borne_for_most_of_an_hour(self, control: Control, clock: Clock, fault: str) -> None:
        (there,) = control.add_workflows([{"TEMPLATE_ID": 7}])
        control.inject(fault, times=80)
        assert fire(running())["workflow_ids"] == [there]

    @pytest.mark.parametrize(
        ("fault", "poll_interval"), [("refused", 60.0), ("lost_before", 5.0), ("error_500", 60.0), ("html", 60.0)]
    )
    def test_an_hour_of_them_is_an_error_however_often_it_polls(
        self, control: Control, clock: Clock, fault: str, poll_interval: float
    ) -> None:
        control.add_workflows([{"TEMPLATE_ID": 7}])
        control.inject(fault, times=None)
        event = fire(running(poll_interval=poll_interval))
        assert (event["status"], event["message"][:21]) == ("error", "Polls have failed for")
        assert 3600 <= clock.now - START <= 3600 + 2 * poll_interval + 120

    def test_a_poll_that_succeeds_starts_the_hour_anew(self, control: Control, clock: Clock) -> None:
        control.inject("refused", times=80)
        clock.events[81] = lambda: control.inject("refused", times=80)
        clock.events[162] = lambda: control.add_workflows([{"TEMPLATE_ID": 7}])
        assert fire(running())["status"] == "success"

    def test_a_blocked_method_is_left_alone_until_it_is_free(self, control: Control, clock: Clock) -> None:
        (there,) = control.add_workflows([{"TEMPLATE_ID": 7}])
        control.inject("operating_limit", method="bizproc.workflow.instances")
        assert fire(running())["workflow_ids"] == [there]
        assert clock.naps[1] >= 290

    @pytest.mark.parametrize("settings", [{"is_admin": False}, {"scopes": []}])
    def test_an_error_that_waiting_cannot_mend_ends_it_at_once(
        self, control: Control, clock: Clock, settings: dict[str, Any]
    ) -> None:
        control.configure(**settings)
        assert fire(running())["status"] == "error"
        assert len(control.requests()) == 1

    @pytest.mark.parametrize("minutes", [0, 4])
    def test_a_webhook_that_is_rotated_ends_no_wait(
        self, control: Control, clock: Clock, connect: Callable[..., None], minutes: int
    ) -> None:
        """The portal changes first; somebody edits the connection some minutes later."""
        changed: list[float] = []

        def goes_on(nap: int) -> None:
            if nap == 3:
                control.configure(webhook_code="rotated0code")
                changed.append(clock.now)
            if changed and clock.now >= changed[0] + 60 * minutes:
                connect("BITRIX24_DEFAULT", login="1", password="rotated0code")
            if changed and clock.now >= changed[0] + 600:
                control.add_workflows([{"TEMPLATE_ID": 7}])

        clock.always = goes_on
        assert fire(running())["status"] == "success"
        assert clock.now < changed[0] + 700

    def test_one_that_is_withdrawn_ends_it_in_minutes(self, control: Control, clock: Clock) -> None:
        control.configure(webhook_known=False)
        event = fire(running())
        assert (event["status"], event["retry_helps"]) == ("error", False)
        assert "its credential is refused as well" in event["message"]
        assert clock.now < START + 600

    def test_dates_that_cannot_be_compared_are_an_error_too(self, control: Control, clock: Clock) -> None:
        control.configure(started_format="site")
        control.add_workflows([{"TEMPLATE_ID": 7}])
        event = fire(running(filters={"<STARTED": "2030-01-01T00:00:00Z"}))
        assert "no ISO 8601 date" in event["message"]

    def test_what_airflow_keeps_of_it_is_json_without_the_secret(self, control: Control) -> None:
        kept = json.dumps(running(stuck_for=300.0, deadline=START).serialize())
        assert control.settings()["webhook_code"] not in kept
        assert json.loads(kept) == list(revive(running(stuck_for=300.0, deadline=START)).serialize())


class TestWorkflowsEnded:
    def test_it_fires_when_none_runs_any_more(self, control: Control, clock: Clock) -> None:
        first, second = control.add_workflows([{}] * 2)
        clock.events[1] = lambda: control.finish_workflows([first])
        clock.events[3] = lambda: control.finish_workflows([second])
        assert fire(ended([first, second])) == {"status": "success", "workflow_ids": [first, second]}
        assert len(clock.naps) == 4

    def test_after_the_deadline_it_gives_up(self, control: Control, clock: Clock) -> None:
        ids = control.add_workflows([{}])
        assert fire(ended(ids, deadline=START + 100)) == {"status": "timeout", "workflow_ids": ids}

    @pytest.mark.parametrize("cancel_on_kill", [True, False])
    def test_a_kill_terminates_them_if_that_is_wanted(
        self, control: Control, clock: Clock, cancel_on_kill: bool
    ) -> None:
        ids = control.add_workflows([{}] * 2)
        control.add_workflows([{}])
        trigger: Any = revive(ended(ids, cancel_on_kill=cancel_on_kill))
        asyncio.run(trigger.on_kill())
        assert sorted(entry["id"] for entry in control.journal("terminate")) == (sorted(ids) if cancel_on_kill else [])


def test_what_is_stuck_by_the_portals_clock_is_seen_where_the_triggerers_is_years_ahead(
    control: Control, clock: Clock
) -> None:
    now = datetime.now(UTC)
    locks = [now - timedelta(minutes=15), now + timedelta(minutes=2)]
    stuck, _ = control.add_workflows([{"OWNED_UNTIL": lock.isoformat(), "TEMPLATE_ID": 7} for lock in locks])
    assert fire(running(stuck_for=300.0))["workflow_ids"] == [stuck]


class TestMany:
    """Triggers of one portal in one event loop."""

    @pytest.fixture(autouse=True)
    def asked(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Return what was asked so far; the second for which the first waits for others is over when all have asked."""
        asked: list[Any] = []
        load, nap = RequestCoalescer.load, clock.asleep

        async def counted(*given: Any) -> Any:
            asked.append(given)
            return await load(*given)

        async def asleep(seconds: float) -> None:
            while seconds == 1.0 and len(asked) < self.most:
                await asyncio.sleep(0.005)
            await nap(seconds)

        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 1.0)
        monkeypatch.setattr(RequestCoalescer, "load", counted)
        monkeypatch.setattr(clock, "asleep", asleep)
        return asked

    def run(self, triggers: list[Any]) -> list[Any]:
        """Run triggers until all have fired, and give what they have said."""
        self.most = len(triggers)

        async def wait(trigger: Any) -> Any:
            (payload,) = [event.payload async for event in revive(trigger).run()]
            return payload

        async def work() -> list[Any]:
            return await asyncio.wait_for(asyncio.gather(*map(wait, triggers)), 300)

        return asyncio.run(work())

    def test_share_their_polls_fifty_to_a_request(self, control: Control, clock: Clock) -> None:
        control.add_workflows([{"TEMPLATE_ID": number} for number in range(1, 121)])
        events = self.run([running(filters={"TEMPLATE_ID": number}) for number in range(1, 121)])
        assert len(events) == 120
        assert len({event["workflow_ids"][0] for event in events}) == 120
        assert len(control.requests()) == 3

    def test_ask_only_once_for_the_same(self, control: Control, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        # The clock of these tests is years ahead of the portal's.
        monkeypatch.setattr(listing, "CLOCKS_DIFFER", math.inf)
        control.add_workflows([{"TEMPLATE_ID": 7, "OWNED_UNTIL": LONG_AGO}])
        events = self.run([running(stuck_for=300.0) for _ in range(40)])
        assert len(events) == 40
        (request,) = control.requests()
        assert request["commands"] is None or len(request["commands"]) <= 1

    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_have_as_many_requests_under_way_as_the_connection_lets(
        self,
        control: Control,
        clock: Clock,
        connect: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        in_flight: int,
    ) -> None:
        code = control.settings()["webhook_code"]
        connect("BITRIX24_DEFAULT", login="1", password=code, extra=json.dumps({"in_flight": in_flight}))
        control.add_workflows([{"TEMPLATE_ID": number} for number in range(1, 301)])
        exchange = LoopRuntime.exchange
        under_way: list[str] = []
        most = 0

        async def counted(self: LoopRuntime, call: str, request: Any) -> Any:
            nonlocal most
            under_way.append(call)
            most = max(most, len(under_way))
            # The first answers come when as many are under way as may be, however fast the portal is.
            while most < in_flight:
                await asyncio.sleep(0)
            try:
                return await exchange(self, call, request)
            finally:
                under_way.remove(call)

        monkeypatch.setattr(LoopRuntime, "exchange", counted)
        self.run([running(filters={"TEMPLATE_ID": number}) for number in range(1, 301)])
        assert most == in_flight

    def test_one_that_the_portal_cannot_answer_fails_alone(self, control: Control, clock: Clock) -> None:
        control.add_workflows([{"TEMPLATE_ID": number} for number in range(1, 21)])
        control.inject("error", method="bizproc.workflow.instances", status=403, code="ACCESS_DENIED", description="-")
        events = self.run([running(filters={"TEMPLATE_ID": number}) for number in range(1, 21)])
        assert sorted(event["status"] for event in events) == ["error"] + ["success"] * 19


def test_a_cancelled_trigger_ends_with_the_message_it_was_cancelled_with(control: Control, clock: Clock) -> None:
    async def work() -> asyncio.CancelledError:
        trigger = running()

        async def wait() -> None:
            async for _ in trigger.run():
                pass

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.2)
        task.cancel("killed by a user")
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        return cancelled.value

    assert asyncio.run(work()).args == ("killed by a user",)


class Store:
    """The state store of an asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


class TestWorkflowsAppeared:
    @staticmethod
    def events(trigger: WorkflowsAppearedTrigger, clock: Clock, polls: int, store: Store | None = None) -> list[Any]:
        """Run it for some polls, and give what it has said."""
        seen: list[Any] = []

        async def wait() -> None:
            revived: Any = revive(trigger)
            revived.asset_state_store = store
            async for event in revived.run():
                seen.append(event.payload["workflow_ids"])  # noqa: PERF401 - it does not end by itself

        async def work() -> None:
            task = asyncio.create_task(wait())
            while len(clock.naps) < polls and not task.done():
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(work())
        return seen

    @pytest.fixture
    def slow_clock(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Have an event loop come to its other work between two polls."""
        nap = clock.asleep

        async def sleep(seconds: float) -> None:
            await nap(seconds)
            await asyncio.sleep(0.02)

        monkeypatch.setattr(clock, "asleep", sleep)
        return clock

    def test_what_is_there_at_first_is_reported_once(self, control: Control, slow_clock: Clock) -> None:
        ids = control.add_workflows([{"TEMPLATE_ID": 7}] * 3)
        events = self.events(WorkflowsAppearedTrigger(filters={"TEMPLATE_ID": 7}), slow_clock, polls=5)
        assert events == [sorted(ids)]

    def test_each_appearance_is_reported(self, control: Control, slow_clock: Clock) -> None:
        ids: list[str] = []
        for poll in (1, 3):
            slow_clock.events[poll] = lambda: ids.extend(control.add_workflows([{"TEMPLATE_ID": 7}]))
        events = self.events(WorkflowsAppearedTrigger(filters={"TEMPLATE_ID": 7}), slow_clock, polls=7)
        assert events == [[one] for one in ids]

    def test_many_come_a_thousand_to_an_event(self, control: Control, slow_clock: Clock) -> None:
        control.generate_workflows(2100)
        events = self.events(WorkflowsAppearedTrigger(), slow_clock, polls=3)
        assert [len(ids) for ids in events] == [1000, 1000, 100]

    def test_none_is_reported_again_while_others_end(self, control: Control, slow_clock: Clock) -> None:
        control.generate_workflows(3000)
        there = set(control.state()["bitrix24"]["workflows"])
        control.inject("others", method="bizproc.workflow.instances", times=None, end=2, start=1)
        events = self.events(WorkflowsAppearedTrigger(), slow_clock, polls=6)
        reported = Counter(one for ids in events for one in ids)
        assert set(reported.values()) == {1}
        running = {id for id, row in control.state()["bitrix24"]["workflows"].items() if row["state"] == "running"}
        assert there & running <= reported.keys()

    @pytest.mark.parametrize("fault", ["refused", "lost_before", "error_500", "html"])
    def test_errors_do_not_end_it(self, control: Control, slow_clock: Clock, fault: str) -> None:
        control.inject(fault, times=15)
        ids = control.add_workflows([{}])
        assert self.events(WorkflowsAppearedTrigger(), slow_clock, polls=18) == [ids]

    def test_nor_does_a_webhook_that_is_rotated(
        self, control: Control, slow_clock: Clock, connect: Callable[..., None]
    ) -> None:
        def rotate() -> None:
            control.configure(webhook_code="rotated0code")
            connect("BITRIX24_DEFAULT", login="1", password="rotated0code")

        ids: list[str] = []
        slow_clock.events[2] = rotate
        slow_clock.events[4] = lambda: ids.extend(control.add_workflows([{}]))
        assert self.events(WorkflowsAppearedTrigger(), slow_clock, polls=8) == [ids]

    def test_nor_does_a_right_that_is_taken_for_a_while(self, control: Control, slow_clock: Clock) -> None:
        control.configure(is_admin=False)
        slow_clock.events[3] = lambda: control.configure(is_admin=True)
        ids = control.add_workflows([{}])
        assert self.events(WorkflowsAppearedTrigger(), slow_clock, polls=7) == [ids]

    def test_a_restart_repeats_nothing_where_airflow_keeps_what_was_reported(
        self, control: Control, slow_clock: Clock
    ) -> None:
        store = Store()
        ids = control.add_workflows([{}] * 2)
        assert self.events(WorkflowsAppearedTrigger(), slow_clock, 3, store) == [sorted(ids)]
        assert sorted(store.values[REPORTED]) == sorted(ids)
        slow_clock.naps.clear()
        (later,) = control.add_workflows([{}])
        assert self.events(WorkflowsAppearedTrigger(), slow_clock, 3, store) == [[later]]

    def test_a_filter_that_is_none_is_refused_when_the_dag_is_read(self) -> None:
        with pytest.raises(FilterError, match="unknown field"):
            WorkflowsAppearedTrigger(filters={"TEMPLATE": 7})

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"poll_interval": 0}, "poll_interval must be more than 0"),
            ({"stuck_for": -1}, "stuck_for must not be negative"),
            ({"stuck_for": 300, "filters": {"<OWNED_UNTIL": "2026-01-01"}}, "is given twice"),
        ],
    )
    def test_so_is_what_no_poll_could_be_made_of(self, arguments: dict[str, Any], told: str) -> None:
        with pytest.raises(ArgumentError, match=told):
            WorkflowsAppearedTrigger(**arguments)

    def test_equal_ones_share_a_stream_and_others_do_not(self) -> None:
        same = [WorkflowsAppearedTrigger(stuck_for=300).shared_stream_key() for _ in range(2)]
        assert same[0] == same[1] != WorkflowsAppearedTrigger(stuck_for=301).shared_stream_key()
