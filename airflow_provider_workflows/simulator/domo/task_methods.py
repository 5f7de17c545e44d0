"""Task Center: queues and tasks are shown, tasks assigned and completed."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator.domo.call import Call, DomoError
from airflow_provider_workflows.simulator.domo.task_center import Task

#: By what tasks can be chosen: lists of values, and one range of dates each.
LISTS = ("queueId", "displayType", "status", "assignedBy", "assignedTo", "createdBy", "completedBy", "version")
RANGES = ("createdOn", "assignedOn", "completedOn")


def queues(call: Call) -> Any:
    """List queues."""
    return [_queue(call, id) for id in call.world.task_center.queues]


def queue(call: Call) -> Any:
    """Show a queue."""
    return _queue(call, call.ids[0])


def tasks(call: Call) -> Any:
    """List tasks by what the body says."""
    if not isinstance(call.body, dict):
        raise DomoError(400, "The body is an object")
    rows = [task.full() for task in call.world.task_center.tasks.values()]
    for name in LISTS:
        wanted = call.body.get(name)
        if wanted:
            texts = {str(value) for value in (wanted if isinstance(wanted, list) else [wanted])}
            rows = [row for row in rows if str(row[name]) in texts]
    for name in RANGES:
        for bounds in call.body.get(name) or []:
            if not isinstance(bounds, list) or len(bounds) != 2:
                raise DomoError(400, f"{name} is a list of two dates")
            rows = [row for row in rows if row[name] and str(bounds[0]) <= row[name] <= str(bounds[1])]
    return call.page(rows)


def task(call: Call) -> Any:
    """Show a task."""
    return _task(call).full()


def save(call: Call) -> Any:
    """Keep what was filled in so far."""
    found = _open(call)
    found.outputs = {**found.outputs, **_outputs(call)}
    found.version += 1
    return found.full()


def complete(call: Call) -> Any:
    """Do what was to be done; who has seen another version of the task cannot."""
    found = _open(call)
    if call.query.get("version") != str(found.version):
        raise DomoError(int(call.world.settings.stale_version), "The task has changed meanwhile")
    call.world.task_center.complete(found, _outputs(call), call.world.settings.domo_user)
    call.world.record("domo", "complete", found.id, instance=found.instance.id)
    return found.full()


def assign(call: Call) -> Any:
    """Have somebody else do the tasks."""
    body = call.body if isinstance(call.body, dict) else {}
    user = str(body.get("userId") or "")
    # The sample spells it one way, the table another.
    more = [str(id) for name in ("taskIds", "tasksId") for id in body.get(name) or []]
    found = [_task(Call(call.world, (call.ids[0], id), {}, None)) for id in dict.fromkeys([call.ids[1], *more])]
    if not user or any(one.status != "OPEN" for one in found):
        raise DomoError(400, "userId is required, and open tasks")
    for one in found:
        call.world.task_center.assign(one, user, call.world.settings.domo_user)
        call.world.record("domo", "assign", one.id, to=user)
    return [one.full() for one in found]


def _queue(call: Call, id: str) -> dict[str, Any]:
    name = call.world.task_center.queues.get(id)
    if name is None:
        raise DomoError(404)
    return {"id": id, "name": name, "active": True, "owner": call.world.settings.domo_user}


def _task(call: Call) -> Task:
    queue_id, id = call.ids
    found = call.world.task_center.tasks.get(id)
    if found is None or found.queue != queue_id:
        raise DomoError(404)
    return found


def _open(call: Call) -> Task:
    found = _task(call)
    if found.status != "OPEN":
        raise DomoError(400, f"The task is {found.status}")
    return found


def _outputs(call: Call) -> dict[str, Any]:
    if call.body is not None and not isinstance(call.body, dict):
        raise DomoError(400, "The body is an object")
    return call.body or {}
