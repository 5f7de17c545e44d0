"""Bringing flows into a wanted state."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.errors import FlowNotReachedError
from airflow_provider_workflows.bitrix24.flow_changes import FlowChanges, differences, merge, unmet
from airflow_provider_workflows.bitrix24.models import Flow
from airflow_provider_workflows.rest.errors import NotProcessedError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import Count, Pause, Plan, RetryState, read_as, send

#: After a lost reply the portal may still be working on the call; it cuts every request after 60 s.
SETTLING_DELAYS = (0, 1, 2, 4, 8, 15, 30)
#: How often a flow is changed before giving up.
FLOW_TRIES = 5


def read_flow(flow_id: int) -> Plan[Flow]:
    """Read a flow.

    :param flow_id: its id.
    """
    call = calls.get_flow(flow_id)
    reply: Reply = yield from send(call)
    return read_as(Flow, reply.result, call.method)


@dataclass(frozen=True, slots=True)
class FlowTransition:
    """A flow before and after a job."""

    before: Flow
    after: Flow


def switch_flow(flow_id: int, active: bool, *, again: bool = False) -> Plan[FlowTransition]:
    """Bring a flow into the wanted state with a call that only toggles.

    :param flow_id: its id.
    :param active: the wanted state.
    :param again: whether an earlier try may have toggled it just now. The portal may still be working on that: if the
        flow is not as wanted, it is read for a minute before it is toggled.
    :raises FlowNotReachedError: if it is not there after five toggles: something else toggles it too.
    """
    before = flow = yield from read_flow(flow_id)
    if again and flow.active != active:
        flow = yield from _settled_flow(flow_id, "an earlier try may have done it", lambda seen: seen.active == active)
    toggles, retries = 0, RetryState()
    while flow.active != active:
        if toggles == FLOW_TRIES:
            state, wanted = ("on", "off") if flow.active else ("off", "on")
            text = f"flow {flow_id} is {state} after {FLOW_TRIES} attempts to switch it {wanted}"
            raise FlowNotReachedError("tasks.flow.Flow.activate", text=text)
        try:
            yield calls.activate_flow(flow_id)
        except NotProcessedError as error:
            yield from retries.wait_out(error)
            # Somebody else may have switched it meanwhile.
            flow = yield from read_flow(flow_id)
            continue
        except UnknownOutcomeError as error:
            flow = yield from _settled_flow(flow_id, error.message, lambda seen: seen.active == active)
            yield Count("settled")
        else:
            flow = yield from read_flow(flow_id)
            retries = RetryState()
        toggles += 1
        if flow.active != active:
            # Another task toggles it too: wait for a random time, and read it again before toggling.
            yield Pause(random.uniform(0, 2**toggles), reason=f"flow {flow_id} is switched by someone else too")  # noqa: S311
            flow = yield from read_flow(flow_id)
    return FlowTransition(before, flow)


def change_flow(flow_id: int, changes: FlowChanges) -> Plan[FlowTransition]:
    """Set some fields of a flow and leave the others as they are.

    :param flow_id: its id.
    :param changes: fields to set, checked by ``parse_changes``.
    :raises FlowChangesError: if the changes do not go with the rest of the flow; nothing is sent then.
    :raises FlowNotReachedError: if the portal does not take them.
    """
    before = flow = yield from read_flow(flow_id)
    for _ in range(FLOW_TRIES):
        flow_data = merge(flow, changes)
        if flow_data is None:
            return FlowTransition(before, flow)
        call = calls.update_flow(flow_data)
        try:
            reply: Reply = yield from send(call)
            flow = read_as(Flow, reply.result, call.method)
        except UnknownOutcomeError as error:
            flow = yield from _settled_flow(flow_id, error.message, lambda seen: not unmet(seen, changes))
            yield Count("settled")
        else:
            ignored = [name for name in unmet(flow, changes) if name not in differences(before, flow)]
            if not ignored:
                return FlowTransition(before, flow)
    if not unmet(flow, changes):
        return FlowTransition(before, flow)
    raise FlowNotReachedError(
        "tasks.flow.Flow.update",
        text=f"flow {flow_id} keeps its {', '.join(unmet(flow, changes))} after an update",
    )


def _settled_flow(flow_id: int, why: str, reached: Callable[[Flow], bool]) -> Plan[Flow]:
    """Read a flow until it is as wanted, or until the portal cannot be working on an earlier call any more."""
    for delay in SETTLING_DELAYS:
        if delay:
            reason = f"reading flow {flow_id} to find out whether the call was done: {why}"
            yield Pause(delay, reason, "settling")
        flow = yield from read_flow(flow_id)
        if reached(flow):
            break
    return flow
