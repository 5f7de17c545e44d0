"""Notifications and messages to people of a portal."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import NotDeliveredError
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.plans import Plan, send


def notify_user(user_id: int, message: str, tag: str | None = None) -> Plan[int]:
    """Notify a person. Can be repeated: what came with the same tag is replaced.

    :param tag: default: one for each text.
    :returns: id of the notification.
    :raises NotDeliveredError: if the portal notified nobody.
    """
    _check(message)
    tag = tag or sha256(message.encode()).hexdigest()[:32]
    return (yield from _deliver(calls.notify_user(user_id, message, tag)))


def send_message(dialog_id: str, message: str) -> Plan[int]:
    """Send a message to a chat. If the reply is lost, it is not sent again.

    :param dialog_id: ``chat29``, ``sg5``, or a person's id.
    :returns: id of the message.
    :raises NotDeliveredError: if the portal sent none.
    """
    _check(message)
    return (yield from _deliver(calls.send_message(dialog_id, message)))


def as_dialog_id(value: Any, argument: str) -> str:
    """Return the id of a chat.

    :param value: ``chat29``, ``sg5``, or a person's id, which may be a number.
    :raises ArgumentError: if it is none.
    """
    text = str(value).strip()
    if not re.fullmatch(r"(chat|sg)?[1-9][0-9]*", text):
        raise ArgumentError(f"{argument} must read like 'chat29', 'sg5' or a person's id, not {value!r}")
    return text


def _check(message: str) -> None:
    if not message.strip():
        raise ArgumentError("message is empty (did a template render nothing?)")


def _deliver(call: Call) -> Plan[int]:
    reply: Reply = yield from send(call)
    if not isinstance(reply.result, int) or reply.result is False:
        raise NotDeliveredError(str(call), text="the portal accepted the call, but delivered nothing")
    return reply.result
