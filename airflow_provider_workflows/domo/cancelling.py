"""Cancelling workflow instances, and telling truly what became of each."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import CANCELED, COMPLETED, Instance
from airflow_provider_workflows.domo.watching import instance_of, note_unknown, read_instance
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    RedirectedError,
    RejectedError,
    UnknownOutcomeError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan, exponential_backoff

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
        """Return it as an XCom value."""
        return {
            "requested": self.requested,
            "ended": self.ended,
            "already_ended": self.already_ended,
            "failed": self.failed,
            "status": {instance_id: instance.status for instance_id, instance in self.instances.items()},
            "dry_run": False,
        }

    @classmethod
    def from_json(cls, report: Mapping[str, Any]) -> Self:
        """Read what :meth:`json` gave."""
        instances = {
            instance_id: Instance(id=instance_id, status=status) for instance_id, status in report["status"].items()
        }
        fields = ("requested", "ended", "already_ended", "failed")
        return cls(**{name: report[name] for name in fields}, instances=instances)

    def stop(self, error: ApiError, instance_ids: Iterable[str]) -> None:
        """Note that an error ended the work, and with it those of the instances that nothing is known of."""
        known = {*self.ended, *self.already_ended, *self.failed}
        self.failed |= {instance_id: str(error) for instance_id in instance_ids if instance_id not in known}
        self.stopped_by = error

    @property
    def still_running(self) -> list[str]:
        """Ids that Domo took the cancellation of, and that were not seen in a terminal status yet."""
        return [one for one in self.ended if not self.instances[one].terminal]


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


def cancel_instances(
    instance_ids: Iterable[str],
    *,
    wait_for: float | None = None,
    poll_interval: float = 5.0,
) -> Plan[CancelReport]:
    """Cancel workflow instances, one request each, and tell what became of each.

    :param instance_ids: the ids.
    :param wait_for: seconds to wait until all are in a terminal status; ``None``: do not wait.
    :param poll_interval: seconds between two looks at those that are not.
    :raises ValueError: if one is not an id; nothing is sent then.
    """
    ids = check_instance_ids(instance_ids)
    report = CancelReport(requested=len(ids))
    try:
        for nth, instance_id in enumerate(ids):
            yield from _cancel(instance_id, report)
            if (nth + 1) % 50 == 0:
                log.info("%d of %d instances done", nth + 1, len(ids))
    except ApiError as error:
        report.stop(error, ids)
    if wait_for is not None and report.stopped_by is None:
        yield from await_cancelled(report, wait_for, poll_interval)
    return report


def _cancel(instance_id: str, report: CancelReport) -> Plan[None]:
    maybe_cancelled = False
    for delay in (*exponential_backoff(), None):
        try:
            # The reply shows the status as it was when the request arrived.
            instance = yield from instance_of(calls.cancel_instance(instance_id))
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
            instance = yield from read_instance(instance_id)
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


def await_cancelled(
    report: CancelReport,
    wait_for: float,
    poll_interval: float,
    waited: float = 0.0,
) -> Plan[None]:
    """Poll those that were just cancelled until each is in a terminal status, and correct the report.

    :param report: the report of the cancellation.
    :param wait_for: seconds to wait at most; it looks once in any case.
    :param poll_interval: seconds between two looks.
    :param waited: seconds that somebody has waited before.
    """
    try:
        yield from _poll(report, wait_for, poll_interval, waited)
    except ApiError as error:
        report.stop(error, [])


def _poll(report: CancelReport, wait_for: float, poll_interval: float, waited: float) -> Plan[None]:
    left = [instance_id for instance_id in report.ended if report.instances[instance_id].status != CANCELED]
    while left:
        for instance_id in left:
            try:
                instance = yield from read_instance(instance_id)
            except ApiError as error:
                _lose_sight(report, instance_id, error)
                continue
            report.instances[instance_id] = instance
            if instance.status == COMPLETED:
                report.ended.remove(instance_id)
                report.already_ended.append(instance_id)
            note_unknown(instance)
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
