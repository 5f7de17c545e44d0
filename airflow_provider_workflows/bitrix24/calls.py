"""Bitrix24's REST methods, one function each, which returns an immutable call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Bitrix24's page size, which cannot be changed.
PAGE = 50
#: Most commands in one batch.
BATCH = 50

#: Every field of a running workflow (``bizproc.workflow.instances``).
WORKFLOW_FIELDS = (
    "ID",
    "MODIFIED",
    "OWNED_UNTIL",
    "MODULE_ID",
    "ENTITY",
    "DOCUMENT_ID",
    "STARTED",
    "STARTED_BY",
    "TEMPLATE_ID",
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a REST method.

    :param method: the method's name, in the exact case that the API page gives.
    :param params: the method's parameters.
    :param repeatable: whether doing it twice has the same effect and result as once.
    :param commands: the calls inside a ``batch``, by key.
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = False
    commands: Mapping[str, Call] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.method


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful reply.

    :param result: the method's result. For ``batch``: each command's :class:`Reply` or error, by key.
    :param total: how many rows there are in all, from a list method.
    :param next: the offset of the next page; ``None`` on the last one.
    :param time: the numbers of the envelope's ``time`` part: ``start`` and ``finish`` as the portal's Unix times,
        ``duration`` and ``operating`` in seconds.
    :param at: when the portal began with it, by the portal's clock; ``None`` if it does not say.
    """

    result: Any
    total: int | None = None
    next: int | None = None
    time: Mapping[str, float] = field(default_factory=dict)
    at: datetime | None = None


def list_scopes() -> Call:
    """``scope``: the scopes of the webhook or token. Needs none of them."""
    return Call("scope", repeatable=True)


def get_profile() -> Call:
    """``profile``: whose credential it is, and whether that is an administrator. Needs no scope."""
    return Call("profile", repeatable=True)


def get_server_time() -> Call:
    """``server.time``: the portal's clock. Needs no scope."""
    return Call("server.time", repeatable=True)


def find_method(name: str) -> Call:
    """``method.get``: whether the portal has a method, and whether it can be called. Needs no scope.

    :param name: the method's name in lower case.
    """
    return Call("method.get", {"name": name}, repeatable=True)


def list_workflows(
    *,
    select: Sequence[str] = WORKFLOW_FIELDS,
    filters: Mapping[str, Any] | None = None,
    order: Mapping[str, str] | None = None,
    start: int = 0,
) -> Call:
    """``bizproc.workflow.instances``: one page of the running workflows.

    :param select: fields of each row.
    :param filters: FILTER object, already checked: the portal drops what it does not know, and lists more.
    :param order: field to ``asc`` or ``desc``.
    :param start: offset of the page, a multiple of 50.
    """
    return Call(
        "bizproc.workflow.instances",
        {"SELECT": list(select), "FILTER": dict(filters or {}), "ORDER": dict(order or {}), "start": start},
        repeatable=True,
    )


def list_templates() -> Call:
    """``bizproc.workflow.template.list``: the first page of the templates, with their names."""
    return Call("bizproc.workflow.template.list", {"SELECT": ["ID", "NAME"], "ORDER": {"ID": "ASC"}}, repeatable=True)


def start_workflow(template_id: int, document_id: Sequence[str], parameters: Mapping[str, Any] | None = None) -> Call:
    """``bizproc.workflow.start``: start a workflow on a document.

    :param template_id: id of the template.
    :param document_id: module, document type and element, e.g. ``["crm", "CCrmDocumentLead", "LEAD_1"]``.
    :param parameters: the template's parameters.
    """
    params = {"TEMPLATE_ID": template_id, "DOCUMENT_ID": list(document_id), "PARAMETERS": dict(parameters or {})}
    return Call("bizproc.workflow.start", params)


def terminate_workflow(workflow_id: str, status: str | None = None) -> Call:
    """``bizproc.workflow.terminate``: stop a workflow and keep its record.

    :param workflow_id: id of a running workflow.
    :param status: status text to show on the record.
    """
    return Call("bizproc.workflow.terminate", {"ID": workflow_id} | ({"STATUS": status} if status else {}))


def kill_workflow(workflow_id: str) -> Call:
    """``bizproc.workflow.kill``: stop a workflow and erase its record.

    :param workflow_id: id of a running workflow.
    """
    return Call("bizproc.workflow.kill", {"ID": workflow_id})


def get_flow(flow_id: int) -> Call:
    """``tasks.flow.Flow.get``: read a flow."""
    return Call("tasks.flow.Flow.get", {"flowId": flow_id}, repeatable=True)


def activate_flow(flow_id: int) -> Call:
    """``tasks.flow.Flow.activate``: *toggle* a flow; the answer does not have the new state."""
    return Call("tasks.flow.Flow.activate", {"flowId": flow_id})


def update_flow(flow_data: Mapping[str, Any]) -> Call:
    """``tasks.flow.Flow.update``: set a flow's fields; fields left out are reset.

    :param flow_data: all writable fields, and ``id``.
    """
    return Call("tasks.flow.Flow.update", {"flowData": dict(flow_data)})


def batch(commands: Mapping[str, Call]) -> Call:
    """``batch``: up to 50 calls in one request, done one after the other, going on after an error.

    :param commands: the calls by key. Keys are not to be numbers: PHP would answer with a list.
    :raises ValueError: for more than 50 commands.
    """
    if len(commands) > BATCH:
        raise ValueError(f"commands: a batch takes at most {BATCH}, not {len(commands)}")
    return Call("batch", repeatable=all(call.repeatable for call in commands.values()), commands=dict(commands))


def find_users(filters: Mapping[str, Any]) -> Call:
    """``user.get``: the first page of the portal's users.

    :param filters: e.g. ``{"NAME": "Ada", "LAST_NAME": "Lovelace", "ACTIVE": 0}``.
    """
    return Call("user.get", {"FILTER": dict(filters)}, repeatable=True)


def list_open_tasks(user_id: int, start: int = 0) -> Call:
    """``bizproc.task.list``: one page of the workflow tasks that wait for a user.

    :param start: offset of the page, a multiple of 50.
    """
    params = {
        "SELECT": ["ID", "WORKFLOW_ID", "USER_ID", "STATUS", "USER_STATUS"],
        "FILTER": {"USER_ID": user_id, "STATUS": 0},
        "ORDER": {"ID": "asc"},
        "start": start,
    }
    return Call("bizproc.task.list", params, repeatable=True)


def notify_user(user_id: int, message: str, tag: str) -> Call:
    """``im.notify.system.add``: notify a person; what came with the same tag is replaced, so it can be repeated.

    :param tag: what replaces it. The portal heeds it from a webhook only beside a CLIENT_ID.
    """
    params = {"USER_ID": user_id, "MESSAGE": message, "TAG": tag, "CLIENT_ID": "airflow"}
    return Call("im.notify.system.add", params, repeatable=True)


def send_message(dialog_id: str, message: str) -> Call:
    """``im.message.add``: send a message to a chat.

    :param dialog_id: ``chat29``, ``sg5``, or a person's id.
    """
    return Call("im.message.add", {"DIALOG_ID": dialog_id, "MESSAGE": message})
