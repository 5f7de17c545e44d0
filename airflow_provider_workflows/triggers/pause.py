"""A trigger that waits until a given time, and carries what the task needs to go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from airflow.triggers.base import TriggerEvent

from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.triggers.polling import SerializableTrigger


class PauseTrigger(SerializableTrigger):
    """Fires ``{"status": "success", "checkpoint": ...}`` when the time has come.

    Airflow keeps a trigger's arguments encrypted, where no user can edit them.

    :param until: Unix time.
    :param checkpoint: what the task needs to go on; at most some 40 kB, as Airflow keeps no more in a MySQL database.
    """

    def __init__(self, *, until: float, checkpoint: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until
        self.checkpoint = checkpoint

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await AccountHook.clock.asleep(max(0.0, self.until - AccountHook.clock.time()))
        yield TriggerEvent({"status": "success", "checkpoint": self.checkpoint})
