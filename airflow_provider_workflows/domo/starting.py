"""What is started in Domo: a version of a model. ``rest.start_once`` starts it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.cancelling import check_instance_ids
from airflow_provider_workflows.domo.errors import NotFoundError, StartNotFoundError
from airflow_provider_workflows.domo.models import CANCELED, FAILED, Instance
from airflow_provider_workflows.domo.watching import instance_of, read_instance
from airflow_provider_workflows.rest.errors import ArgumentError, UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, read_list, send
from airflow_provider_workflows.rest.start_once import Candidate, ForeignIdError, check_inputs

#: Instances to a page of a list.
PAGE = 100
#: Instances of a model to look through for new ones.
MOST_NEW = 1000


def check_start(model_id: Any, version: Any, message_name: Any, data: Any) -> None:
    """Refuse arguments of a start with an ``ArgumentError``, as the functions below do."""
    check_model_id(model_id)
    check_version(version)
    check_message_name(message_name)
    if data is not None:
        check_inputs(data, "data")


def check_model_id(model_id: Any, argument: str = "model_id") -> None:
    """Refuse what cannot be the id of a workflow model."""
    if not isinstance(model_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", model_id):
        raise ArgumentError(
            f"{argument}: {model_id!r} is not a model id such as '2052e10a-d142-4391-a731-2be1ab1c0188'"
        )


def check_version(version: Any, argument: str = "version") -> None:
    """Refuse what cannot be a model's version."""
    if not isinstance(version, str) or not re.fullmatch(r"\d+(\.\d+){1,3}", version):
        raise ArgumentError(f"{argument} must be a deployed version such as '1.1.0', not {version!r}")


def check_message_name(message_name: Any, argument: str = "message_name") -> None:
    """Refuse what cannot be the title of a Start shape."""
    if not isinstance(message_name, str) or not message_name.strip():
        raise ArgumentError(
            f"{argument} must be the title of the Start shape, e.g. 'Start Orders', not {message_name!r}"
        )


def start_instance(
    model_id: str, version: str, message_name: str, data: Mapping[str, Any] | None = None
) -> Plan[Instance]:
    """Start a workflow. A start whose reply is lost is not sent again.

    :param model_id: the workflow model's id.
    :param version: a deployed and active version, e.g. ``1.1.0``.
    :param message_name: title of the Start shape.
    :param data: input values.
    :raises StartNotFoundError: if there is nothing to start under these names.
    :raises UnknownOutcomeError: if the reply was lost.
    """
    check_start(model_id, version, message_name, data)
    try:
        return (yield from instance_of(calls.start_instance(model_id, version, message_name, data)))
    except NotFoundError as error:
        raise StartNotFoundError(error.call, http_status=404, text=error.text, trace=error.trace) from None


@dataclass(slots=True)
class StartRequest:
    """A version of a model to start. Both are its target.

    :param model_id: the workflow model's id.
    :param version: a deployed and active version, e.g. ``1.1.0``.
    :param message_name: title of the Start shape.
    :param data: input values.
    :raises ArgumentError: if one of them cannot be right.
    """

    model_id: str
    version: str
    message_name: str
    data: Mapping[str, Any] | None = field(default=None, repr=False)
    #: The instance, as it was last seen.
    instance: Instance | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_start(self.model_id, self.version, self.message_name, self.data)

    @property
    def name(self) -> str:
        """The call's name."""
        return "start workflow"

    def existing(self) -> Plan[list[str]]:
        """Read the ids of the model's latest instances."""
        return [one.id for one in (yield from read_instances(self.model_id))]

    def start(self) -> Plan[str]:
        """Start it, and return the instance's id. A start whose reply is lost is not sent again."""
        self.instance = yield from start_instance(self.model_id, self.version, self.message_name, self.data)
        return self.instance.id

    def find_new(self, known: Iterable[str], since: datetime | None) -> Plan[list[Candidate]]:
        """Read the model's instances of this version, except what is known or older."""
        before = set(known)

        def is_old(instance: Instance) -> bool:
            return instance.id in before or (
                since is not None and instance.created_on is not None and instance.created_on < since
            )

        new = yield from read_new_instances(self.model_id, is_old)
        return [_as_candidate(one) for one in new if one.model_version in {self.version, None}]

    def reconnect(self, id: str) -> Plan[bool]:
        """Go on with an instance that was started, unless it failed or was cancelled: that is what the retry is for."""
        (checked,) = check_instance_ids([id])
        self.instance = yield from read_instance(checked)
        if self.instance.model_id not in {self.model_id, None}:
            raise ForeignIdError(self.name, text=f"instance {id} is of another model")
        return self.instance.status not in {CANCELED, FAILED}


def read_instances(model_id: str, offset: int = 0) -> Plan[list[Instance]]:
    """Read a page of a model's instances, the latest first. Undocumented by Domo.

    :param offset: how many of the latest to leave out.
    """
    call = calls.list_instances(model_id, limit=PAGE, offset=offset)
    return read_list(Instance, (yield from send(call)), str(call))


def read_new_instances(model_id: str, is_old: Callable[[Instance], bool]) -> Plan[list[Instance]]:
    """Read a model's instances until old ones come.

    :param is_old: returns whether an instance is old.
    :raises UnreadableReplyError: if there are more than 1,000 new ones.
    """
    new: dict[str, Instance] = {}
    for offset in range(0, MOST_NEW, PAGE):
        page = yield from read_instances(model_id, offset)
        found = [one for one in page if not is_old(one)]
        new |= {one.id: one for one in found}
        if len(found) < PAGE:
            return list(new.values())
    raise UnreadableReplyError("list instances", text=f"more than {MOST_NEW} instances are new, too many to search")


def _as_candidate(instance: Instance) -> Candidate:
    by = (instance.model_extra or {}).get("createdBy")
    about = f"{instance.status}, created {instance.created_on} by user {by}"
    return Candidate(instance.id, about, failed=instance.status in {CANCELED, FAILED})
