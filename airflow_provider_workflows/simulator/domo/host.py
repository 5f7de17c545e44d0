"""The Domo account on HTTP: addresses, who calls, and replies."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from airflow_provider_workflows.simulator import strict_json
from airflow_provider_workflows.simulator.domo import audit_methods, instance_methods, model_methods, task_methods
from airflow_provider_workflows.simulator.domo.call import Call, DomoError, find
from airflow_provider_workflows.simulator.exchange import blocked, exchange
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

METHODS: dict[str, Callable[[Call], Any]] = {
    "me": model_methods.me,
    "start": instance_methods.start,
    "list": instance_methods.listed,
    "transactions": instance_methods.transactions,
    "get": instance_methods.get,
    "cancel": instance_methods.cancel,
    "executions": instance_methods.executions,
    "execution": instance_methods.execution,
    "models": model_methods.models,
    "model": model_methods.model,
    "permissions": model_methods.permissions,
    "set_permissions": model_methods.set_permissions,
    "versions": model_methods.versions,
    "version": model_methods.version,
    "definition": model_methods.definition,
    "starts": model_methods.starts,
    "switch_version": model_methods.switch_version,
    "queues": task_methods.queues,
    "queue": task_methods.queue,
    "queue_permissions": task_methods.set_permissions,
    "queue_tasks": task_methods.queue_tasks,
    "tasks": task_methods.tasks,
    "task": task_methods.task,
    "save_task": task_methods.save,
    "complete_task": task_methods.complete,
    "assign_task": task_methods.assign,
    "move_task": task_methods.move,
    "void_task": task_methods.void,
    "audits": audit_methods.audits,
    "audit_types": audit_methods.object_types,
}


class Host:
    """
    Answers requests to ``/api/``.

    :param world: the state to work on
    """

    def __init__(self, world: World) -> None:
        self.world = world

    async def api(self, request: web.Request) -> web.StreamResponse:
        """
        Answer a request.

        :param request: the HTTP request
        """
        method, ids = find(request.method, request.path)
        try:
            body = strict_json.loads(await request.read() or b"null")
        except ValueError:
            body = None
        query = dict(request.query)
        entry = self.world.seen("domo", method, {**query, **({"id": ids[0]} if ids else {}), "body": body})

        async def perform(fault: Fault | None) -> web.Response:
            settings = self.world.settings
            if settings.domo_blocked:
                return blocked(settings.domo_blocked)
            try:
                if request.headers.get("X-DOMO-Developer-Token") != settings.domo_token:
                    raise DomoError(401, "Full authentication is required to access this resource")
                if fault is not None and fault.kind == "error":
                    raise DomoError(fault.options["status"], fault.options["description"])
                if method in settings.domo_forbidden:
                    raise DomoError(403, "Access is denied")
                return _answer(method, Call(self.world, ids, query, body))
            except DomoError as error:
                return _error(error.status, error.message)

        return await exchange(self.world, request, entry, perform, _failure)


def _answer(method: str, call: Call) -> web.Response:
    if method == "status":
        return web.Response(text=instance_methods.status(call) or "null", content_type="text/plain")
    if method not in METHODS:
        raise DomoError(404)
    return _json(METHODS[method](call))


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json", charset="UTF-8")


def _error(status: int, message: str | None) -> web.Response:
    body: dict[str, Any] = {"status": status, "statusReason": HTTPStatus(status).phrase}
    if message:
        body["message"] = message
    trace = secrets.token_hex(10).upper()
    body["toe"] = f"{trace[:10]}-{trace[10:15]}-{trace[15:]}"
    return _json(body, status)


def _failure(fault: Fault) -> web.Response:
    if fault.kind == "refused":
        response = _error(429, None)
        if fault.options["retry_after"] is not None:
            response.headers["Retry-After"] = str(fault.options["retry_after"])
        return response
    return _error(500, None)
