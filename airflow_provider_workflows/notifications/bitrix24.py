"""Notifier for people and chats of a Bitrix24 portal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_workflows.bitrix24.messages import as_dialog_id, notify_user, send_message
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.tasks.arguments import as_positive_int, check_final

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Seconds for which a portal that refuses is tried: Airflow's callbacks are to be short.
NOTIFY_TIMEOUT = 60.0


class Bitrix24Notifier(BaseNotifier):
    """Tells a person or a chat of a portal, e.g. that a task has failed or a deadline was missed.

    A person gets a notification (``im.notify.system.add``), with a tag: a repeat replaces what came with the same tag,
    so it is sent again when its reply was lost. A chat gets a message (``im.message.add``), which is sent once: when
    the reply was lost, it may be there or not, and is not sent again.

    For callbacks of Dags and tasks, and as ``AsyncCallback(Bitrix24Notifier, kwargs={...})`` for deadline alerts.

    .. seealso:: API pages "Send System Notification im.notify.system.add", "Send Message im.message.add"

    :param message: the text; Bitrix24's formatting works, e.g. ``[B]bold[/B]``. (templated)
    :param user_id: id of the person to notify. (templated)
    :param dialog_id: or the chat: ``chat29``; ``sg5`` for a group's; a person's id for the chat with them. (templated)
    :param tag: goes with ``user_id``: what comes later with the same tag replaces it; default: one for each text, so
        that only a repeat replaces. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential needs the scope ``im``; its user must be in
        the chat. (templated)
    :raises ArgumentError: if not one of ``user_id`` and ``dialog_id`` is given, or one that cannot be right.
    """

    template_fields: Sequence[str] = ("message", "user_id", "dialog_id", "tag", "bitrix24_conn_id")

    def __init__(
        self,
        *,
        message: str,
        user_id: int | str | None = None,
        dialog_id: str | None = None,
        tag: str | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        context: Context | None = None,
    ) -> None:
        super().__init__()
        # Deadline alerts give it here, and Airflow 2 does not know it.
        self.context: Any = context or {}
        self.message = message
        self.user_id = user_id
        self.dialog_id = dialog_id
        self.tag = tag
        self.bitrix24_conn_id = bitrix24_conn_id
        if (user_id is None) == (dialog_id is None):
            raise ArgumentError("give either user_id, for a notification, or dialog_id, for a message to a chat")
        if tag is not None and user_id is None:
            raise ArgumentError("tag goes with user_id only: messages to a chat are never replaced")
        check_final(1 if user_id is None else user_id, "user_id", as_positive_int)
        check_final("1" if dialog_id is None else dialog_id, "dialog_id", as_dialog_id)

    def notify(self, context: Context) -> None:
        """Tell them, from a worker or the Dag processor.

        :param context: the task's or Dag run's context.
        """
        hook = Bitrix24Hook(self.bitrix24_conn_id)
        hook.retry_timeout = NOTIFY_TIMEOUT
        hook.run(self._plan())

    async def async_notify(self, context: Context) -> None:
        """Tell them, from the triggerer.

        :param context: what Airflow knows there.
        """
        async with Bitrix24Hook(self.bitrix24_conn_id).shared_client() as client:
            await client.run(self._plan(), retry_timeout=NOTIFY_TIMEOUT)

    def _plan(self) -> Plan[int]:
        if self.dialog_id is not None:
            return send_message(as_dialog_id(self.dialog_id, "dialog_id"), self.message)
        return notify_user(as_positive_int(self.user_id, "user_id"), self.message, self.tag)
