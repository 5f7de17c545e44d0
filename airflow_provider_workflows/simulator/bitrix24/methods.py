"""All REST methods by name, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_workflows.simulator.bitrix24 import flow_methods, list_methods, workflow_methods
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.world import World


@dataclass(frozen=True)
class Method:
    """
    A method of the REST API.

    :param run: what it does
    :param scope: the scope it needs, empty for none
    :param admin: whether it is for administrators
    :param exact: whether its name must be given in exactly this case
    """

    run: Callable[[Call], Answer]
    scope: str = ""
    admin: bool = False
    exact: bool = False


METHODS: dict[str, Method] = {
    "bizproc.workflow.instances": Method(workflow_methods.instances, "bizproc", admin=True),
    "bizproc.workflow.instance.list": Method(workflow_methods.instances, "bizproc", admin=True),
    "bizproc.workflow.start": Method(workflow_methods.start, "bizproc", admin=True),
    "bizproc.workflow.terminate": Method(workflow_methods.terminate, "bizproc", admin=True),
    "bizproc.workflow.kill": Method(workflow_methods.kill, "bizproc", admin=True),
    "bizproc.workflow.template.list": Method(list_methods.template_list, "bizproc", admin=True),
    "bizproc.task.list": Method(list_methods.task_list, "bizproc"),
    "tasks.flow.Flow.get": Method(flow_methods.get, "task", exact=True),
    "tasks.flow.Flow.activate": Method(flow_methods.activate, "task", exact=True),
    "tasks.flow.Flow.update": Method(flow_methods.update, "task", exact=True),
    "tasks.flow.Flow.create": Method(flow_methods.create, "task", exact=True),
    "tasks.flow.Flow.delete": Method(flow_methods.delete, "task", exact=True),
    "tasks.flow.Flow.isExists": Method(flow_methods.is_exists, "task", exact=True),
    "tasks.flow.Flow.pin": Method(flow_methods.pin, "task", exact=True),
    "user.get": Method(list_methods.users, "user"),
    "profile": Method(list_methods.profile),
    "scope": Method(list_methods.scope),
    "server.time": Method(list_methods.server_time),
    # It looks into this very table.
    "method.get": Method(lambda call: _existence(call)),
}
_ANY_CASE = {name.lower(): name for name in METHODS}


def find(name: str, world: World) -> tuple[str, Method]:
    """
    Return the method that a name means.

    :param name: as it was called
    :param world: its settings say which methods there are
    :returns: the proper name and the method
    :raises ApiError: if there is none
    """
    proper = _ANY_CASE.get(name.lower(), "")
    method = METHODS.get(proper)
    settings = world.settings
    if (
        method is None
        or (method.exact and name != proper and not settings.flow_any_case)
        or (method.scope == "bizproc" and not settings.has_bizproc)
    ):
        raise ApiError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    return proper, method


def _existence(call: Call) -> Answer:
    """Whether there is a method, and whether the caller's scopes cover it. The name may be in lower case."""
    method = METHODS.get(_ANY_CASE.get(str(call.params.get("name", "")).lower(), ""))
    settings = call.world.settings
    has = {"bizproc": settings.has_bizproc, "task": settings.has_flows}
    exists = method is not None and has.get(method.scope, True)
    available = exists and method is not None and (not method.scope or method.scope in settings.scopes)
    return Answer({"isExisting": exists, "isAvailable": available})


def run(method: Method, call: Call) -> Answer:
    """
    Run a method for a caller who must be allowed to.

    :param method: the method
    :param call: who calls, and with what
    :raises ApiError: if the answer is an error
    """
    settings = call.world.settings
    if method.scope and method.scope not in settings.scopes:
        description = "The request requires higher privileges than provided by the webhook token"
        raise ApiError(403, "insufficient_scope", description)
    if method.admin and not settings.is_admin:
        raise ApiError(403, "ACCESS_DENIED", "Access denied!")
    return method.run(call)
