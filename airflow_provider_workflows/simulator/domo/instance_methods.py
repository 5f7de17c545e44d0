"""Workflow instances are started, cancelled and shown."""

from __future__ import annotations

import json
import uuid
from typing import Any

from airflow_provider_workflows.simulator.domo.call import Call, DomoError
from airflow_provider_workflows.simulator.domo.instances import Instance, Model

LARGEST_VARIABLE = 1024**2


def start(call: Call) -> Any:
    """Start an instance of a model's version."""
    settings, instances = call.world.settings, call.world.instances
    body = call.body if isinstance(call.body, dict) else {}
    required = ("messageName", "modelId", "data", *(("version",) if settings.version_required else ()))
    missing = [name for name in required if body.get(name) in (None, "")]
    if missing:
        raise DomoError(400, f"{missing[0]} is required")
    model = instances.models.get(str(body["modelId"]))
    if model is None or body["messageName"] != model.message_name:
        raise DomoError(404)
    version = body.get("version") or next(reversed(model.active()), None)
    if version not in model.active():
        raise DomoError(404)
    _check_data(model, body["data"])
    row = instances.add(
        {
            "modelId": model.id,
            "modelVersion": version,
            "status": None,
            "starts_after": settings.start_delay,
            "data": body["data"],
            "finishes_after": settings.finishes_after,
            "final_status": settings.final_status,
        },
        settings.domo_user,
    )
    call.world.record("domo", "start", row.id, model_id=model.id, version=version, data=row.data)
    return _with_status(call, row.brief(call.world.clock.time()), None)


def _check_data(model: Model, data: Any) -> None:
    if not isinstance(data, dict):
        raise DomoError(400, "data is an object")
    for name, value in data.items():
        if len(json.dumps(value)) > LARGEST_VARIABLE:
            raise DomoError(400, f"{name} is larger than 1 MB")
    for wanted in model.inputs:
        if wanted.get("required") and data.get(wanted["paramName"]) is None:
            raise DomoError(400, f"{wanted['paramName']} is required")


def cancel(call: Call) -> Any:
    """Ask for an instance to be cancelled; the answer has the status at arrival."""
    settings, now = call.world.settings, call.world.clock.time()
    row = _visible(call)
    status = row.status(now)
    shown = _with_status(call, row.detailed(now), status)
    if status in ("COMPLETED", "CANCELED"):
        if settings.cancel_finished == "ok":
            return shown
        raise DomoError(int(settings.cancel_finished), f"The instance is {status}")
    if status is None and settings.cancel_unstarted == "rejected":
        raise DomoError(400, "The instance has not started")
    if status is None and settings.cancel_unstarted == "ignored":
        return shown
    if row.cancels_at is None:
        row.cancels_at = now + settings.cancel_delay
        call.world.task_center.void_all(row, settings.domo_user)
        call.world.record("domo", "cancel", row.id, status=status)
    return shown


def get(call: Call) -> Any:
    """Show an instance."""
    row, now = _visible(call), call.world.clock.time()
    return _with_status(call, row.detailed(now), row.status(now))


def status(call: Call) -> str | None:
    """Return the bare status of an instance."""
    return _visible(call).status(call.world.clock.time())


def listed(call: Call) -> Any:
    """List instances, all or a model's."""
    now = call.world.clock.time()
    rows = [row for row in call.world.instances.rows.values() if row.visible]
    if "modelId" in call.query:
        rows = [row for row in rows if row.model.id == call.query["modelId"]]
    field, _, direction = call.query.get("sort", "createdOn:desc").partition(":")
    shown = [_with_status(call, row.listed(now), row.status(now)) for row in rows]
    shown.sort(key=lambda row: str(row.get(field)), reverse=direction == "desc")
    return call.page(shown)


def executions(call: Call) -> Any:
    """List instances by model, version, triggers and status."""
    shown = listed(Call(call.world, (), {**call.query, "offset": "0", "limit": "999999999"}, None))
    for name, field in (("version", "modelVersion"), ("status", "status"), ("triggerTypes", "triggerType")):
        wanted = [value for value in call.query.get(name, "").split(",") if value]
        shown = [row for row in shown if not wanted or row.get(field) in wanted]
    return {"executions": call.page(shown)}


def execution(call: Call) -> Any:
    """Show an instance as the list of executions does."""
    row, now = _visible(call), call.world.clock.time()
    return _with_status(call, row.listed(now), row.status(now))


def transactions(call: Call) -> Any:
    """Show the variables of an instance, which are JSON in JSON."""
    row = _visible(Call(call.world, (call.query.get("instanceId", ""),), {}, None))
    return [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{row.id} {name}")),
            "instanceId": row.id,
            "name": name,
            "value": json.dumps(value),
        }
        for name, value in row.data.items()
    ]


def _visible(call: Call) -> Instance:
    row = call.world.instances.rows.get(call.ids[0])
    if row is None or not row.visible:
        raise DomoError(404)
    return row


def _with_status(call: Call, shown: dict[str, Any], status: str | None) -> dict[str, Any]:
    behaviour = call.world.settings.null_status
    if status is None and behaviour == "missing":
        return shown
    return {**shown, "status": "null" if status is None and behaviour == "string" else status}
