"""Finding running workflows."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, TypeGuard, TypeVar

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.batches import Batches, read_again, read_all
from airflow_provider_workflows.bitrix24.calls import BATCH, WORKFLOW_FIELDS, Call, Reply
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.models import Workflow, WorkflowFields, date_or_text
from airflow_provider_workflows.bitrix24.paging import Rows, read_pages
from airflow_provider_workflows.rest.bulk import send_each
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from airflow_provider_workflows.rest.plans import Now, Plan, read_list, send

log = logging.getLogger(__name__)

#: Seconds that a read by id is expected to take, before one was measured.
QUICK = 0.0
#: This order never changes, and what is started comes last.
OLDEST_FIRST = {"STARTED": "asc", "ID": "asc"}
#: Where the offset stands in an ISO 8601 date, of which Bitrix24 sends whole seconds.
OFFSET = slice(19, None)
#: After so long nothing is added that was started before: a portal may have several servers, and writes take a moment.
SETTLING = timedelta(seconds=5)
#: Seconds by which the portal's clock may differ from this machine's.
CLOCKS_DIFFER = 5.0
#: A portal that claims to be further ahead than a day is not believed: everything would seem to be stuck there.
MOST_AHEAD = 86_400.0

K = TypeVar("K")


def find_workflows(
    wanted: WorkflowFilter,
    keep: Callable[[Workflow], K],
    *,
    limit: int | None = None,
    select: Sequence[str] = WORKFLOW_FIELDS,
) -> Plan[dict[str, K]]:
    """Read the running workflows that match, the oldest first, from all pages.

    All that match before and after it are among them, also when others end meanwhile. Takes one request for the first
    page, one for each further 50 pages, and mostly two more if anything changed meanwhile.

    :param wanted: which; each row that comes back is checked against it again.
    :param keep: returns what to keep of each.
    :param limit: how many at most; all by default.
    :param select: the fields to read.
    :returns: by id, what was kept of each.
    """
    first, wanted = yield from _first_page(wanted, select)
    return (yield from _read_on(first, wanted, keep, limit, select))


def list_workflows(wanted: WorkflowFilter, *, limit: int | None = None) -> Plan[list[Workflow]]:
    """Read the running workflows that match, the oldest first, with all their fields.

    :param wanted: which.
    :param limit: how many at most; all by default.
    """
    found = yield from find_workflows(wanted, lambda workflow: workflow, limit=limit)
    return list(found.values())


def find_workflow_ids(wanted: WorkflowFilter) -> Plan[list[str]]:
    """Read the ids of the running workflows that match, the oldest first.

    :param wanted: which.
    """
    return list((yield from find_workflows(wanted, _nothing, select=_fields(wanted))))


@dataclass(frozen=True, slots=True)
class MatchCount:
    """How many workflows match, and which.

    :param count: how many.
    :param ids: ids of up to 1,000, the oldest first; ``None`` if the count is not in the wanted range.
    """

    count: int
    ids: list[str] | None


def watch_workflows(
    wanted: WorkflowFilter, *, min_count: int, max_count: int | None, limit: int = 1000
) -> Plan[MatchCount]:
    """Count the running workflows that match, and read their ids once the count is in range.

    Takes one request of one page while it is not.

    :param wanted: which.
    :param min_count: the range's lower end.
    :param max_count: its upper end; ``None`` for no upper end.
    :param limit: how many ids to read at most.
    """
    select = _fields(wanted)
    in_range = range(min_count, sys.maxsize if max_count is None else max_count + 1)
    first, wanted = yield from _first_page(wanted, select)
    if first.total is None:
        raise UnreadableReplyError("bizproc.workflow.instances", text="the reply has no total")
    count = first.total
    rows = workflows_of(first)
    if len(wanted.matching(rows)) < len(rows):
        # The portal does not filter as asked, so its count is of something else.
        count = len((yield from _read_on(first, wanted, _nothing, None, select)))
    if count not in in_range:
        return MatchCount(count, None)
    found = yield from _read_on(first, wanted, _nothing, limit, select)
    if len(found) < min(count, limit):
        # Some have ended meanwhile, or the portal's total counts what does not match.
        count = len(found)
    return MatchCount(count, list(found) if count in in_range else None)


def read_workflows(
    workflow_ids: Iterable[str], keep: Callable[[Workflow], K], *, select: Sequence[str] = WORKFLOW_FIELDS
) -> Plan[dict[str, K]]:
    """Read the workflows with these ids that are running, 50 to a request, several requests at once.

    :param workflow_ids: the ids to look for.
    :param keep: returns what to keep of each.
    :param select: the fields to read.
    :returns: by id, what was kept of each.
    """
    running: dict[str, K] = {}

    def take(workflow_id: str, reply: Reply) -> None:
        running.update({workflow.id: keep(workflow) for workflow in _only(workflow_id, reply)})

    yield from send_each(
        workflow_ids, partial(_by_id, select), take, read_again, what="checked workflows", batching=Batches(QUICK)
    )
    return running


def check_workflows(workflow_ids: Iterable[str], wanted: WorkflowFilter) -> Plan[dict[str, bool]]:
    """Return whether the workflows with these ids that are running match, 50 to a request.

    :param workflow_ids: the ids to look for.
    :param wanted: what they are checked against.
    :returns: by id, whether it matches.
    """
    began: float = yield Now()
    running: dict[str, Workflow] = {}
    at: datetime | None = None

    def take(workflow_id: str, reply: Reply) -> None:
        nonlocal at
        at = at or reply.at
        running.update({workflow.id: workflow for workflow in _only(workflow_id, reply)})

    page = partial(_by_id, sorted(wanted.fields))
    yield from send_each(workflow_ids, page, take, read_again, what="checked workflows", batching=Batches(QUICK))
    if running:
        wanted = yield from _by_the_portals_clock(wanted, at, began)
    return {workflow_id: wanted.matches(workflow) for workflow_id, workflow in running.items()}


def running_workflows(workflow_ids: Iterable[str]) -> Plan[set[str]]:
    """Return which of these workflows are running, with one request at a time.

    :param workflow_ids: the ids to look for, 50 to a request.
    """
    running: set[str] = set()
    ids = list(workflow_ids)
    for some in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
        replies = yield from read_all([_by_id(["ID"], workflow_id) for workflow_id in some])
        for workflow_id, reply in zip(some, replies, strict=True):
            running.update(workflow.id for workflow in _only(workflow_id, reply))
    return running


def _by_id(select: Sequence[str], workflow_id: str) -> Call:
    return calls.list_workflows(select=select, filters={"ID": workflow_id})


def _only(workflow_id: str, reply: Reply) -> list[Workflow]:
    found = workflows_of(reply)
    if any(workflow.id != workflow_id for workflow in found):
        raise UnreadableReplyError("bizproc.workflow.instances", text="the portal does not filter workflows by ID")
    return found


def _page(wanted: WorkflowFilter, select: Sequence[str], start: int = 0) -> Call:
    return calls.list_workflows(select=select, filters=wanted.params(), order=OLDEST_FIRST, start=start)


def _first_page(wanted: WorkflowFilter, select: Sequence[str]) -> Plan[tuple[Reply, WorkflowFilter]]:
    """Read the first page, and return it with the filter that it was asked for with, by the portal's clock."""
    began: float = yield Now()
    first: Reply = yield from send(_page(wanted, select))
    right = yield from _by_the_portals_clock(wanted, first.at, began)
    if right != wanted:
        first = yield from send(_page(right, select))
    return first, right


def _by_the_portals_clock(wanted: WorkflowFilter, at: datetime | None, began: float) -> Plan[WorkflowFilter]:
    """Correct a filter that was made of the present, if the portal's clock differs from this machine's.

    :param wanted: the filter.
    :param at: when the portal did something that was asked of it, by its own clock.
    :param began: Unix time before it was asked.
    """
    if not wanted.by_clock:
        return wanted
    if at is None:
        raise UnreadableReplyError(
            "bizproc.workflow.instances", text="the reply lacks the portal's time, which stuck_for goes by"
        )
    ended: float = yield Now()
    least, most = at.timestamp() - ended, at.timestamp() - began
    if least <= CLOCKS_DIFFER and most >= -CLOCKS_DIFFER:
        return wanted
    if least > MOST_AHEAD:
        raise UnreadableReplyError(
            "bizproc.workflow.instances",
            text=f"the portal's clock, which stuck_for goes by, says {at:%Y-%m-%d}",
        )
    # Better to list too few than one that is still locked. In steps, so that simultaneous polls ask for the same.
    ahead = math.floor(least / 10) * 10
    log.warning("This machine's clock is %+d s off the portal's, which stuck_for goes by", -ahead)
    return wanted.moved(timedelta(seconds=ahead))


def _fields(wanted: WorkflowFilter) -> list[str]:
    """Return the fields that are read of workflows of which only the ids are kept."""
    return sorted(wanted.fields | {"STARTED"})


def _nothing(_: Workflow) -> None:
    """Keep nothing but the id."""


def _read_on(
    first: Reply,
    wanted: WorkflowFilter,
    keep: Callable[[Workflow], K],
    limit: int | None,
    select: Sequence[str],
) -> Plan[dict[str, K]]:
    """Collect what matches on the first page and on those after it.

    Pages hold together as long as workflows only leave the list, or come in at its end. So conditions that one may
    begin to meet while it runs are not sent, and only checked here. What may come in at the end is read apart, so
    that equal totals show that nothing has changed.
    """
    unwanted: set[str] = set()
    totals: set[int | None] = set()
    started: dict[str, str] = {}

    def read(reply: Reply) -> Rows[K]:
        workflows = workflows_of(reply)
        matching = wanted.matching(workflows)
        ids = frozenset([workflow.fields["ID"] for workflow in workflows])
        kept = {workflow.fields["ID"]: keep(workflow) for workflow in matching}
        started.update({workflow.fields["ID"]: workflow.fields.get("STARTED") or "" for workflow in matching})
        if len(matching) < len(workflows):
            unwanted.update(ids - kept.keys())
        if reply is not first:
            totals.add(reply.total)
        return Rows(ids, kept)

    what = "pages of workflows"
    # One page is whole by itself.
    settled = first.at - SETTLING if first.at and first.next is not None and first.result else None
    asked = wanted if first.next is None else wanted.steady(settled)
    if asked != wanted:
        first = yield from send(_page(asked, select))
    only_shrinks = asked.is_closed(settled)
    older = asked
    if settled and not only_shrinks and _all_started_before(settled, first):
        older, only_shrinks = asked.started_before(settled), True
    found = yield from read_pages(
        first, partial(_page, older, select), read, what=what, limit=limit, only_shrinks=only_shrinks
    )
    if settled and older != asked and first.total not in totals and (limit is None or len(found) < limit):
        newer = asked.started_since(settled)
        rest = None if limit is None else limit - len(found)
        first = yield from send(_page(newer, select))
        found |= yield from read_pages(first, partial(_page, newer, select), read, what=what, limit=rest)
    if unwanted and asked == wanted:
        log.warning("Left out %d workflows: they do not match the filter", len(unwanted))
    found = _oldest_first(found, started)
    return found if limit is None else dict(islice(found.items(), limit))


def _oldest_first(found: dict[str, K], started: Mapping[str, str]) -> dict[str, K]:
    """Return what was found in the order of the starts, if the portal sends moments.

    :param found: by id.
    :param started: by id, when each started, as the portal sends it.
    """
    # With one offset the texts are in the order of the moments, and compare ten times as fast.
    one_offset = len({text[OFFSET] for text in started.values()}) == 1
    moments = {one: date_or_text(text) for one, text in islice(started.items(), 1 if one_offset else None)}
    if not all(map(_is_moment, moments.values())):
        return found
    order: Mapping[str, Any] = started if one_offset else moments
    starts = [order[one] for one in found]
    return found if starts == sorted(starts) else {one: found[one] for one in sorted(found, key=order.__getitem__)}


def _all_started_before(moment: datetime, page: Reply) -> bool:
    return all(_is_moment(one.started) and one.started < moment for one in workflows_of(page))


def _is_moment(started: Any) -> TypeGuard[datetime]:
    return isinstance(started, datetime) and started.tzinfo is not None


def workflows_of(reply: Reply) -> list[Workflow]:
    """Return the workflows of a page."""
    return [Workflow(fields) for fields in read_list(WorkflowFields, reply.result, "bizproc.workflow.instances")]
