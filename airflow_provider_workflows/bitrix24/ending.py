"""Ending running workflows, and reporting what became of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from airflow_provider_workflows.bitrix24.batches import Batches
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.bulk import send_each
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ApiError, ArgumentError
from airflow_provider_workflows.rest.plans import Now, Plan, Progress, Step, intercept

#: Seconds for which what was read of a workflow counts as current.
FRESH = 60.0
#: How many are checked again at a time, so that they are ended within about a minute.
CHECK_SIZE = 500
#: The fields of :func:`record_row`.
RECORD_FIELDS = ("ID", "TEMPLATE_ID", "DOCUMENT_ID", "STARTED", "STARTED_BY")

T = TypeVar("T")


def check_workflow_ids(workflow_ids: Iterable[str]) -> list[str]:
    """Check workflow ids and leave out repetitions.

    :raises ArgumentError: for what cannot be an id, e.g. an empty text: the portal's answer to it is not defined.
    """
    ids = list(dict.fromkeys(workflow_ids))
    for workflow_id in ids:
        if not isinstance(workflow_id, str) or not re.fullmatch(r"[0-9A-Za-z.]{1,32}", workflow_id):
            raise ArgumentError(f"workflow_id: {workflow_id!r} is not a workflow id such as '66e412fdc9bd44.36306599'")
    return ids


#: Reads by their ids which workflows run, and whether each of these still matches.
Recheck: TypeAlias = Callable[[Sequence[str]], Plan[Mapping[str, bool]]]


def record_row(workflow: Workflow) -> dict[str, Any]:
    """Return what is kept of a workflow that is to be ended, as JSON."""
    row = workflow.row()
    return {name.lower().removesuffix("_id"): row[name] for name in RECORD_FIELDS}


def end_workflows(
    workflow_ids: Iterable[str],
    end: Callable[[str], Call],
    *,
    report: EndReport | None = None,
    recheck: Recheck | None = None,
    seen: float | None = None,
) -> Plan[EndReport]:
    """End workflows, up to 50 to a request, and report what became of each.

    Whatever the portal did not clearly confirm is settled by reading whether it still runs.

    :param workflow_ids: the ids.
    :param end: returns the call that ends one: ``calls.terminate_workflow`` or ``calls.kill_workflow``.
    :param report: filled while the work goes on; one from an earlier part is continued.
    :param recheck: checks shortly before they are ended which of them are still to be ended; default: all are.
    :param seen: Unix time at which that was known of all of them; within a minute after it they are not checked.
    :raises ArgumentError: if one is not an id; nothing is sent then.
    """
    ids = check_workflow_ids(workflow_ids)
    report = report or EndReport(requested=len(ids))
    batches = Batches()
    try:
        if recheck is None:
            yield from _end_all(ids, end, report, batches)
        else:
            for start in range(0, len(ids), CHECK_SIZE):
                some = ids[start : start + CHECK_SIZE]
                now: float = yield Now()
                if seen is None or now - seen > FRESH:
                    some = yield from _part(_leave_alone(some, recheck, report), start, len(ids), counts=False)
                yield from _part(_end_all(some, end, report, batches), start, len(ids))
    except ApiError as error:
        report.stop(error, ids)
    return report


def _leave_alone(workflow_ids: Sequence[str], recheck: Recheck, report: EndReport) -> Plan[list[str]]:
    """Return those that are still to be ended, and report the others."""
    matching = yield from recheck(workflow_ids)
    for workflow_id in workflow_ids:
        if workflow_id not in matching:
            report.gone(workflow_id)
        elif not matching[workflow_id]:
            report.moved_on.append(workflow_id)
    return [workflow_id for workflow_id in workflow_ids if matching.get(workflow_id)]


def _part(plan: Plan[T], done: int, total: int, *, counts: bool = True) -> Plan[T]:
    """Run a part of the work, and report its progress as part of the whole.

    :param plan: the part.
    :param done: how many are done before it.
    :param total: how many there are in all.
    :param counts: whether what is done in it is done for good.
    """

    def perform(step: Step) -> Plan[Any]:
        return (yield Progress(done + step.done * counts, total, "workflows") if isinstance(step, Progress) else step)

    return intercept(plan, perform)


def _end_all(ids: Sequence[str], end: Callable[[str], Call], report: EndReport, batches: Batches) -> Plan[None]:
    doubtful: list[str] = []

    def answered(workflow_id: str, reply: Reply) -> None:
        if reply.result is True:
            report.end(workflow_id)
        else:
            doubtful.append(workflow_id)
            report.unknown.add(workflow_id)

    def settle(errors: Mapping[str, ApiError]) -> Plan[list[str]]:
        report.lose(errors)
        running = yield from running_workflows(errors)
        for workflow_id in errors:
            if workflow_id not in running:
                report.gone(workflow_id)
        return [one for one, error in errors.items() if one in running and report.is_to_end_again(one, error)]

    yield from send_each(ids, end, answered, settle, what="workflows", batching=batches)
    running = yield from running_workflows(doubtful)
    for workflow_id in doubtful:
        if workflow_id in running:
            report.failed[workflow_id] = "the portal did not confirm that it was ended, and it still runs"
        else:
            report.end(workflow_id)
