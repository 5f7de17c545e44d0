"""Whatever comes back, a plan ends in a result or a typed error, soon, and what was done is accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.checks import check_portal
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.flows import switch_flow
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.listing import list_workflows
from airflow_provider_workflows.bitrix24.overview import read_overview
from airflow_provider_workflows.domo.cancelling import cancel_instances
from airflow_provider_workflows.domo.watching import read_instance, unfinished
from airflow_provider_workflows.rest.driver import Driver
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.rest.replies import LONGEST_WAIT
from airflow_provider_workflows.simulator.faults import Fault
from tests.rest.test_any_reply import DOMO, responses
from tests.virtual import PortalRuntime, VirtualPortal

#: Seconds for which refusals are borne here.
RETRY_TIMEOUT = 900.0


class Lying(PortalRuntime):
    """Sends requests to where they belong, but gives other replies as long as it has some."""

    def __init__(self, portal: VirtualPortal, lies: list[Response | None], honest: Any = None) -> None:
        super().__init__(portal)
        self._lies = iter(lies)
        self._honest = honest or super().exchange
        self.sent = 0

    async def exchange(self, call: str, request: Request) -> Response:
        self.sent += 1
        assert self.sent < 2000, "this goes on for ever"
        answer = await self._honest(call, request)
        return next(self._lies, None) or answer


#: What replaces the replies, one after the other; ``None`` leaves one as it is.
lies = st.lists(responses | st.none(), max_size=6)


def outcome(portal: VirtualPortal, runtime: PortalRuntime, wire: Any, plan: Plan[Any]) -> Any:
    """Return the plan's result, or its error, which must be a typed one."""
    limiter: Any = PortalRateLimiter(clock=portal.clock.time) if wire is portal.wire else None
    driver: Driver[Any] = Driver(wire, runtime, portal.clock, limiter=limiter)
    try:
        result = portal.run(driver.run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    except ApiError as error:
        result = error
    assert portal.clock.monotonic() < RETRY_TIMEOUT + 10 * LONGEST_WAIT
    return result


@settings(max_examples=60)
@given(lies)
def test_each_workflow_that_was_killed_is_accounted_for(replies: list[Response | None]) -> None:
    with VirtualPortal() as portal:
        ids = portal.add_workflows(120)
        report = outcome(portal, Lying(portal, replies), portal.wire, end_workflows(ids, calls.kill_workflow))
        assert isinstance(report, EndReport)
        assert sorted([*report.ended, *report.already_ended, *report.failed]) == sorted(ids)
        killed = {effect["id"] for effect in portal.world.journal}
        assert report.failed or killed == set(ids)


@pytest.mark.parametrize(
    "reply",
    [
        b'{"result":' * 100_000,
        b"NaN",
        b"<html>",
        b"",
        b'{"result": {"result": {"c0": true}, "result_time": {"c0": 7}}, "time": {"operating": "abc"}}',
        b'{"result": true, "time": {"operating": "abc", "operating_reset_at": 1e400, "duration": "x"}}',
    ],
    ids=["deep", "not a number", "html", "empty", "one of fifty", "not a batch"],
)
def test_what_was_done_before_a_strange_reply_is_told_as_done(reply: bytes) -> None:
    with VirtualPortal() as portal:
        ids = portal.add_workflows(200)
        runtime = Lying(portal, [Response(200, {}, reply)] * 2)
        report = outcome(portal, runtime, portal.wire, end_workflows(ids, calls.kill_workflow))
        assert {effect["id"] for effect in portal.world.journal} == set(ids)
        assert (sorted(report.ended), report.already_ended, report.failed) == (sorted(ids), [], {})


@pytest.mark.parametrize(
    "strange",
    [{"operating": "abc", "operating_reset_at": "x", "duration": "y"}, {"operating": 1e300, "duration": 1e-320}, 7, []],
)
def test_strange_times_cost_nothing(strange: Any) -> None:
    with VirtualPortal() as portal:
        ids = portal.add_workflows(600)
        portal.world.faults.add(Fault("strange_time", times=None, options={"time": strange}))
        report = outcome(portal, Lying(portal, []), portal.wire, end_workflows(ids, calls.terminate_workflow))
        assert (sorted(report.ended), report.failed) == (sorted(ids), {})
        assert portal.clock.monotonic() < 10


@settings(max_examples=60)
@given(lies)
def test_a_list_is_one_or_a_typed_error(replies: list[Response | None]) -> None:
    with VirtualPortal() as portal:
        ids = portal.add_workflows(230)
        wanted = WorkflowFilter.parse({})
        rows = outcome(portal, Lying(portal, replies), portal.wire, list_workflows(wanted))
        assert isinstance(rows, (list, ApiError))
        if isinstance(rows, list) and not any(replies):
            assert sorted(row.id for row in rows) == sorted(ids)


DOMO_PLANS: list[Callable[[], Plan[Any]]] = [
    lambda: read_instance("i1"),
    lambda: unfinished(["i1", "i2"]),
    lambda: cancel_instances(["i1", "i2"]),
    lambda: cancel_instances(["i1", "i2"], wait_for=60.0),
]


@settings(max_examples=60)
@given(lies, st.sampled_from(DOMO_PLANS))
def test_so_is_what_domo_is_asked(replies: list[Response | None], plan: Callable[[], Plan[Any]]) -> None:
    async def cancelled(call: str, request: Request) -> Response:
        return Response(200, {}, json.dumps({"id": "i1", "modelId": "m", "status": "CANCELED"}).encode())

    with VirtualPortal() as portal:
        result = outcome(portal, Lying(portal, replies, cancelled), DOMO, plan())
        if isinstance(result, EndReport):
            assert sorted([*result.ended, *result.already_ended, *result.failed]) == ["i1", "i2"]


@settings(max_examples=60)
@given(lies)
def test_a_flow_is_switched_or_not_but_never_left_untold(replies: list[Response | None]) -> None:
    with VirtualPortal() as portal:
        outcome(portal, Lying(portal, replies), portal.wire, switch_flow(7, active=True))


class Odd(PortalRuntime):
    """Answers each command of a batch, and each other call, with the same result."""

    def __init__(self, portal: VirtualPortal, result: Any) -> None:
        super().__init__(portal)
        self.sent = 0
        self._result = result

    async def exchange(self, call: str, request: Request) -> Response:
        self.sent += 1
        commands = (request.body or {}).get("cmd")
        result = {"result": dict.fromkeys(commands, self._result)} if commands else self._result
        return Response(200, {}, json.dumps({"result": result}).encode())


@pytest.mark.parametrize("plan", [read_overview, check_portal])
@pytest.mark.parametrize(
    "result", [None, 7, "x", {}, [], [7], [[]], [{}], [{"ID": None}], [{"ID": "1", "TEMPLATE_ID": "x", "STARTED": 7}]]
)
def test_a_look_at_a_portal_tells_what_is_there_or_fails_in_few_requests(
    plan: Callable[[], Plan[Any]], result: Any
) -> None:
    with VirtualPortal() as portal:
        runtime = Odd(portal, result)
        outcome(portal, runtime, portal.wire, plan())
        assert runtime.sent <= 2
