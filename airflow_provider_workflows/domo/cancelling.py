"""Cancelling workflow instances, and reporting what became of each."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.errors import BlockedError, NotFoundError
from airflow_provider_workflows.domo.models import CANCELED, COMPLETED, TERMINAL_STATUSES, Instance
from airflow_provider_workflows.domo.watching import Watch, poll_instances
from airflow_provider_workflows.rest.bulk import Batching, send_each
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import (
    ApiError,
    ArgumentError,
    AuthenticationError,
    RedirectedError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import Now, Plan, poll_once, poll_until, read_as

log = logging.getLogger(__name__)

#: Statuses in which there is nothing to cancel.
OVER = frozenset({COMPLETED, CANCELED})
#: What a record keeps of an instance.
RECORD_FIELDS = {"model_id", "model_name", "model_version", "status", "created_on"}
#: What is waited for, for the log.
WAITING = "cancelled instances have not ended yet"

K = TypeVar("K")


def check_instance_ids(instance_ids: Iterable[str]) -> list[str]:
    """Return workflow instance ids with no repetitions; what cannot be one is refused with an ``ArgumentError``."""
    ids = list(dict.fromkeys(instance_ids))
    for instance_id in ids:
        if not isinstance(instance_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", instance_id):
            raise ArgumentError(
                f"instance_id: {instance_id!r} is not an instance id such as '2052e10a-d142-4391-a731-2be1ab1c0188'"
            )
    return ids


def describe_instances(instance_ids: Iterable[str]) -> Plan[list[dict[str, Any]]]:
    """Return what is kept of instances that are to be cancelled, as JSON: their ids, and what is read of them."""
    ids = list(instance_ids)
    watch = Watch(ids.copy())
    yield from poll_instances(watch)
    if watch.failure is not None:
        raise watch.failure
    rows = {id: seen.model_dump(by_alias=True, mode="json", include=RECORD_FIELDS) for id, seen in watch.seen.items()}
    unreadable = {id: {"unreadable": error.reason} for id, error in watch.unreadable.items()}
    return [{"id": id, **(rows | unreadable)[id]} for id in ids]


def cancel_instances(
    instance_ids: Iterable[str],
    *,
    wait_for: float | None = None,
    poll_interval: float = 5.0,
    report: EndReport | None = None,
    seen: Callable[[Instance], object] = bool,
) -> Plan[EndReport]:
    """Cancel workflow instances, one request each and several at once, and report what became of each.

    ``ended`` are those whose cancellation Domo accepted, or that are cancelled after a reply to it was lost; after
    waiting, those that also are in a terminal status. ``already_ended`` had finished, or were cancelled, before.

    :param instance_ids: the ids.
    :param wait_for: seconds to wait until all are in a terminal status; ``None``: do not wait.
    :param poll_interval: seconds between two polls.
    :param report: filled while the work goes on.
    :param seen: called with each instance as the cancellation's reply shows it.
    :raises ArgumentError: if one is not an id; nothing is sent then.
    """
    ids = check_instance_ids(instance_ids)
    report = report or EndReport(requested=len(ids))

    def answered(instance_id: str, instance: Instance) -> None:
        report.statuses[instance_id] = instance.status
        seen(instance)
        ours = instance_id in report.unknown and instance.status == CANCELED
        if ours or instance.status not in OVER:
            report.end(instance_id)
        else:
            report.already_ended.append(instance_id)

    def settle(errors: Mapping[str, ApiError]) -> Plan[list[str]]:
        report.lose(errors)
        for error in errors.values():
            if isinstance(error, (AuthenticationError, RedirectedError, BlockedError)):
                raise error
        for instance_id, error in errors.items():
            if isinstance(error, NotFoundError):
                report.fail(instance_id, error)
        watch = Watch([instance_id for instance_id in errors if instance_id not in report.failed])
        yield from poll_instances(watch)
        for instance_id, unreadable in watch.unreadable.items():
            if instance_id in report.unknown:
                reason = f"{errors[instance_id].reason} Its status cannot be read either: {unreadable.message}"
                report.give_up(reason, [instance_id])
            else:
                report.fail(instance_id, errors[instance_id])
                before = f"{report.failed[instance_id]} Its status cannot be read either: "
                report.fail(instance_id, unreadable, before)
        again = []
        for instance_id, instance in watch.seen.items():
            if instance.status in OVER:
                answered(instance_id, instance)
            elif report.is_to_end_again(instance_id, errors[instance_id]):
                again.append(instance_id)
        if watch.failure is not None:
            raise watch.failure
        return again

    try:
        yield from send_each(
            ids, calls.cancel_instance, answered, settle, what="instances", batching=_OneInstanceEach()
        )
    except ApiError as error:
        report.stop(error, ids)
    if wait_for is not None and report.stopped_by is None:
        yield from await_cancelled(report, wait_for, poll_interval)
    return report


class _OneInstanceEach(Batching):
    """A request for each instance, which shows its status as it was when the request arrived."""

    def outcomes(self, items: Sequence[K], outcome: Any) -> dict[K, Any]:
        """Return the instance, or the error."""
        if not isinstance(outcome, ApiError):
            try:
                outcome = read_as(Instance, outcome, f"cancel instance {items[0]}")
            except UnreadableReplyError as error:
                outcome = error
        return {items[0]: outcome}


def still_running(report: EndReport) -> list[str]:
    """Return the ids that Domo took the cancellation of, and that were not seen in a terminal status yet."""
    return [one for one in report.ended if report.statuses.get(one) not in TERMINAL_STATUSES]


def await_cancelled(
    report: EndReport,
    wait_for: float,
    poll_interval: float,
    waited: float | None = None,
) -> Plan[None]:
    """Poll those that were just cancelled until each is in a terminal status, and correct the report.

    :param report: the report of the cancellation.
    :param wait_for: seconds to wait at most; it polls once in any case.
    :param poll_interval: seconds between two polls.
    :param waited: seconds that were waited before without success; the last poll is then given a minute.
    """
    watch = Watch([instance_id for instance_id in report.ended if report.statuses.get(instance_id) != CANCELED])
    if not watch.left:
        return
    began = yield Now()
    try:
        if waited is None:
            yield from poll_until(
                lambda: all_seen(watch), repeat(poll_interval), WAITING, wait_for=wait_for, tolerance=wait_for
            )
        else:
            yield from poll_once(lambda: all_seen(watch), WAITING)
    except ApiError as error:
        watch.failure = error
    waited = (waited or 0.0) + (yield Now()) - began
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


def all_seen(watch: Watch) -> Plan[bool | None]:
    """Poll once whether all have ended: ``True``, or ``None``.

    :raises ApiError: if none could be read, or the account lets none be read.
    """
    yield from poll_instances(watch)
    return None if watch.left else True


def _lose_sight(report: EndReport, instance_id: str, error: ApiError) -> None:
    """Report an instance as failed whose status cannot be read."""
    report.ended.remove(instance_id)
    report.fail(instance_id, error, "cancelled, but its status cannot be read: ")
