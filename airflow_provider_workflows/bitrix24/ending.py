"""Ending running workflows, and telling truly what became of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.bitrix24.sending import send_each
from airflow_provider_workflows.rest.errors import ApiError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import ATTEMPTS, Plan


@dataclass(slots=True)
class EndReport:
    """What became of the workflows that were to be ended.

    :param requested: how many.
    :param ended: ids that do not run any more after our call, or after one whose reply was lost.
    :param already_ended: ids that were not running.
    :param failed: id to reason: these may still run.
    :param stopped_by: the error after which no more were tried.
    :param unclear: ids that may have been ended by a call whose reply was lost, or did not confirm it.
    """

    requested: int
    ended: list[str] = field(default_factory=list)
    already_ended: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped_by: ApiError | None = None
    unclear: set[str] = field(default_factory=set, compare=False)

    @property
    def settled(self) -> set[str]:
        """Ids of which it is known what became of them."""
        return {*self.ended, *self.already_ended, *self.failed}

    def stop(self, error: ApiError, workflow_ids: Iterable[str]) -> None:
        """Note that an error ended the work, and with it those of the workflows that nothing is known of."""
        known = self.settled
        self.failed |= {workflow_id: str(error) for workflow_id in workflow_ids if workflow_id not in known}
        self.stopped_by = error

    def still_running(self, workflow_ids: Iterable[str]) -> None:
        """Correct the report by what was read afterwards."""
        running = {workflow_id for workflow_id in workflow_ids if workflow_id not in self.failed}
        if running:
            self.ended = [workflow_id for workflow_id in self.ended if workflow_id not in running]
            self.already_ended = [workflow_id for workflow_id in self.already_ended if workflow_id not in running]
            self.failed |= dict.fromkeys(running, "the portal confirmed its end, but it still runs")

    def json(self) -> dict[str, Any]:
        """Return it as an XCom value."""
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
    :raises ValueError: if one is not an id; nothing is sent then.
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
                (report.ended if workflow_id in report.unclear else report.already_ended).append(workflow_id)
            elif workflow_id in unknown and tries[workflow_id] < ATTEMPTS:
                again.append(workflow_id)
            else:
                report.failed[workflow_id] = error.reason
        return again

    try:
        yield from send_each(ids, end, answered, settle, what="workflows")
        running = yield from running_workflows(doubtful)
        report.ended += [workflow_id for workflow_id in doubtful if workflow_id not in running]
        report.failed |= dict.fromkeys(running, "the portal did not confirm its end, and it still runs")
    except ApiError as error:
        report.stop(error, ids)
    return report
