"""Workflow models and their versions are shown, and versions turned off."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_workflows.simulator.domo.call import Call, DomoError
from airflow_provider_workflows.simulator.domo.instances import Model, stamp

PERMISSIONS = ("ADMIN", "SHARE", "DELETE", "WRITE", "READ", "EXPORT", "EXECUTE", "UPDATE_CONTENT")


def me(call: Call) -> Any:
    """Who calls."""
    return {"id": int(call.world.settings.domo_user), "displayName": "Ada Admin", "role": "Admin"}


def models(call: Call) -> Any:
    """List models."""
    return call.page([_shown(call, model) for model in call.world.instances.models.values()])


def model(call: Call) -> Any:
    """Show a model."""
    return _shown(call, _model(call))


def permissions(call: Call) -> Any:
    """Who may do what with a model."""
    settings, found = call.world.settings, _model(call)
    owner = {"id": settings.domo_user, "type": "USER", "permissions": settings.domo_permissions}
    entries = {settings.domo_user: owner, **found.permissions}.values()
    shown = [(entry["type"], {"id": entry["id"], "permissions": entry["permissions"]}) for entry in entries]
    return {kind: [entry for of, entry in shown if of == kind] for kind in ("USER", "GROUP")}


def set_permissions(call: Call) -> Any:
    """Say who may do what with a model; who is not named keeps what they may."""
    found = _model(call)
    entries = call.entries(PERMISSIONS)
    if not {"ADMIN", "SHARE"} & set(call.world.settings.domo_permissions):
        raise DomoError(403, "Access is denied")
    found.permissions.update(entries)
    call.world.record("domo", "permissions", found.id, of=list(entries))
    return permissions(call)


def versions(call: Call) -> Any:
    """List a model's versions."""
    return _shown(call, _model(call))["versions"]


def version(call: Call) -> Any:
    """Show a version."""
    return next(shown for shown in _shown(call, _model(call))["versions"] if shown["version"] == _version(call))


def starts(call: Call) -> Any:
    """Show by which messages a version starts, and what it wants to know."""
    _version(call)
    return [{"messageName": _model(call).message_name, "inputs": _model(call).inputs}]


def definition(call: Call) -> Any:
    """Show what a version is made of: the start shape only."""
    root = {"title": _model(call).message_name, "input": _model(call).inputs}
    return {"version": _version(call), "designElements": [{"id": "start", "type": "rootNode", "data": root}]}


def switch_version(call: Call) -> Any:
    """Turn a version on or off."""
    active = call.body.get("active") if isinstance(call.body, dict) else None
    if not isinstance(active, bool):
        raise DomoError(400, "active is true or false")
    found, name = _model(call), _version(call)
    (found.inactive.discard if active else found.inactive.add)(name)
    call.world.record("domo", "switch_version", found.id, version=name, active=active)
    return version(call)


def _model(call: Call) -> Model:
    found = call.world.instances.models.get(call.ids[0])
    if found is None:
        raise DomoError(404)
    return found


def _version(call: Call) -> str:
    name = call.ids[1]
    if name not in _model(call).versions:
        raise DomoError(404)
    return name


def _shown(call: Call, model: Model) -> dict[str, Any]:
    active = model.active()
    return {
        "id": model.id,
        "name": model.name,
        "owner": call.world.settings.domo_user,
        "createdOn": stamp(model.created),
        "versions": [
            {
                "version": version,
                "active": version in active,
                "deployedOn": stamp(model.created),
                "manualTriggerId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{model.id} {version} trigger")),
            }
            for version in model.versions
        ],
    }
