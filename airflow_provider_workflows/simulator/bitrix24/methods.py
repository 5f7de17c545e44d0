"""All REST methods by name, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import (
    app_methods,
    flow_methods,
    list_methods,
    message_methods,
    task_methods,
    user_methods,
    workflow_methods,
)
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


def methods(call: Call) -> Answer:
    """List the methods that the caller may use, all there are, or those of a scope."""
    wanted = call.params.get("scope")
    if wanted is not None:
        return Answer([name for name, method in METHODS.items() if method.scope == wanted])
    everything = php.truth(call.params.get("full"))
    return Answer([name for name, method in METHODS.items() if everything or call.caller.may(method.scope)])


def method_get(call: Call) -> Answer:
    """Whether there is a method, and whether the caller's scopes suffice for it."""
    name = _ANY_CASE.get(str(call.params.get("name")).lower(), "")
    exists = name in METHODS and _is_registered(name, call.world)
    if exists and METHODS[name].scope == "task":
        exists = call.world.settings.has_flows
    return Answer({"isExisting": exists, "isAvailable": exists and call.caller.may(METHODS[name].scope)})


def _is_registered(name: str, world: World) -> bool:
    """Whether the portal's plan has a method; what robots need comes with automation alone, too."""
    if METHODS[name].scope != "bizproc" or world.settings.has_bizproc:
        return True
    return name in FOR_ROBOTS and world.settings.has_automation


def scope(call: Call) -> Answer:
    """List what the caller may use, or all that could be given."""
    if php.truth(call.params.get("full")):
        return Answer(sorted({method.scope for method in METHODS.values()} - {""}))
    return Answer(list(call.caller.scopes))


METHODS: dict[str, Method] = {
    "bizproc.workflow.instances": Method(workflow_methods.instances, "bizproc", admin=True),
    "bizproc.workflow.instance.list": Method(workflow_methods.instances, "bizproc", admin=True),
    "bizproc.workflow.start": Method(workflow_methods.start, "bizproc", admin=True),
    "bizproc.workflow.terminate": Method(workflow_methods.terminate, "bizproc", admin=True),
    "bizproc.workflow.kill": Method(workflow_methods.kill, "bizproc", admin=True),
    "bizproc.workflow.template.list": Method(list_methods.template_list, "bizproc", admin=True),
    "bizproc.task.list": Method(task_methods.task_list, "bizproc"),
    "bizproc.task.complete": Method(task_methods.complete, "bizproc"),
    "bizproc.task.delegate": Method(task_methods.delegate, "bizproc"),
    "bizproc.event.send": Method(task_methods.send_event, "bizproc"),
    "bizproc.activity.log": Method(task_methods.log_activity, "bizproc"),
    "tasks.flow.Flow.get": Method(flow_methods.get, "task", exact=True),
    "tasks.flow.Flow.activate": Method(flow_methods.activate, "task", exact=True),
    "tasks.flow.Flow.update": Method(flow_methods.update, "task", exact=True),
    "tasks.flow.Flow.create": Method(flow_methods.create, "task", exact=True),
    "tasks.flow.Flow.delete": Method(flow_methods.delete, "task", exact=True),
    "tasks.flow.Flow.isExists": Method(flow_methods.is_exists, "task", exact=True),
    "tasks.flow.Flow.pin": Method(flow_methods.pin, "task", exact=True),
    "user.get": Method(user_methods.users, "user"),
    "user.search": Method(user_methods.search, "user"),
    "user.current": Method(user_methods.current, "user"),
    "department.get": Method(user_methods.departments, "department"),
    "im.notify": Method(message_methods.notify, "im"),
    "im.notify.system.add": Method(message_methods.notify, "im"),
    "im.notify.personal.add": Method(message_methods.notify, "im"),
    "im.message.add": Method(message_methods.send, "im"),
    "profile": Method(app_methods.profile),
    "server.time": Method(app_methods.server_time),
    "app.info": Method(app_methods.app_info),
    "scope": Method(scope),
    "methods": Method(methods),
    "method.get": Method(method_get),
}
#: What robots need, which come with the automation of CRM and tasks, too.
FOR_ROBOTS = ("bizproc.event.send", "bizproc.activity.log")
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
        or not _is_registered(proper, world)
    ):
        raise ApiError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    return proper, method


def run(method: Method, call: Call) -> Answer:
    """
    Run a method for a caller who must be allowed to.

    :param method: the method
    :param call: who calls, and with what
    :raises ApiError: if the answer is an error
    """
    if not call.caller.may(method.scope):
        description = "The request requires higher privileges than provided by the webhook token"
        raise ApiError(403, "insufficient_scope", description)
    if method.admin and not call.caller.admin:
        raise ApiError(403, "ACCESS_DENIED", "Access denied!")
    return method.run(call)
