"""Bitrix24 jobs of several calls, as plans for either driver."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import BATCH, PAGE, WORKFLOW_FIELDS, Call, Reply
from airflow_provider_workflows.bitrix24.errors import FlowNotReachedError
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.flow_changes import FlowChanges, differences, merge, unmet
from airflow_provider_workflows.bitrix24.models import Flow, Workflow
from airflow_provider_workflows.rest.errors import (
    ApiError,
    RefusedError,
    RejectedError,
    UnknownOutcomeError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan, growing_delays, read_as, send

log = logging.getLogger(__name__)

OLDEST_FIRST = {"STARTED": "asc", "ID": "asc"}
#: After a lost reply the portal may still be working on the call; it cuts every request after 60 s.
SETTLING_DELAYS = (0, 1, 2, 4, 8, 15, 30)
#: How often a flow is changed at most before giving up.
FLOW_TRIES = 5


def send_together(together: Sequence[Call]) -> Plan[list[Reply | ApiError]]:
    """Send up to 50 calls in one request.

    :param together: the calls; a single one is sent without a batch around it.
    :returns: each call's reply, or the error that tells what became of it.
    :raises ApiError: if the request as a whole was refused or rejected, so that none of them was done.
    """
    try:
        if len(together) == 1:
            return [(yield from send(together[0]))]
        keyed = {f"c{nth}": call for nth, call in enumerate(together)}
        reply: Reply = yield from send(calls.batch(keyed))
    except UnknownOutcomeError as error:
        return [error] * len(together)
    except RejectedError as error:
        if len(together) > 1:
            raise
        return [error]
    return [reply.result[key] for key in keyed]


def read_all(reads: Sequence[Call]) -> Plan[list[Reply]]:
    """Send up to 50 reading calls in one request, and again those that failed in passing.

    :param reads: calls that change nothing.
    :returns: their replies.
    :raises ApiError: if one of them cannot be had.
    """
    replies: dict[int, Reply] = {}
    for delay in (*growing_delays(), None):
        left = [nth for nth in range(len(reads)) if nth not in replies]
        outcomes = yield from send_together([reads[nth] for nth in left])
        failures = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        replies |= {nth: outcome for nth, outcome in zip(left, outcomes, strict=True) if isinstance(outcome, Reply)}
        if not failures:
            break
        worst = min(failures, key=lambda error: error.retry_helps)
        if delay is None or not worst.retry_helps:
            raise worst
        yield Pause(max(delay, worst.retry_after or 0), reason=str(worst))
    return [replies[nth] for nth in range(len(reads))]


def list_workflows(
    wanted: WorkflowFilter, *, limit: int | None = None, select: Sequence[str] = WORKFLOW_FIELDS
) -> Plan[list[Workflow]]:
    """Read the running workflows that match, the oldest first, from all pages.

    Takes one request for the first page, and one for each further 50 pages.

    :param wanted: which; each row that comes back is checked against it again.
    :param limit: how many at most; all by default.
    :param select: the fields to read.
    """
    first: Reply = yield from send(_page(wanted, select))
    return (yield from _read_on(first, wanted, limit, select))


@dataclass(frozen=True, slots=True)
class Sighting:
    """How many workflows match, and which.

    :param count: how many.
    :param ids: ids of up to 1,000, the oldest first; ``None`` if the count is not in the wanted range.
    """

    count: int
    ids: list[str] | None


def watch_workflows(
    wanted: WorkflowFilter, *, min_count: int, max_count: int | None, limit: int = 1000
) -> Plan[Sighting]:
    """Count the running workflows that match, and read their ids once the count is in range.

    Takes one request of one page while it is not.

    :param wanted: which.
    :param min_count: the range's lower end.
    :param max_count: its upper end; ``None`` for no upper end.
    :param limit: how many ids to read at most.
    """
    select = sorted({"ID", *(condition.field for condition in wanted.conditions)})
    first: Reply = yield from send(_page(wanted, select))
    if first.total is None:
        raise UnreadableReplyError("bizproc.workflow.instances", text="the reply has no total")
    count = first.total
    if not all(wanted.matches(workflow) for workflow in _workflows(first)):
        # The portal does not filter as asked, so its count is of something else.
        count = len((yield from _read_on(first, wanted, None, select)))
    if count < min_count or (max_count is not None and count > max_count):
        return Sighting(count, None)
    found = yield from _read_on(first, wanted, limit, select)
    return Sighting(count, [workflow.id for workflow in found])


def running_workflows(workflow_ids: Iterable[str]) -> Plan[set[str]]:
    """Tell which of these workflows are running.

    :param workflow_ids: the ids to look for, 50 to a request.
    """
    running = set()
    for some in _chunks(list(workflow_ids), BATCH):
        reads = [calls.list_workflows(select=["ID"], filters={"ID": workflow_id}) for workflow_id in some]
        replies = yield from read_all(reads)
        for workflow_id, reply in zip(some, replies, strict=True):
            seen = {workflow.id for workflow in _workflows(reply)}
            if seen - {workflow_id}:
                raise UnreadableReplyError(reads[0].method, text="the portal does not filter workflows by ID")
            running |= seen
    return running


@dataclass(slots=True)
class EndReport:
    """What became of the workflows that were to be ended.

    :param requested: how many.
    :param ended: ids that ran, and do not run any more after our call.
    :param already_ended: ids that were not running.
    :param failed: id to reason: these may still run.
    :param stopped_by: the error after which no more were tried.
    """

    requested: int
    ended: list[str] = field(default_factory=list)
    already_ended: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped_by: ApiError | None = None

    def json(self) -> dict[str, Any]:
        """Give it as an XCom value."""
        return {
            "requested": self.requested,
            "ended": self.ended,
            "already_ended": self.already_ended,
            "failed": self.failed,
            "dry_run": False,
        }


def check_workflow_ids(workflow_ids: Iterable[str]) -> list[str]:
    """Check workflow ids and leave out repetitions.

    :raises ValueError: for what cannot be an id, e.g. an empty text: the portal's answer to it is not defined.
    """
    ids = list(dict.fromkeys(workflow_ids))
    for workflow_id in ids:
        if not isinstance(workflow_id, str) or not re.fullmatch(r"[0-9A-Za-z.]{1,32}", workflow_id):
            raise ValueError(f"workflow_id: {workflow_id!r} is not a workflow id such as '66e412fdc9bd44.36306599'")
    return ids


def end_workflows(workflow_ids: Iterable[str], end: Callable[[str], Call]) -> Plan[EndReport]:
    """End workflows, 50 to a request, and tell what became of each.

    Whatever the portal did not clearly confirm is settled by reading whether it still runs.

    :param workflow_ids: the ids.
    :param end: gives the call that ends one: ``calls.terminate_workflow`` or ``calls.kill_workflow``.
    :raises ValueError: if one is not an id; nothing is sent then.
    """
    ids = check_workflow_ids(workflow_ids)
    report = EndReport(requested=len(ids))
    for some in _chunks(ids, BATCH):
        try:
            yield from _end_some(some, end, report)
        except ApiError as error:
            settled = {*report.ended, *report.already_ended, *report.failed}
            report.failed |= {workflow_id: str(error) for workflow_id in ids if workflow_id not in settled}
            report.stopped_by = error
            break
        if len(ids) > BATCH:
            log.info("%d of %d workflows done", len(ids) - _left(report), len(ids))
    return report


def _left(report: EndReport) -> int:
    return report.requested - len(report.ended) - len(report.already_ended) - len(report.failed)


def _end_some(ids: list[str], end: Callable[[str], Call], report: EndReport) -> Plan[None]:
    left = ids
    maybe_ended: set[str] = set()
    for delay in (*growing_delays(), None):
        outcomes = dict(zip(left, (yield from send_together([end(workflow_id) for workflow_id in left])), strict=True))
        errors = {workflow_id: outcome for workflow_id, outcome in outcomes.items() if isinstance(outcome, ApiError)}
        report.ended += [workflow_id for workflow_id in left if workflow_id not in errors]
        unclear = [workflow_id for workflow_id, error in errors.items() if not isinstance(error, RefusedError)]
        maybe_ended |= {workflow_id for workflow_id in unclear if isinstance(errors[workflow_id], UnknownOutcomeError)}
        running = yield from running_workflows(unclear)
        for workflow_id in unclear:
            if workflow_id not in running:
                (report.ended if workflow_id in maybe_ended else report.already_ended).append(workflow_id)
            elif delay is None or not errors[workflow_id].retry_helps:
                report.failed[workflow_id] = errors[workflow_id].reason
        left = [
            workflow_id
            for workflow_id in errors
            if workflow_id not in report.failed and (workflow_id in running or workflow_id not in unclear)
        ]
        if not left:
            return
        failure = max((errors[workflow_id] for workflow_id in left), key=lambda error: error.retry_after or 0)
        if delay is None:
            raise failure
        yield Pause(max(delay, failure.retry_after or 0), reason=str(failure))


def read_flow(flow_id: int) -> Plan[Flow]:
    """Read a flow.

    :param flow_id: its id.
    """
    call = calls.get_flow(flow_id)
    reply: Reply = yield from send(call)
    return read_as(Flow, reply.result, call.method)


@dataclass(frozen=True, slots=True)
class FlowTransition:
    """A flow before and after a job.

    :param before: the flow as it was found.
    :param after: the flow as it was left.
    """

    before: Flow
    after: Flow


def switch_flow(flow_id: int, active: bool) -> Plan[FlowTransition]:
    """Bring a flow into the wanted state with a call that only toggles.

    :param flow_id: its id.
    :param active: the wanted state.
    :raises FlowNotReachedError: if it is not there after five toggles: something else toggles it too.
    """
    before = flow = yield from read_flow(flow_id)
    for nth in range(FLOW_TRIES):
        if nth and flow.active != active:
            # Another task toggles it too: step out of its rhythm, and look again before toggling.
            yield Pause(random.uniform(0, 2**nth), reason=f"flow {flow_id} is switched by someone else too")  # noqa: S311
            flow = yield from read_flow(flow_id)
        if flow.active == active:
            return FlowTransition(before, flow)
        try:
            yield from send(calls.activate_flow(flow_id))
        except UnknownOutcomeError as error:
            flow = yield from _settled_flow(flow_id, error, lambda seen: seen.active == active)
        else:
            flow = yield from read_flow(flow_id)
    if flow.active == active:
        return FlowTransition(before, flow)
    state, wanted = ("on", "off") if flow.active else ("off", "on")
    raise FlowNotReachedError(
        "tasks.flow.Flow.activate",
        text=f"flow {flow_id} is {state} after {FLOW_TRIES} tries to switch it {wanted}",
    )


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
        except UnknownOutcomeError as error:
            flow = yield from _settled_flow(flow_id, error, lambda seen: not unmet(seen, changes))
        else:
            flow = read_as(Flow, reply.result, call.method)
            ignored = [name for name in unmet(flow, changes) if name not in differences(before, flow)]
            if not ignored:
                return FlowTransition(before, flow)
    raise FlowNotReachedError(
        "tasks.flow.Flow.update",
        text=f"flow {flow_id} keeps its {', '.join(unmet(flow, changes))} after an update",
    )


def _settled_flow(flow_id: int, lost: ApiError, reached: Callable[[Flow], bool]) -> Plan[Flow]:
    """Read a flow until it is as wanted, or until the portal cannot be working on the lost call any more."""
    for delay in SETTLING_DELAYS:
        if delay:
            yield Pause(delay, reason=f"reading flow {flow_id} until it is clear whether this was done: {lost}")
        flow = yield from read_flow(flow_id)
        if reached(flow):
            break
    return flow


def _page(wanted: WorkflowFilter, select: Sequence[str], start: int = 0) -> Call:
    return calls.list_workflows(select=select, filters=wanted.params(), order=OLDEST_FIRST, start=start)


def _read_on(page: Reply, wanted: WorkflowFilter, limit: int | None, select: Sequence[str]) -> Plan[list[Workflow]]:
    """Collect what matches on this page and on those after it."""
    found: dict[str, Workflow] = {}
    replies, seen = [page], 0
    while True:
        for workflow in (workflow for reply in replies for workflow in _workflows(reply)):
            seen += 1
            if wanted.matches(workflow):
                found[workflow.id] = workflow
        start = replies[-1].next
        if start is None or (limit is not None and len(found) >= limit):
            break
        starts = range(start, max(replies[-1].total or 0, start + 1), PAGE)[:BATCH]
        if limit is not None:
            starts = starts[: -(-(limit - len(found)) // PAGE)]
        replies = yield from read_all([_page(wanted, select, start) for start in starts])
        following = replies[-1].next
        if following is not None and following <= starts[-1]:
            raise UnreadableReplyError("bizproc.workflow.instances", text="the pages do not go on")
    if seen > len(found):
        log.warning("Left out %d of %d rows: they do not match the filter, or came twice", seen - len(found), seen)
    return list(found.values())[:limit]


def _workflows(reply: Reply) -> Iterator[Workflow]:
    method = "bizproc.workflow.instances"
    if not isinstance(reply.result, list):
        raise UnreadableReplyError(method, text="the result is not a list")
    for row in reply.result:
        yield read_as(Workflow, row, method)


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
