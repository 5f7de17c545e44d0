"""bizproc.task.*: what people have to do for a workflow to go on."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import directory, list_methods
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.texts import text

DEFAULTS = ("ENTITY", "DOCUMENT_ID", "ID", "WORKFLOW_ID", "DOCUMENT_NAME", "NAME", "DOCUMENT_URL")
#: What may be answered.
ANSWERS = {"1": 1, "yes": 1, "2": 2, "no": 2, "3": 3, "ok": 3, "4": 4, "cancel": 4}
CANCELLED, REJECTED = 4, 2
#: Which of these each kind of task takes; others cannot be completed through REST.
KINDS = {
    "ApproveActivity": (1, 2),
    "ReviewActivity": (3,),
    "RequestInformationActivity": (3,),
    "RequestInformationOptionalActivity": (3, CANCELLED),
}


def task_list(call: Call) -> Answer:
    """List tasks; who is no administrator sees their own, or says of whom in the departments they head."""
    select = call.upper("SELECT")
    if php.truth(select) and not isinstance(select, (list, dict)):
        raise ApiError(400, "ERROR_SELECT_VALIDATION_FAILURE", "Invalid data in SELECT parameter")
    rows = [row for row in call.world.directory.tasks if call.world.workflows.has_tasks(str(row.get("WORKFLOW_ID")))]
    if not call.caller.admin:
        wanted = {key.lstrip("=").upper(): value for key, value in php.entries(call.upper("FILTER"))}
        user = php.integer(wanted.get("USER_ID", call.caller.user))
        if user not in call.world.directory.team(call.caller.user):
            raise ApiError(403, "ACCESS_DENIED", "Access denied!")
        rows = [row for row in rows if php.integer(row.get("USER_ID")) == user]
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
    taken = KINDS.get(str(task["ACTIVITY"]), ()) if task.get("ACTIVITY") else tuple(ANSWERS.values())
    if not taken:
        raise ApiError(400, "ERROR_TASK_TYPE", "Incorrect task type")
    if answer not in taken:
        raise ApiError(400, "ERROR_TASK_EXECUTION", text("task_answer", call.world.settings.language))
    answer = REJECTED if answer == CANCELLED else answer
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
    token = _event_token(call)
    call.world.directory.event_tokens.discard(token)
    call.world.record("bitrix24", "event", token, values=call.upper("RETURN_VALUES"), text=call.upper("LOG_MESSAGE"))
    return Answer(True)


def log_activity(call: Call) -> Answer:
    """Write a line into the log of an activity that waits."""
    line = call.upper("LOG_MESSAGE")
    if not php.truth(line):
        raise ApiError(400, "ERROR_EMPTY_LOG_MESSAGE", "Empty log message!")
    call.world.record("bitrix24", "log", _event_token(call), text=line)
    return Answer(True)


def _event_token(call: Call) -> str:
    token = call.upper("EVENT_TOKEN")
    if not isinstance(token, str) or token not in call.world.directory.event_tokens:
        raise ApiError(403, "ACCESS_DENIED", "Access denied!")
    return token


def _task(call: Call, id: Any) -> dict[str, Any]:
    if php.integer(id) <= 0:
        raise ApiError(400, "ERROR_TASK_VALIDATION", "Empty TASK_ID")
    task = call.world.directory.task(php.integer(id))
    if task is None:
        raise ApiError(400, "ERROR_TASK_NOT_FOUND", text("task_unknown", call.world.settings.language))
    return task
