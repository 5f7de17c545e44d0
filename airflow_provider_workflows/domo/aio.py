"""An asynchronous client of one Domo account."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.client import AccountClient
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.driver import Purpose


class AsyncDomoClient(AccountClient, AsyncClient[Call]):
    """Runs Domo plans, many at once, which share the places for requests under way."""

    @cached_property
    def _places(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._in_flight)

    async def _send(self, call: Call, purpose: Purpose) -> Any:
        async with self._places:
            return await super()._send(call, purpose)
