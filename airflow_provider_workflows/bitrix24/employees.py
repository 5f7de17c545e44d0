"""An employee who has left (API page "How to Complete Business Processes of a Terminated Employee")."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.clean_up import Selector, WorkflowSummary
from airflow_provider_workflows.bitrix24.listing import read_workflows
from airflow_provider_workflows.bitrix24.sending import read_pages
from airflow_provider_workflows.rest.errors import ProviderError, UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, read_list, send


class EmployeeError(ProviderError, ValueError):
    """The employee cannot be told for sure, or has not left; nothing is ended then."""


def _switch(value: Any) -> Any:
    return {"Y": True, "N": False}.get(value, value) if isinstance(value, str) else value


class User(BaseModel):
    """A user of the portal, a row of ``user.get``.

    :param id: the user's id.
    :param active: whether the user may log in; false for dismissed employees.
    :param name: first name.
    :param last_name: last name.
    """

    model_config = ConfigDict(alias_generator=str.upper, extra="allow", frozen=True)

    id: int
    active: Annotated[bool, BeforeValidator(_switch)]
    name: str | None = None
    last_name: str | None = None


def find_employee(*, user_id: int | None = None, name: str | None = None, last_name: str | None = None) -> Plan[User]:
    """Find the one dismissed employee with this id, or this name.

    :param user_id: id of the user.
    :param name: first name.
    :param last_name: last name.
    :raises EmployeeError: if there is none, more than one, or the user is active.
    """
    filters = {"ID": user_id} if user_id is not None else {"NAME": name, "LAST_NAME": last_name, "ACTIVE": 0}
    reply: Reply = yield from send(calls.find_users(filters))
    users = read_list(User, reply.result, "user.get")

    def is_meant(user: User) -> bool:
        # The portal may ignore a filter that it does not know, so each row is looked at.
        return user.id == user_id if user_id is not None else (user.name, user.last_name) == (name, last_name)

    fitting = [user for user in users if is_meant(user)]
    who = f"id {user_id}" if user_id is not None else f"name {name} {last_name}"
    left = [user for user in fitting if not user.active]
    if len(left) == 1 and reply.next is None:
        return left[0]
    if fitting and not left:
        raise EmployeeError(f"the user with {who} is active; only the workflows of dismissed employees are ended")
    ids = ", ".join(str(user.id) for user in left)
    raise EmployeeError(f"{len(left)} dismissed employees have the {who}{f': {ids}; give user_id' if left else ''}")


def waiting_for(user_id: int) -> Selector:
    """Find the running workflows with a task that waits for a user.

    :param user_id: the user.
    """

    def find() -> Plan[dict[str, WorkflowSummary]]:
        first: Reply = yield from send(calls.list_open_tasks(user_id))
        tasks: dict[int, list[str]] = {}

        def collect(start: int, reply: Reply) -> int:
            tasks[start] = [row["WORKFLOW_ID"] for row in _tasks(reply) if _waits(row, user_id)]
            return len(tasks[start])

        page = partial(calls.list_open_tasks, user_id)
        yield from read_pages(first, page, collect, what="pages of tasks")
        ids = dict.fromkeys(workflow_id for start in sorted(tasks) for workflow_id in tasks[start])
        return (yield from read_workflows(ids, WorkflowSummary.of, select=("ID", "STARTED", "TEMPLATE_ID")))

    return find


def _waits(task: dict[str, Any], user_id: int) -> bool:
    """Tell whether a task is open and this user's: the portal may ignore a filter that it does not know."""
    try:
        return int(task["USER_ID"]) == user_id and int(task["STATUS"]) == 0 and bool(task["WORKFLOW_ID"])
    except (KeyError, TypeError, ValueError):
        raise UnreadableReplyError("bizproc.task.list", text="a task without USER_ID, STATUS or WORKFLOW_ID") from None


def _tasks(reply: Reply) -> list[dict[str, Any]]:
    if not isinstance(reply.result, list) or not all(isinstance(row, dict) for row in reply.result):
        raise UnreadableReplyError("bizproc.task.list", text="the result is not a list of rows")
    return reply.result
