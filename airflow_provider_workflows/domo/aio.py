"""An asynchronous client of one Domo account."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_workflows.domo.account import IN_FLIGHT, Account
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.driver import Purpose
from airflow_provider_workflows.rest.protocol import HttpSettings


class AsyncDomoClient(AsyncClient[Call]):
    """Runs Domo plans, many at once, which share the places for requests under way.

    :param account: the account and its credential.
    :param in_flight: requests under way at once, of all plans together.
    :param http: timeouts and sizes.
    :param clock: the time.
    """

    def __init__(
        self,
        account: Account,
        *,
        in_flight: int = IN_FLIGHT,
        http: HttpSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(DomoWire(account), in_flight=in_flight, http=http, clock=clock)
        self.account = account
        self._places = asyncio.Semaphore(in_flight)
        self._driver.send = self._send

    async def _send(self, call: Call, purpose: Purpose) -> Any:
        async with self._places:
            return await self._driver.attempt(call, purpose)
