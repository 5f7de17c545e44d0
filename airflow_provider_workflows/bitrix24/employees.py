"""An employee who has left (API page "How to Complete Business Processes of a Terminated Employee")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.ending import RECORD_FIELDS
from airflow_provider_workflows.bitrix24.listing import read_workflows, running_workflows
from airflow_provider_workflows.bitrix24.paging import Rows, read_pages
from airflow_provider_workflows.bitrix24.selecting import Selector, WorkflowSummary
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Plan, read_list, send
from airflow_provider_workflows.rest.redaction import escape_controls


class EmployeeError(ProviderError, ValueError):
    """No employee, or more than one, was found, or the employee has not left; nothing is ended."""

    advice = "Set user_id to a user who has been dismissed in the portal."


def _bool(value: Any) -> Any:
    return {"Y": True, "N": False}.get(value, value) if isinstance(value, str) else value


class User(BaseModel):
    """A user of the portal, a row of ``user.get``.

    :param active: whether the user may log in; false for dismissed employees.
    """

    model_config = ConfigDict(alias_generator=str.upper, extra="allow", frozen=True)

    id: int
    active: Annotated[bool, BeforeValidator(_bool)]
    name: str | None = None
    last_name: str | None = None


def find_employee(*, user_id: int | None = None, name: str | None = None, last_name: str | None = None) -> Plan[User]:
    """Find the dismissed employee with this id or name.

    :raises EmployeeError: if there is none, more than one, or the user is active.
    """
    filters = {"ID": user_id} if user_id is not None else {"NAME": name, "LAST_NAME": last_name, "ACTIVE": 0}
    reply: Reply = yield from send(calls.find_users(filters))
    users = read_list(User, reply.result, "user.get")

    def is_meant(user: User) -> bool:
        # The portal may ignore a filter that it does not know, so each row is checked.
        return user.id == user_id if user_id is not None else (user.name, user.last_name) == (name, last_name)

    fitting = [user for user in users if is_meant(user)]
    who = f"id {user_id}" if user_id is not None else escape_controls(f"name {name} {last_name}")
    left = [user for user in fitting if not user.active]
    if len(left) == 1 and reply.next is None:
        return left[0]
    if fitting and not left:
        raise EmployeeError(f"the user with {who} is active; only the workflows of dismissed employees are ended")
    ids = ", ".join(str(user.id) for user in left)
    raise EmployeeError(f"{len(left)} dismissed employees have the {who}{f': {ids}' if left else ''}")


def waiting_for(user_id: int, *, recorded: bool = False) -> Selector:
    """Select the running workflows with a task that waits for a user.

    :param recorded: whether their documents, and who started them, are read too.
    """
    return _WaitingFor(user_id, RECORD_FIELDS if recorded else ("ID", "STARTED", "TEMPLATE_ID"))


@dataclass(frozen=True, slots=True)
class _WaitingFor:
    """The running workflows with a task that waits for a user, by their ids."""

    user_id: int
    fields: Sequence[str]

    def __call__(self, *, since: str | None = None, limit: int | None = None) -> Plan[dict[str, WorkflowSummary]]:
        ids = yield from self._ids()
        left = iter(sorted(one for one in ids if since is None or one >= since))
        found: dict[str, WorkflowSummary] = {}
        # Some of them may have ended.
        while some := list(islice(left, None if limit is None else limit - len(found))):
            found |= yield from read_workflows(some, WorkflowSummary.of, select=self.fields)
        # They come in the order in which they are answered.
        return dict(sorted(found.items()))

    def position(self, workflow_id: str, summary: WorkflowSummary) -> str | None:  # noqa: ARG002
        return workflow_id

    def recheck(self, workflow_ids: Sequence[str]) -> Plan[Mapping[str, bool]]:
        waiting = yield from self._ids()
        others = yield from running_workflows(one for one in workflow_ids if one not in waiting)
        return dict.fromkeys(waiting, True) | dict.fromkeys(others, False)

    def _ids(self) -> Plan[set[str]]:
        first: Reply = yield from send(calls.list_open_tasks(self.user_id))
        page = partial(calls.list_open_tasks, self.user_id)
        tasks = yield from read_pages(first, page, partial(_waiting_tasks, self.user_id), what="pages of tasks")
        return set(tasks.values())


class Task(BaseModel):
    """A task of a workflow, a row of ``bizproc.task.list``.

    :param workflow_id: its workflow, if it has one.
    :param user_id: whose task it is.
    :param status: 0 while the workflow waits for it.
    :param user_status: 0 while it waits for this user; a task can wait for others who have not answered yet.
    """

    model_config = ConfigDict(alias_generator=str.upper, extra="allow", frozen=True, coerce_numbers_to_str=True)

    id: str = Field(min_length=1)
    workflow_id: str | None
    user_id: int
    status: int
    user_status: int


def _waiting_tasks(user_id: int, reply: Reply) -> Rows[str]:
    """Keep the workflows of the tasks that wait for a user: the portal may ignore a filter that it does not know."""
    tasks = read_list(Task, reply.result, "bizproc.task.list")
    waiting = {
        task.id: task.workflow_id
        for task in tasks
        if task.workflow_id and task.user_id == user_id and task.status == task.user_status == 0
    }
    return Rows(frozenset(task.id for task in tasks), waiting)
