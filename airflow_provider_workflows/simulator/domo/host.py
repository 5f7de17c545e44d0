"""The Domo account on HTTP: addresses, who calls, and replies."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus
from typing import Any

from aiohttp import web

from airflow_provider_workflows.simulator import strict_json
from airflow_provider_workflows.simulator.domo.instances import Instance
from airflow_provider_workflows.simulator.exchange import blocked, exchange
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

PAGE = 100


class DomoError(Exception):
    """
    An error reply.

    :param status: the HTTP status
    :param message: what the reply says, which may be nothing
    """

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


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
        method, id = _address(request.method, request.path)
        try:
            body = strict_json.loads(await request.read() or b"null")
        except ValueError:
            body = None
        query = dict(request.query)
        entry = self.world.seen("domo", method, {**query, **({"id": id} if id else {}), "body": body})

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
                return self._run(method, id, query, body)
            except DomoError as error:
                return _error(error.status, error.message)

        return await exchange(self.world, request, entry, perform, _failure)

    def _run(self, method: str, id: str, query: dict[str, str], body: Any) -> web.Response:
        now = self.world.clock.time()
        match method:
            case "start":
                return self._start(body)
            case "cancel":
                return self._cancel(id)
            case "get":
                row = self._visible(id)
                return _json(self._with_status(row.detailed(now), row.status(now)))
            case "status":
                return web.Response(text=self._visible(id).status(now) or "null", content_type="text/plain")
            case "list":
                return self._list(query)
            case "permissions":
                return self._permissions(id)
            case "me":
                return _json({"id": int(self.world.settings.domo_user), "displayName": "Ada Admin", "role": "Admin"})
        raise DomoError(404)

    def _permissions(self, model_id: str) -> web.Response:
        settings = self.world.settings
        if model_id not in self.world.instances.models:
            raise DomoError(404)
        return _json({"USER": [{"id": settings.domo_user, "permissions": settings.domo_permissions}], "GROUP": []})

    def _start(self, body: Any) -> web.Response:
        settings = self.world.settings
        if not isinstance(body, dict) or not isinstance(body.get("data", {}), dict):
            raise DomoError(400, "The body cannot be read")
        model = self.world.instances.models.get(str(body.get("modelId")))
        if model is None or body.get("messageName") != model.message_name:
            raise DomoError(404)
        version = body.get("version")
        if version is None and not settings.version_required and model.versions:
            version = model.versions[-1]
        if version is None:
            raise DomoError(400, "version is required")
        if version not in model.versions:
            raise DomoError(404)
        row = self.world.instances.add(
            {
                "modelId": model.id,
                "modelVersion": version,
                "status": None,
                "starts_after": settings.start_delay,
                "data": body.get("data", {}),
                "finishes_after": settings.finishes_after,
                "final_status": settings.final_status,
            },
            settings.domo_user,
        )
        self.world.record("domo", "start", row.id, model_id=model.id, version=version, data=row.data)
        return _json(self._with_status(row.brief(self.world.clock.time()), None))

    def _cancel(self, id: str) -> web.Response:
        settings, now = self.world.settings, self.world.clock.time()
        row = self._visible(id)
        status = row.status(now)
        reply = _json(self._with_status(row.detailed(now), status))
        if status in ("COMPLETED", "CANCELED"):
            if settings.cancel_finished == "ok":
                return reply
            raise DomoError(int(settings.cancel_finished), f"The instance is {status}")
        if status is None and settings.cancel_unstarted == "rejected":
            raise DomoError(400, "The instance has not started")
        if status is None and settings.cancel_unstarted == "ignored":
            return reply
        if row.cancels_at is None:
            row.cancels_at = now + settings.cancel_delay
            self.world.record("domo", "cancel", id, status=status)
        return reply

    def _list(self, query: dict[str, str]) -> web.Response:
        now = self.world.clock.time()
        rows = [row for row in self.world.instances.rows.values() if row.visible]
        if "modelId" in query:
            rows = [row for row in rows if row.model.id == query["modelId"]]
        field, _, direction = query.get("sort", "createdOn:desc").partition(":")
        shown = [self._with_status(row.listed(now), row.status(now)) for row in rows]
        shown.sort(key=lambda row: str(row.get(field)), reverse=direction == "desc")
        try:
            offset, limit = int(query.get("offset", 0)), int(query.get("limit", PAGE))
        except ValueError:
            raise DomoError(400, "limit and offset are numbers") from None
        if offset < 0 or limit < 0:
            raise DomoError(400, "limit and offset are not negative")
        return _json(shown[offset : offset + limit])

    def _visible(self, id: str) -> Instance:
        row = self.world.instances.rows.get(id)
        if row is None or not row.visible:
            raise DomoError(404)
        return row

    def _with_status(self, shown: dict[str, Any], status: str | None) -> dict[str, Any]:
        behaviour = self.world.settings.null_status
        if status is None and behaviour == "missing":
            return shown
        return {**shown, "status": "null" if status is None and behaviour == "string" else status}


def _address(verb: str, path: str) -> tuple[str, str]:
    """Return a name for the method that is called, and the instance it is called on."""
    if (verb, path) == ("GET", "/api/content/v2/users/me"):
        return "me", ""
    match [verb, *path.removeprefix("/api/workflow/v1/models/").split("/")]:
        case ["GET", model_id, "permissions"]:
            return "permissions", model_id
    base, _, rest = path.partition("/api/workflow/v1/instances")
    match [verb, *rest.strip("/").split("/")]:
        case _ if base or not path.startswith("/api/workflow/v1/instances"):
            pass
        case ["POST", "message"]:
            return "start", ""
        case ["POST", id, "cancel"]:
            return "cancel", id
        case ["GET", ""]:
            return "list", ""
        case ["GET", id]:
            return "get", id
        case ["GET", id, "status"]:
            return "status", id
    return f"{verb} {path}", ""


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
