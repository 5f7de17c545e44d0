"""An asynchronous client of one portal."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.client import PortalClient
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.driver import Purpose

#: Most requests of coalesced reading calls under way at once, of all triggers together.
READS = 4


class AsyncBitrix24Client(PortalClient, AsyncClient[Call]):
    """Runs Bitrix24 plans concurrently; reading calls made at about the same time share a request, up to 50 each."""

    #: Seconds that a reading call waits for others to share its request.
    batch_delay = 1.0

    async def close(self) -> None:
        """Stop reading, and close the connections."""
        self._reads.close()
        await super().close()

    @cached_property
    def _reads(self) -> RequestCoalescer:
        return RequestCoalescer(self._read, min(self._in_flight, READS), delay=self.batch_delay, clock=self._clock)

    async def _send(self, call: Call, purpose: Purpose) -> Any:
        if call.repeatable and not call.commands:
            self.observer.count("polls")
            return await self._reads.load(call)
        return await super()._send(call, purpose)

    async def _read(self, call: Call) -> Any:
        self.observer.count("polls_sent")
        return await super()._send(call, Purpose())
