"""Several requests under way at once, on a portal that is slow, refuses, or cuts what takes too long."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import Bitrix24Client, Portal
from airflow_provider_workflows.bitrix24.calls import terminate_workflow
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.rest.concurrency import FIRST
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT, Driver
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.simulator.bitrix24 import portal as simulated_portal
from airflow_provider_workflows.simulator.faults import Fault
from tests.operators.remote import INSTALLED, VirtualTime, install
from tests.virtual import PortalRuntime, VirtualPortal

TERMINATE = "bizproc.workflow.terminate"


@pytest.fixture
def control() -> Iterator[Control]:
    with Simulator(clock=INSTALLED) as simulator:
        yield simulator.control


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    return install(VirtualTime(), monkeypatch)


@pytest.fixture
def virtual() -> Iterator[VirtualPortal]:
    with VirtualPortal() as portal:
        yield portal


def terminate(control: Control, ids: list[str], in_flight: int = 4) -> EndReport:
    """Terminate workflows over HTTP."""
    portal = Portal.from_webhook_url(f"{control.url}/rest/1/{control.settings()['webhook_code']}/")
    with Bitrix24Client(
        portal,
        limiter=PortalRateLimiter(clock=Bitrix24Hook.clock.time),
        in_flight=in_flight,
        clock=Bitrix24Hook.clock,
    ) as client:
        return client.run(end_workflows(ids, terminate_workflow))


def assert_ended_once(control: Control, ids: list[str], report: EndReport) -> None:
    assert (sorted(report.ended), report.failed, report.already_ended) == (sorted(ids), {}, [])
    assert Counter(entry["id"] for entry in control.journal()) == dict.fromkeys(ids, 1)


def assert_all_ended(virtual: VirtualPortal, ids: list[str], in_flight: int) -> None:
    """Terminate workflows where no time passes."""
    limiter = PortalRateLimiter(clock=virtual.clock.time)
    driver = Driver(virtual.wire, PortalRuntime(virtual), virtual.clock, limiter=limiter, in_flight=in_flight)
    plan = end_workflows(ids, terminate_workflow)
    report = virtual.run(driver.run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert (sorted(report.ended), report.failed, report.already_ended) == (sorted(ids), {}, [])
    assert Counter(effect["id"] for effect in virtual.world.journal) == dict.fromkeys(ids, 1)


def sizes(requests: Iterable[dict[str, Any]]) -> list[int]:
    """Return the number of commands of each request that ends workflows."""
    batches = [[name for _, name, _ in request["commands"]] for request in requests if request["commands"]]
    return [len(names) for names in batches if names[0] == TERMINATE]


@pytest.fixture
def in_flight() -> int:
    """Return how many requests may be under way."""
    return 4


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch, in_flight: int) -> list[int]:
    """Give, for each request in the order of arrival, how many others the portal was working on.

    However slow the machine, the first are all there before one of them is answered.
    """
    first = min(in_flight, FIRST)
    arrivals: list[int] = []
    under_way = 0
    exchange: Callable[..., Any] = simulated_portal.exchange  # type: ignore[attr-defined]

    async def counted(*arguments: Any) -> Any:
        nonlocal under_way
        arrivals.append(under_way)
        under_way += 1
        async with asyncio.timeout(300):
            while len(arrivals) < first:
                await asyncio.sleep(0.005)
        try:
            return await exchange(*arguments)
        finally:
            under_way -= 1

    monkeypatch.setattr(simulated_portal, "exchange", counted)
    return arrivals


class TestUnderWay:
    @pytest.mark.parametrize("in_flight", [1, 4])
    def test_a_slow_portal_works_on_as_many_requests_as_allowed_and_no_more(
        self, control: Control, clock: VirtualTime, company: list[int], in_flight: int
    ) -> None:
        ids = control.add_workflows([{}] * 800)
        assert_ended_once(control, ids, terminate(control, ids, in_flight))
        assert max(company) + 1 == in_flight

    def test_one_at_a_time_goes_to_a_portal_that_refuses(
        self, control: Control, clock: VirtualTime, company: list[int]
    ) -> None:
        ids = control.add_workflows([{}] * 1000)
        control.configure(latency_seconds=0.05)
        control.inject("refused", times=7)
        assert_ended_once(control, ids, terminate(control, ids))
        statuses = [request["http_status"] for request in control.requests()]
        assert statuses[:7] == [503] * 7
        assert set(statuses[7:]) == {200}, "how many they are depends on how long they take"
        # The first four were under way before the portal said anything; the eighth is the first one it answers.
        assert company[:4] == [0, 1, 2, 3]
        assert company[4:8] == [0] * 4
        assert max(company[8:]) > 0, "it is trusted again"

    def test_requests_that_are_refused_together_are_one_setback(
        self,
        control: Control,
        clock: VirtualTime,
        company: list[int],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        ids = control.add_workflows([{} for _ in range(50 * FIRST)])
        control.inject("refused", times=FIRST)
        assert_ended_once(control, ids, terminate(control, ids))
        pauses = [record for record in caplog.records if record.message.startswith("Pausing for")]
        assert len(pauses) == 1, "one pause for all"

    @pytest.mark.parametrize("in_flight", [1, 4])
    def test_a_block_that_several_requests_meet_is_waited_out_once(
        self, virtual: VirtualPortal, in_flight: int
    ) -> None:
        ids = virtual.add_workflows(50 * in_flight)
        virtual.world.settings.latency_seconds = 0.3
        virtual.world.faults.add(Fault("operating_limit", method="batch", times=in_flight))
        assert_all_ended(virtual, ids, in_flight)
        assert 300 <= virtual.clock.monotonic() < 320

    def test_a_portal_that_refuses_for_ever_is_left_alone_after_an_hour(
        self, control: Control, clock: VirtualTime
    ) -> None:
        ids = control.add_workflows([{}] * 500)
        control.inject("refused", times=None)
        began = clock.time()
        report = terminate(control, ids, in_flight=4)
        assert sorted(report.failed) == sorted(ids)
        assert control.journal() == []
        assert len(control.requests()) <= 300
        assert clock.time() - began >= 3600
        assert sum(clock.naps) < 3700


class TestTheSizeOfABatch:
    @pytest.mark.parametrize("reply", ["html", "reset"])
    def test_what_the_portal_cuts_after_60_s_is_sent_in_batches_of_half_a_minute(
        self, virtual: VirtualPortal, reply: str
    ) -> None:
        # 2 s a command; 50 of them are cut.
        virtual.world.settings.change({"method_seconds": {TERMINATE: 2.0}, "request_cut_reply": reply})
        assert_all_ended(virtual, virtual.add_workflows(200), in_flight=2)
        sent = sizes(virtual.world.requests)
        assert sent[:2] == [50, 5], "those that were under way before anything was known"
        # From the first one on that was answered, none is expected to pass 30 s.
        assert max(sent[2:]) <= 15

    def test_a_slow_portal_gets_smaller_batches_before_it_cuts_one(self, virtual: VirtualPortal) -> None:
        virtual.world.settings.change({"method_seconds": {TERMINATE: 1.0}})
        assert_all_ended(virtual, virtual.add_workflows(150), in_flight=1)
        sent = sizes(virtual.world.requests)
        assert sent[0] == 5
        assert max(sent[1:]) <= 30
