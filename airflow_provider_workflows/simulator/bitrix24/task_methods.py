"""bizproc.task.*: what people have to do for a workflow to go on."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import directory, list_methods
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.texts import text

DEFAULTS = ("ENTITY", "DOCUMENT_ID", "ID", "WORKFLOW_ID", "DOCUMENT_NAME", "NAME", "DOCUMENT_URL")
#: What may be answered; a task that was cancelled is one that was rejected.
ANSWERS = {"1": 1, "yes": 1, "2": 2, "no": 2, "3": 3, "ok": 3, "4": 2, "cancel": 2}


def task_list(call: Call) -> Answer:
    """List tasks; who is no administrator sees their own, and those of the departments they head."""
    rows = call.world.directory.tasks
    if not call.caller.admin:
        seen = call.world.directory.team(call.caller.user)
        if "USER_ID" not in {key.lstrip("=").upper() for key, _ in php.entries(call.upper("FILTER"))}:
            seen = {call.caller.user}
        rows = [row for row in rows if php.integer(row.get("USER_ID")) in seen]
    return list_methods.dictionaries(call, rows, directory.TASK_FIELDS, DEFAULTS, ("ID", True))


def complete(call: Call) -> Answer:
    """Answer a task of one's own."""
    task = _task(call, call.upper("TASK_ID"))
    answer = ANSWERS.get(str(call.upper("STATUS")).lower())
    if answer is None:
        raise ApiError(400, "ERROR_TASK_VALIDATION", "Invalid STATUS")
    if php.integer(task.get("USER_ID")) != call.caller.user:
        raise ApiError(400, "ERROR_TASK_NOT_FOUND", text("task_unknown", call.world.settings.language))
    if php.integer(task.get("USER_STATUS")):
        raise ApiError(400, "ERROR_TASK_COMPLETED", "Task already completed")
    task.update(STATUS=answer, USER_STATUS=answer)
    call.world.record("bitrix24", "complete", task["ID"], status=answer)
    return Answer(True)


def delegate(call: Call) -> Answer:
    """Hand tasks over to somebody else; what can be done is done, also where something cannot."""
    giver, taker = (php.integer(call.upper(name)) for name in ("FROM_USER_ID", "TO_USER_ID"))
    ids = [php.integer(id) for id in php.values(call.upper("TASK_IDS"))]
    if not ids or not giver or not taker:
        raise ApiError(400, "ERROR_TASK_VALIDATION", "TASK_IDS, FROM_USER_ID and TO_USER_ID are required")
    if not call.world.directory.knows(taker):
        raise ApiError(400, "ERROR_INVALID_USER_ID", "Invalid TO_USER_ID")
    may = giver == call.caller.user or (call.caller.admin and call.world.settings.delegate_others)
    errors = []
    for id in ids:
        task = call.world.directory.task(id)
        if not may or task is None or php.integer(task.get("USER_ID")) != giver or php.integer(task.get("USER_STATUS")):
            errors.append(f"Task {id} cannot be delegated")
            continue
        task["USER_ID"] = taker
        call.world.record("bitrix24", "delegate", id, to=taker)
    if errors:
        raise ApiError(400, "ERROR_DELEGATION_NOT_ALLOWED", ";".join(errors))
    return Answer(True)


def send_event(call: Call) -> Answer:
    """Answer an activity that waits for something from outside, once."""
    token = call.upper("EVENT_TOKEN")
    tokens = call.world.directory.event_tokens
    if not isinstance(token, str) or token not in tokens:
        raise ApiError(403, "ACCESS_DENIED", "Access denied!")
    tokens.discard(token)
    call.world.record("bitrix24", "event", token, values=call.upper("RETURN_VALUES"), text=call.upper("LOG_MESSAGE"))
    return Answer(True)


def _task(call: Call, id: Any) -> dict[str, Any]:
    if php.integer(id) <= 0:
        raise ApiError(400, "ERROR_TASK_VALIDATION", "Empty TASK_ID")
    task = call.world.directory.task(php.integer(id))
    if task is None:
        raise ApiError(400, "ERROR_TASK_NOT_FOUND", text("task_unknown", call.world.settings.language))
    return task
