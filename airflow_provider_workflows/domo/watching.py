"""Reading workflow instances, and waiting for their end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.errors import BlockedError
from airflow_provider_workflows.domo.models import IN_PROGRESS, TERMINAL_STATUSES, Instance
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    ProviderError,
    RateLimitError,
    RedirectedError,
    RejectedError,
)
from airflow_provider_workflows.rest.plans import (
    Collect,
    Collected,
    MaxInFlight,
    Pause,
    Plan,
    RetryState,
    Submit,
    read_as,
    send,
)
from airflow_provider_workflows.rest.redaction import escape_controls

log = logging.getLogger(__name__)

#: Of how many instances each change of status is logged.
TOLD = 10


class NotCompletedError(ProviderError):
    """A workflow instance ended with a status that was not wanted.

    :param retry_helps: whether the task's retry starts another one.
    """

    advice = "See its execution in Domo."

    def __init__(self, instance: Instance, *, retry_helps: bool = True) -> None:
        super().__init__(instance)
        self.instance = instance
        self.retry_helps = retry_helps

    @property
    def what(self) -> str:
        """What went wrong."""
        return f"workflow instance {self.instance.id} is {escape_controls(str(self.instance.status))}"


def read_instance(instance_id: str) -> Plan[Instance]:
    """Read a workflow instance. Undocumented by Domo.

    :param instance_id: its id.
    """
    return (yield from instance_of(calls.get_instance(instance_id)))


@dataclass(slots=True)
class Watch:
    """Instances whose end is waited for, and what polls have learnt of them.

    :param left: ids of those that may still run.
    :param seen: id to the instance as last seen.
    :param unreadable: id to the error that says that it cannot be read, which is no end; it is polled no more.
    :param failure: why the last poll could not read all that were left; ``None`` if it could.
    :param answered: whether the last poll could read any.
    """

    left: list[str]
    seen: dict[str, Instance] = field(default_factory=dict)
    unreadable: dict[str, ApiError] = field(default_factory=dict)
    failure: ApiError | None = None
    answered: bool = False


def poll_instances(watch: Watch, *, once: bool = False) -> Plan[None]:
    """Read the instances that are left, several at once. What was learnt is kept, even if the poll fails later.

    :param once: send no read again that fails in passing; what was not read stays left.
    :raises ApiError: if none could be read, or the account lets none be read.
    """
    polled = unread = list(watch.left)
    retries = RetryState()
    while True:
        before = len(unread)
        unread, failure = yield from _read_each(watch, unread)
        watch.failure, watch.answered = failure, len(unread) < len(polled)
        if failure is None:
            return
        if once:
            break
        if len(unread) < before:
            retries = RetryState()
        try:
            yield from retries.wait_out(failure)
        except ApiError as error:
            if error is not failure:
                raise
            break
    if not watch.answered:
        raise failure
    # The next poll begins with those that were not read.
    first = set(unread)
    watch.left.sort(key=lambda instance_id: instance_id not in first)
    if once and failure.retry_after:
        yield Pause(failure.retry_after, reason=failure.message)


def _read_each(watch: Watch, instance_ids: Sequence[str]) -> Plan[tuple[list[str], ApiError | None]]:
    """Read each once, and return those that could not be read, and why. After a refusal nothing more is sent."""
    waiting, under_way = deque(instance_ids), 0
    failed: dict[str, ApiError] = {}
    stopped_by: ApiError | None = None
    while under_way or (waiting and stopped_by is None):
        if waiting and stopped_by is None and under_way < (yield MaxInFlight()):
            instance_id = waiting.popleft()
            yield Submit(calls.get_instance(instance_id), instance_id, "instances")
            under_way += 1
            continue
        collected: Collected = yield Collect()
        under_way -= 1
        try:
            _learn(watch, collected.tag, collected.outcome)
        except ApiError as error:
            failed[collected.tag] = error
            if isinstance(error, RateLimitError):
                stopped_by = stopped_by or error
            elif not error.retry_helps:
                stopped_by = error
    if stopped_by is not None and not stopped_by.retry_helps:
        raise stopped_by
    failure = max(failed.values(), key=lambda error: error.retry_after or 0, default=None)
    return [*waiting, *failed], failure


def _learn(watch: Watch, instance_id: str, outcome: Any) -> None:
    """Take in what became of a read.

    :raises ApiError: if it says nothing about the instance.
    """
    try:
        if isinstance(outcome, ApiError):
            raise outcome
        instance = read_as(Instance, outcome, f"read instance {instance_id}")
    except (AuthenticationError, RedirectedError, BlockedError):
        raise
    except RejectedError as error:
        log.warning("Instance %s cannot be read; it is not polled any more: %s", instance_id, error.message)
        watch.unreadable[instance_id] = error
    else:
        note_unknown(instance)
        _tell_change(watch, instance)
        watch.seen[instance_id] = instance
        if not instance.terminal:
            return
    watch.left.remove(instance_id)


def _tell_change(watch: Watch, instance: Instance) -> None:
    """Log a status that has changed, unless too many instances are watched to read it."""
    before = watch.seen.get(instance.id)
    if len(watch.left) <= TOLD and (before is None or before.status != instance.status):
        log.info("Instance %s is %s", instance.id, escape_controls(instance.status or "about to start"))


def unfinished(instance_ids: Iterable[str], seen: dict[str, Instance] | None = None) -> Plan[list[str]]:
    """Poll instances once, and return those that are in no terminal status.

    :param seen: the instances as they were last seen; is brought up to date.
    :raises ApiError: if one cannot be read: that is no end.
    """
    watch = Watch(list(instance_ids), {} if seen is None else seen)
    yield from poll_instances(watch)
    for error in watch.unreadable.values():
        raise error
    return watch.left


def note_unknown(instance: Instance) -> None:
    """Log a status that Domo's documentation does not know."""
    if instance.status not in {None, IN_PROGRESS, *TERMINAL_STATUSES}:
        log.warning("Instance %s has the undocumented status %r; still waiting", instance.id, instance.status)


def instance_of(call: Call) -> Plan[Instance]:
    """Send a call whose reply is an instance."""
    reply = yield from send(call)
    return read_as(Instance, reply, str(call))
