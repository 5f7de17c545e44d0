"""im.*: users are notified, and messages sent."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.messages import Message

LONGEST_ATTACHMENT = 60_000


def notify(call: Call) -> Answer:
    """Notify a user; a tag replaces what came with the same tag from the same application."""
    user = php.integer(call.upper("USER_ID"))
    if user <= 0:
        raise ApiError(400, "USER_ID_EMPTY", "User ID can't be empty")
    message = _message(call, str(user))
    if not message.text:
        raise ApiError(400, "MESSAGE_EMPTY", "Message can't be empty")
    if not call.world.directory.knows(user):
        return Answer(False)
    # A webhook is no application: it has to say for which one it speaks.
    client = call.upper("CLIENT_ID") if call.caller.auth == "webhook" else call.caller.app
    if client:
        message.tag, message.sub_tag = (
            f"{client}|{call.upper(name)}" if call.upper(name) else "" for name in ("TAG", "SUB_TAG")
        )
    said = call.world.messages
    if message.tag:
        said.notifications = [one for one in said.notifications if one.tag != message.tag]
    message.id = said.next_id()
    said.notifications.append(message)
    call.world.record("bitrix24", "notify", message.id, to=message.to, text=message.text, tag=message.tag)
    return Answer(message.id)


def send(call: Call) -> Answer:
    """Send a message to a chat or a user."""
    said = call.world.messages
    dialog = str(call.upper("DIALOG_ID") or "")
    message = _message(call, dialog)
    if not message.text and not message.attachment:
        raise ApiError(400, "MESSAGE_EMPTY", "Message can't be empty")
    if dialog.startswith(("chat", "sg")):
        if dialog not in said.chats:
            raise ApiError(400, "CHAT_ID", "Error creating message")
    elif php.integer(dialog) <= 0:
        raise ApiError(400, "USER_ID_EMPTY", "User ID can't be empty")
    elif not call.world.directory.knows(php.integer(dialog)):
        raise ApiError(400, "USER_NOT_FOUND", "User not found")
    message.id = said.next_id()
    said.messages.append(message)
    call.world.record("bitrix24", "message", message.id, to=dialog, text=message.text)
    return Answer(message.id)


def _message(call: Call, to: str) -> Message:
    text = call.upper("MESSAGE")
    return Message(
        id=0,
        to=to,
        text=str(text).strip() if isinstance(text, (str, int, float)) else "",
        attachment=_attachment(call.upper("ATTACH")),
        system=call.upper("SYSTEM") == "Y",
    )


def _attachment(given: Any) -> Any:
    if given in (None, ""):
        return None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, (dict, list)):
        raise ApiError(400, "ATTACH_ERROR", "Incorrect attach params")
    if len(json.dumps(given)) > LONGEST_ATTACHMENT:
        raise ApiError(400, "ATTACH_OVERSIZE", "You have exceeded the maximum allowable size of attach")
    return given
