"""tasks.flow.Flow.*: task flows are shown, switched and changed."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import flows
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.texts import text


def get(call: Call) -> Answer:
    """Show a flow."""
    return Answer(dict(_flow(call, call.params.get("flowId"), change=False)))


def activate(call: Call) -> Answer:
    """Turn a flow on if it is off and off if it is on; the answer does not tell which."""
    flow = _flow(call, call.params.get("flowId"))
    flow["active"] = not flow["active"]
    call.world.record("bitrix24", "activate", flow["id"], active=flow["active"])
    return Answer(True)


def pin(call: Call) -> Answer:
    """Pin a flow or unpin it; the answer tells which."""
    flow = _flow(call, call.params.get("flowId"), change=False)
    call.world.flows.pinned ^= {flow["id"]}
    pinned = flow["id"] in call.world.flows.pinned
    call.world.record("bitrix24", "pin", flow["id"], pinned=pinned)
    return Answer(pinned)


def create(call: Call) -> Answer:
    """Make a flow."""
    world = call.world
    given = flows.read(_flow_data(call))
    _require(call, given, "name", "plannedCompletionTime", "distributionType", "responsibleList")
    _validate(call, given, 0)
    if not world.settings.has_flows:
        raise _flow_error(call, "flow_access_denied")
    flow = world.flows.new(given, call.caller.user, world.settings.server_offset)
    world.record("bitrix24", "create", flow["id"], name=flow["name"])
    return Answer(dict(flow))


def update(call: Call) -> Answer:
    """Change a flow, putting what is left out back to its default."""
    world = call.world
    settings = world.settings
    data = _flow_data(call)
    if not php.integer(data.get("id")):
        raise _flow_error(call, "flow_id_missing")
    flow = _flow(call, data["id"])
    given = flows.read(data)
    if settings.flow_update_requires == "documented":
        _require(call, given, "plannedCompletionTime", "distributionType", "responsibleList")
    else:
        _require(call, given, "responsibleList")
    _validate(call, given, flow["id"])
    changes = dict(given)
    if settings.flow_update_resets:
        changes = {**flows.defaults(), "notifyOnTasksInProgressOverflow": 50, **given}
        changes["ownerId"] = given.get("ownerId") or flow["creatorId"]
        changes["groupId"] = given.get("groupId") or world.flows.new_group()
    if settings.flow_update_active and data.get("active") is not None:
        changes["active"] = php.truth(data["active"])
    changed = {name: value for name, value in changes.items() if flow.get(name) != value}
    flow.update(changes)
    if flow["distributionType"] != "manually":
        flow["team"] = flow["responsibleList"]
    world.record("bitrix24", "update", flow["id"], changed=changed)
    return Answer(dict(flow))


def delete(call: Call) -> Answer:
    """Delete a flow."""
    flow = _flow(call, _flow_data(call).get("id"))
    del call.world.flows.rows[flow["id"]]
    call.world.record("bitrix24", "delete", flow["id"])
    return Answer({"deleted": True})


def is_exists(call: Call) -> Answer:
    """Whether a name is taken."""
    data = _flow_data(call)
    return Answer({"exists": call.world.flows.named(str(data.get("name", "")), php.integer(data.get("id")))})


def _flow_data(call: Call) -> dict[str, Any]:
    return dict(php.entries(call.params.get("flowData")))


def _flow(call: Call, id: Any, change: bool = True) -> dict[str, Any]:
    settings = call.world.settings
    if not settings.has_flows:
        raise _flow_error(call, "flow_access_denied")
    flow = call.world.flows.rows.get(php.integer(id))
    if flow is None:
        not_found = settings.flow_unknown == "not_found"
        raise _flow_error(call, "flow_not_found" if not_found else "flow_access_denied")
    if change and not call.caller.admin and call.caller.user not in (flow["creatorId"], flow["ownerId"]):
        raise _flow_error(call, "flow_access_denied")
    return flow


def _require(call: Call, given: dict[str, Any], *names: str) -> None:
    for name in names:
        if not given.get(name):
            raise _flow_error(call, "flow_field_invalid", name=name)


def _validate(call: Call, given: dict[str, Any], id: int) -> None:
    wrong = flows.invalid(_flow_data(call))
    if wrong:
        raise _flow_error(call, "flow_field_invalid", name=wrong)
    if "name" in given and call.world.flows.named(given["name"], id):
        raise _flow_error(call, "flow_name_exists")


def _flow_error(call: Call, key: str, **values: str) -> ApiError:
    return ApiError(400, "0", text(key, call.world.settings.language, **values))
