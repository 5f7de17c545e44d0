"""Reading workflow instances, and waiting for their end."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import IN_PROGRESS, TERMINAL_STATUSES, Instance
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Plan, read_as, send

log = logging.getLogger(__name__)


class NotCompletedError(ProviderError):
    """A workflow instance ended with a status that was not wanted.

    :param instance: the instance.
    :param retry_helps: whether the task's retry starts another one.
    """

    def __init__(self, instance: Instance, *, retry_helps: bool = True) -> None:
        super().__init__(instance)
        self.instance = instance
        self.retry_helps = retry_helps

    def __str__(self) -> str:
        return f"Workflow instance {self.instance.id} is {self.instance.status}; see its execution in Domo"


def read_instance(instance_id: str) -> Plan[Instance]:
    """Read a workflow instance. Undocumented by Domo.

    :param instance_id: its id.
    """
    return (yield from instance_of(calls.get_instance(instance_id)))


def unfinished(instance_ids: Iterable[str]) -> Plan[list[str]]:
    """Look once at instances, and give those that are in no terminal status.

    :param instance_ids: the ids. One that is not there is left out.
    """
    left = []
    for instance_id in instance_ids:
        try:
            instance = yield from read_instance(instance_id)
        except NotFoundError as error:
            log.warning("Instance %s is not watched any more: %s", instance_id, error)
            continue
        note_unknown(instance)
        if not instance.terminal:
            left.append(instance_id)
    return left


def note_unknown(instance: Instance) -> None:
    """Log a status that Domo's documentation does not know."""
    if instance.status not in {None, IN_PROGRESS, *TERMINAL_STATUSES}:
        log.warning("Instance %s has the unknown status %r; waiting on", instance.id, instance.status)


def instance_of(call: Call) -> Plan[Instance]:
    """Send a call whose reply is an instance."""
    reply = yield from send(call)
    return read_as(Instance, reply, str(call))
