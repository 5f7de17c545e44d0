"""Waiting for a time of day, with nobody's help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_workflows.triggers.polling import serialize_trigger


class PauseTrigger(BaseTrigger):
    """Fires ``{"status": "success"}`` when the time has come.

    :param until: Unix time.
    """

    def __init__(self, *, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its argument."""
        return serialize_trigger(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await asyncio.sleep(max(0.0, self.until - time.time()))
        yield TriggerEvent({"status": "success"})
