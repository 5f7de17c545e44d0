"""Cancelling workflow instances, and telling truly what became of each."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import CANCELED, COMPLETED, TERMINAL_STATUSES, Instance
from airflow_provider_workflows.domo.watching import Watch, instance_of, poll_instances, read_instance
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import (
    ApiError,
    ArgumentError,
    AuthenticationError,
    RedirectedError,
    RejectedError,
    UnknownOutcomeError,
)
from airflow_provider_workflows.rest.plans import Now, Pause, Plan, exponential_backoff, poll_until

log = logging.getLogger(__name__)

#: What a record keeps of an instance.
RECORD_FIELDS = {"model_id", "model_name", "model_version", "status", "created_on"}


def check_instance_ids(instance_ids: Iterable[str]) -> list[str]:
    """Check workflow instance ids and leave out repetitions.

    :raises ArgumentError: for what cannot be an id.
    """
    ids = list(dict.fromkeys(instance_ids))
    for instance_id in ids:
        if not isinstance(instance_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", instance_id):
            raise ArgumentError(
                f"instance_id: {instance_id!r} is not an instance id such as '2052e10a-d142-4391-a731-2be1ab1c0188'"
            )
    return ids


def describe_instances(instance_ids: Iterable[str]) -> Plan[list[dict[str, Any]]]:
    """Return what is kept of instances that are to be cancelled, as JSON: their ids, and what a read tells of them.

    :param instance_ids: the ids.
    """
    rows: list[dict[str, Any]] = []
    for instance_id in instance_ids:
        try:
            row = (yield from read_instance(instance_id)).model_dump(by_alias=True, mode="json", include=RECORD_FIELDS)
        except (AuthenticationError, RedirectedError):
            raise
        except RejectedError as error:
            row = {"unreadable": error.reason}
        rows.append({**row, "id": instance_id})
    return rows


def cancel_instances(
    instance_ids: Iterable[str],
    *,
    wait_for: float | None = None,
    poll_interval: float = 5.0,
    report: EndReport | None = None,
    seen: Callable[[Instance], object] = bool,
) -> Plan[EndReport]:
    """Cancel workflow instances, one request each, and tell what became of each.

    ``ended`` are those whose cancellation Domo accepted, or that are cancelled after a reply to it was lost; after
    waiting, that are in a terminal status besides. ``already_ended`` had finished, or were cancelled, before.

    :param instance_ids: the ids.
    :param wait_for: seconds to wait until all are in a terminal status; ``None``: do not wait.
    :param poll_interval: seconds between two looks at those that are not.
    :param report: filled while the work goes on.
    :param seen: is told each instance as the cancellation's reply shows it.
    :raises ArgumentError: if one is not an id; nothing is sent then.
    """
    ids = check_instance_ids(instance_ids)
    report = report or EndReport(requested=len(ids))
    try:
        for nth, instance_id in enumerate(ids):
            yield from _cancel(instance_id, report, seen)
            if (nth + 1) % 50 == 0:
                log.info("%d of %d instances done", nth + 1, len(ids))
    except ApiError as error:
        report.stop(error, ids)
    if wait_for is not None and report.stopped_by is None:
        yield from await_cancelled(report, wait_for, poll_interval)
    return report


def _cancel(instance_id: str, report: EndReport, seen: Callable[[Instance], object]) -> Plan[None]:
    for delay in (*exponential_backoff(), None):
        try:
            # The reply shows the status as it was when the request arrived.
            instance = yield from instance_of(calls.cancel_instance(instance_id))
            over = instance.status in {COMPLETED, CANCELED}
            break
        except (AuthenticationError, RedirectedError):
            raise
        except NotFoundError as error:
            report.fail(instance_id, error)
            return
        except (UnknownOutcomeError, RejectedError) as error:
            failure: ApiError = error
        try:
            instance = yield from read_instance(instance_id)
        except RejectedError as unreadable:
            report.failed[instance_id] = f"{failure.reason} Its status cannot be read either: {unreadable}"
            return
        over = instance.status in {COMPLETED, CANCELED}
        if isinstance(failure, UnknownOutcomeError):
            report.unclear.add(instance_id)
        if over:
            break
        if delay is None or not failure.retry_helps:
            report.fail(instance_id, failure)
            return
        yield Pause(delay, reason=str(failure))
    report.statuses[instance_id] = instance.status
    seen(instance)
    ours = not over or (instance_id in report.unclear and instance.status == CANCELED)
    if ours:
        report.end(instance_id)
    else:
        report.already_ended.append(instance_id)


def still_running(report: EndReport) -> list[str]:
    """Return the ids that Domo took the cancellation of, and that were not seen in a terminal status yet."""
    return [one for one in report.ended if report.statuses.get(one) not in TERMINAL_STATUSES]


def await_cancelled(
    report: EndReport,
    wait_for: float,
    poll_interval: float,
    waited: float = 0.0,
) -> Plan[None]:
    """Poll those that were just cancelled until each is in a terminal status, and correct the report.

    :param report: the report of the cancellation.
    :param wait_for: seconds to wait at most; it polls once in any case.
    :param poll_interval: seconds between two polls.
    :param waited: seconds that somebody has waited before.
    """
    watch = Watch([instance_id for instance_id in report.ended if report.statuses.get(instance_id) != CANCELED])
    if not watch.left:
        return
    began = yield Now()
    try:
        yield from poll_until(
            partial(_all_seen, watch),
            repeat(poll_interval),
            "cancelled instances have not ended yet",
            wait_for=wait_for,
            tolerance=wait_for,
        )
    except ApiError as error:
        watch.failure = error
    waited += (yield Now()) - began
    for instance_id, instance in watch.seen.items():
        report.statuses[instance_id] = instance.status
        if instance.status == COMPLETED:
            report.ended.remove(instance_id)
            report.already_ended.append(instance_id)
    for instance_id, unreadable in watch.unreadable.items():
        _lose_sight(report, instance_id, unreadable)
    for instance_id in watch.left:
        if watch.failure is not None:
            _lose_sight(report, instance_id, watch.failure)
        else:
            status = report.statuses.get(instance_id)
            report.ended.remove(instance_id)
            report.failed[instance_id] = f"cancelled, but still {status} after {waited:.0f} s"
    if watch.left and watch.failure is not None:
        report.stop(watch.failure, [])


def _all_seen(watch: Watch) -> Plan[bool | None]:
    yield from poll_instances(watch)
    return None if watch.left else True


def _lose_sight(report: EndReport, instance_id: str, error: ApiError) -> None:
    """Report an instance as failed whose end cannot be seen."""
    report.ended.remove(instance_id)
    report.failed[instance_id] = f"cancelled, but its end cannot be seen: {error.reason}"
