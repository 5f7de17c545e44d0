"""The activity log: what was done in the account, as this simulator's journal has it."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator.domo import model_methods
from airflow_provider_workflows.simulator.domo.call import Call, DomoError

PAGE = 300
#: Effect to type of object, type of action and text. Which words Domo has for these is not published.
WORDS = {
    "start": ("WORKFLOW_INSTANCE", "CREATED", "Started workflow"),
    "cancel": ("WORKFLOW_INSTANCE", "CANCELED", "Canceled workflow"),
    "switch_version": ("WORKFLOW_MODEL", "UPDATED", "Changed workflow version"),
    "permissions": ("WORKFLOW_MODEL", "SHARED", "Changed permissions"),
    "complete": ("QUEUE_TASK", "COMPLETED", "Completed task"),
    "assign": ("QUEUE_TASK", "ASSIGNED", "Assigned task"),
    "move": ("QUEUE_TASK", "UPDATED", "Moved task"),
    "void": ("QUEUE_TASK", "VOIDED", "Voided task"),
    "queue_permissions": ("QUEUE", "SHARED", "Changed permissions"),
}


def object_types(_: Call) -> Any:
    """List the types of objects that something can be done to."""
    return sorted({kind for kind, _, _ in WORDS.values()})


def audits(call: Call) -> Any:
    """List what was done in a time, the latest first."""
    start, end = call.count("start"), call.count("end")
    if start > end:
        raise DomoError(400, "start is before end")
    wanted = [kind for kind in call.query.get("objectType", "").split(",") if kind]
    user = model_methods.me(call)
    shown = []
    for effect in reversed(call.world.journal):
        if effect["vendor"] != "domo":
            continue
        kind, action, text = WORDS[effect["what"]]
        time = int(effect["at"] * 1000)
        if start <= time <= end and (not wanted or kind in wanted):
            shown.append(
                {
                    "userName": user["displayName"],
                    "userId": str(user["id"]),
                    "userType": "USER",
                    "actionType": action,
                    "objectType": kind,
                    "additionalComment": f"{user['displayName']}: {text} {effect['id']}.",
                    "time": time,
                    "eventText": text,
                }
            )
    return call.page(shown, PAGE)
