"""Domo jobs of several calls, as plans for either driver."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.account import INSTANCE_PATH
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import CANCELED, COMPLETED, FAILED, IN_PROGRESS, Instance
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    RedirectedError,
    RejectedError,
    UnknownOutcomeError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan, growing_delays, read_as, send

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CancelReport:
    """What became of the workflow instances that were to be cancelled.

    :param requested: how many.
    :param ended: ids whose cancellation Domo accepted, or that are cancelled after a reply to it was lost.
        After waiting: that are in a terminal status besides.
    :param already_ended: ids that had finished, or were cancelled, before.
    :param failed: id to reason: these may still run.
    :param instances: id to the instance as last seen.
    :param stopped_by: the error after which no more were tried.
    """

    requested: int
    ended: list[str] = field(default_factory=list)
    already_ended: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    stopped_by: ApiError | None = None

    def json(self) -> dict[str, Any]:
        """Give it as an XCom value."""
        return {
            "requested": self.requested,
            "ended": self.ended,
            "already_ended": self.already_ended,
            "failed": self.failed,
            "status": {instance_id: instance.status for instance_id, instance in self.instances.items()},
            "dry_run": False,
        }


def check_instance_ids(instance_ids: Iterable[str]) -> list[str]:
    """Check workflow instance ids and leave out repetitions.

    :raises ValueError: for what cannot be an id.
    """
    ids = list(dict.fromkeys(instance_ids))
    for instance_id in ids:
        if not isinstance(instance_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", instance_id):
            raise ValueError(
                f"instance_id: {instance_id!r} is not an instance id such as '2052e10a-d142-4391-a731-2be1ab1c0188'"
            )
    return ids


def start_instance(
    model_id: str, version: str, message_name: str, data: Mapping[str, Any] | None = None
) -> Plan[Instance]:
    """Start a workflow. A lost reply is raised, not repeated: Domo would start a second instance.

    :param model_id: the workflow model's id.
    :param version: a deployed and active version, e.g. ``1.1.0``.
    :param message_name: title of the Start shape.
    :param data: input values.
    """
    return (yield from _instance(calls.start_instance(model_id, version, message_name, data)))


def read_instance(instance_id: str, path: str = INSTANCE_PATH) -> Plan[Instance]:
    """Read a workflow instance. Undocumented by Domo.

    :param instance_id: its id.
    :param path: where it is read.
    """
    return (yield from _instance(calls.get_instance(instance_id, path)))


def cancel_instances(
    instance_ids: Iterable[str],
    *,
    wait_for: float | None = None,
    poll_interval: float = 5.0,
    path: str = INSTANCE_PATH,
) -> Plan[CancelReport]:
    """Cancel workflow instances, one request each, and tell what became of each.

    :param instance_ids: the ids.
    :param wait_for: seconds to wait until all are in a terminal status; ``None``: do not wait.
    :param poll_interval: seconds between two looks at those that are not.
    :param path: where one instance is read.
    :raises ValueError: if one is not an id; nothing is sent then.
    """
    ids = check_instance_ids(instance_ids)
    report = CancelReport(requested=len(ids))
    try:
        for nth, instance_id in enumerate(ids):
            yield from _cancel(instance_id, path, report)
            if (nth + 1) % 50 == 0:
                log.info("%d of %d instances done", nth + 1, len(ids))
        if wait_for is not None:
            yield from _wait(report, wait_for, poll_interval, path)
    except ApiError as error:
        settled = {*report.ended, *report.already_ended, *report.failed}
        report.failed |= {instance_id: str(error) for instance_id in ids if instance_id not in settled}
        report.stopped_by = error
    return report


def _cancel(instance_id: str, path: str, report: CancelReport) -> Plan[None]:
    maybe_cancelled = False
    for delay in (*growing_delays(), None):
        try:
            # The reply shows the status as it was when the request arrived.
            instance = yield from _instance(calls.cancel_instance(instance_id))
            over = instance.status in {COMPLETED, CANCELED}
            break
        except (AuthenticationError, RedirectedError):
            raise
        except NotFoundError as error:
            report.failed[instance_id] = error.reason
            return
        except (UnknownOutcomeError, RejectedError) as error:
            failure: ApiError = error
        try:
            instance = yield from read_instance(instance_id, path)
        except RejectedError as unreadable:
            report.failed[instance_id] = f"{failure.reason} Its status cannot be read either: {unreadable}"
            return
        over = instance.status in {COMPLETED, CANCELED}
        maybe_cancelled |= isinstance(failure, UnknownOutcomeError)
        if over:
            break
        if delay is None or not failure.retry_helps:
            report.failed[instance_id] = failure.reason
            return
        yield Pause(delay, reason=str(failure))
    report.instances[instance_id] = instance
    ours = not over or (maybe_cancelled and instance.status == CANCELED)
    (report.ended if ours else report.already_ended).append(instance_id)


def _wait(report: CancelReport, wait_for: float, poll_interval: float, path: str) -> Plan[None]:
    """Poll those that were just cancelled until each is in a terminal status."""
    waited = 0.0
    left = [instance_id for instance_id in report.ended if report.instances[instance_id].status != CANCELED]
    while left:
        for instance_id in left:
            try:
                instance = yield from read_instance(instance_id, path)
            except ApiError as error:
                _lose_sight(report, instance_id, error)
                continue
            report.instances[instance_id] = instance
            if instance.status == COMPLETED:
                report.ended.remove(instance_id)
                report.already_ended.append(instance_id)
            if instance.status not in {None, IN_PROGRESS, COMPLETED, CANCELED, FAILED}:
                log.warning("Instance %s has the unknown status %r; waiting on", instance_id, instance.status)
        left = [one for one in left if one in report.ended and not report.instances[one].terminal]
        if left and waited >= wait_for:
            break
        if left:
            yield Pause(poll_interval, reason=f"{len(left)} cancelled instances have not ended yet")
            waited += poll_interval
    for instance_id in left:
        status = report.instances[instance_id].status
        report.ended.remove(instance_id)
        report.failed[instance_id] = f"cancelled, but still {status} after {waited:.0f} s"


def _lose_sight(report: CancelReport, instance_id: str, error: ApiError) -> None:
    """Report an instance as failed whose end cannot be seen, and all of them if the next read cannot help.

    :raises ApiError: in that case.
    """
    only_this_one = isinstance(error, RejectedError) and not isinstance(error, (AuthenticationError, RedirectedError))
    for one in [instance_id] if only_this_one else report.ended.copy():
        if one == instance_id or not report.instances[one].terminal:
            report.ended.remove(one)
            report.failed[one] = f"cancelled, but its end cannot be seen: {error.reason}"
    if not only_this_one:
        raise error


def _instance(call: Call) -> Plan[Instance]:
    reply = yield from send(call)
    return read_as(Instance, reply, str(call))
