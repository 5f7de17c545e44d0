"""Task Center: queues and tasks are shown, tasks assigned, moved, completed and voided."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator.domo.call import Call, DomoError
from airflow_provider_workflows.simulator.domo.task_center import Queue, Task

PERMISSIONS = (
    *("ADMIN", "SHARE", "DELETE", "WRITE", "READ", "EXPORT", "EXECUTE"),
    *("CREATE_CONTENT", "READ_CONTENT", "UPDATE_CONTENT", "DELETE_CONTENT"),
)
#: By what tasks can be chosen: lists of values, and ranges of dates.
LISTS = ("queueId", "displayType", "status", "assignedBy", "assignedTo", "createdBy", "completedBy", "version")
RANGES = ("createdOn", "assignedOn", "updatedOn", "completedOn")


def queues(call: Call) -> Any:
    """List queues."""
    if call.query.get("archived") == "true":
        return []
    return [queue.full() for queue in call.world.task_center.queues.values()]


def queue(call: Call) -> Any:
    """Show a queue."""
    return _queue(call, call.ids[0]).full()


def set_permissions(call: Call) -> Any:
    """Say who may do what with a queue; who is not named keeps what they may."""
    found = _queue(call, call.ids[0])
    entries = call.entries(PERMISSIONS)
    found.permissions.update(entries)
    call.world.record("domo", "queue_permissions", found.id, of=list(entries))
    return found.full()


def queue_tasks(call: Call) -> Any:
    """List the tasks of a queue."""
    found = _queue(call, call.ids[0])
    return call.page([task.full() for task in call.world.task_center.tasks.values() if task.queue == found.id])


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
        ranges = call.body.get(name) or []
        for bounds in ranges if isinstance(ranges, list) else [None]:
            if not isinstance(bounds, list) or len(bounds) != 2:
                raise DomoError(400, f"{name} is a list of two dates")
            rows = [row for row in rows if row[name] and str(bounds[0]) <= row[name] <= str(bounds[1])]
    order = call.body.get("orderByString") or []
    by = [name for name in (order if isinstance(order, list) else []) if name in (*LISTS, *RANGES)]
    return call.page(sorted(rows, key=lambda row: [row[name] if name == "version" else str(row[name]) for name in by]))


def task(call: Call) -> Any:
    """Show a task."""
    return _task(call).full()


def save(call: Call) -> Any:
    """Keep what was filled in so far."""
    found = _open(call)
    call.world.task_center.save(found, _outputs(call), call.world.settings.domo_user)
    return found.full()


def complete(call: Call) -> Any:
    """Do what was to be done; who has seen another version of the task, and says so, cannot."""
    found = _open(call)
    if call.query.get("version", str(found.version)) != str(found.version):
        raise DomoError(int(call.world.settings.stale_version), "The task has changed meanwhile")
    outputs = {**found.outputs, **_outputs(call)}
    return _changed(call, [found], "complete", {"instance": found.instance.id}, status="COMPLETED", outputs=outputs)


def assign(call: Call) -> Any:
    """Have somebody else do the tasks."""
    body = call.body if isinstance(call.body, dict) else {}
    to, kind = str(body.get("userId") or ""), body.get("type")
    spelt = call.world.settings.assign_key
    # The sample and the specification spell it one way, the table another.
    lists = [body.get(name) for name in ("tasksId", "taskIds") if spelt in ("both", name)]
    more = [str(id) for ids in lists if isinstance(ids, list) for id in ids]
    if not to or kind not in ("USER", "GROUP"):
        raise DomoError(400, "userId is required, and type: USER or GROUP")
    found = [_open(Call(call.world, (call.ids[0], id), {}, None)) for id in dict.fromkeys([call.ids[1], *more])]
    return _changed(call, found, "assign", {"to": to}, assigned_to=to, assignee_type=kind)


def move(call: Call) -> Any:
    """Put a task into another queue."""
    target = call.query.get("targetQueueId")
    if not target:
        raise DomoError(400, "targetQueueId is required")
    return _changed(call, [_open(call)], "move", {"to": target}, queue=_queue(call, target).id)


def void(call: Call) -> Any:
    """Let nobody have to do a task; its instance goes on waiting."""
    found = _open(call)
    return _changed(call, [found], "void", {"instance": found.instance.id}, status="VOIDED")


def _changed(call: Call, found: list[Task], what: str, details: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Change tasks, and return the first, which is the one in the address."""
    for one in found:
        call.world.task_center.change(one, call.world.settings.domo_user, **fields)
        call.world.record("domo", what, one.id, **details)
    return found[0].full()


def _queue(call: Call, id: str) -> Queue:
    found = call.world.task_center.queues.get(id)
    if found is None:
        raise DomoError(404)
    return found


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
