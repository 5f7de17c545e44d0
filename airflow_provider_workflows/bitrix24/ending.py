"""Ending running workflows, and telling truly what became of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.bitrix24.sending import send_each
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ApiError, ArgumentError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import ATTEMPTS, Plan


def check_workflow_ids(workflow_ids: Iterable[str]) -> list[str]:
    """Check workflow ids and leave out repetitions.

    :raises ArgumentError: for what cannot be an id, e.g. an empty text: the portal's answer to it is not defined.
    """
    ids = list(dict.fromkeys(workflow_ids))
    for workflow_id in ids:
        if not isinstance(workflow_id, str) or not re.fullmatch(r"[0-9A-Za-z.]{1,32}", workflow_id):
            raise ArgumentError(f"workflow_id: {workflow_id!r} is not a workflow id such as '66e412fdc9bd44.36306599'")
    return ids


def end_workflows(
    workflow_ids: Iterable[str],
    end: Callable[[str], Call],
    *,
    report: EndReport | None = None,
) -> Plan[EndReport]:
    """End workflows, up to 50 to a request, and tell what became of each.

    Whatever the portal did not clearly confirm is settled by reading whether it still runs.

    :param workflow_ids: the ids.
    :param end: gives the call that ends one: ``calls.terminate_workflow`` or ``calls.kill_workflow``.
    :param report: filled while the work goes on; one that was begun is gone on with.
    :raises ArgumentError: if one is not an id; nothing is sent then.
    """
    ids = check_workflow_ids(workflow_ids)
    report = report or EndReport(requested=len(ids))
    doubtful: list[str] = []
    tries: Counter[str] = Counter()

    def answered(workflow_id: str, reply: Reply) -> None:
        if reply.result is True:
            report.ended.append(workflow_id)
        else:
            doubtful.append(workflow_id)
            report.unclear.add(workflow_id)

    def settle(errors: Mapping[str, ApiError]) -> Plan[list[str]]:
        unknown = {workflow_id for workflow_id, error in errors.items() if isinstance(error, UnknownOutcomeError)}
        report.unclear.update(unknown)
        tries.update(unknown)
        running = yield from running_workflows(errors)
        again = []
        for workflow_id, error in errors.items():
            if workflow_id not in running:
                report.gone(workflow_id)
            elif workflow_id in unknown and tries[workflow_id] < ATTEMPTS:
                again.append(workflow_id)
            else:
                report.fail(workflow_id, error)
        return again

    try:
        yield from send_each(ids, end, answered, settle, what="workflows")
        running = yield from running_workflows(doubtful)
        report.ended += [workflow_id for workflow_id in doubtful if workflow_id not in running]
        report.failed |= dict.fromkeys(running, "the portal did not confirm its end, and it still runs")
    except ApiError as error:
        report.stop(error, ids)
    return report
