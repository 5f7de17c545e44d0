"""An asynchronous client of one portal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.limits.store import store_for
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.client import CONNECT_TIMEOUT, IN_FLIGHT, READ_TIMEOUT


class AsyncBitrix24Client(AsyncClient[Call]):
    """Runs Bitrix24 plans, many at once; their single reading calls go out together, up to 50 to a request.

    :param portal: the portal and its credential.
    :param pace: when calls may be sent; default: within the usual limits, shared with this user's other processes
        on this host.
    :param in_flight: requests under way at once in bulk work.
    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70: above the portal's own limit of 60.
    :param sleep: what waits out a pause; for tests.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        pace: PortalRateLimiter | None = None,
        in_flight: int = IN_FLIGHT,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            Bitrix24Wire(portal),
            pace=pace or PortalRateLimiter(Limits(), store_for(portal.base_url)),
            in_flight=in_flight,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            sleep=sleep,
        )
        self.portal = portal
        self._reads = RequestCoalescer(super()._attempt, in_flight)

    async def close(self) -> None:
        """Stop asking, and close the connections."""
        self._reads.close()
        await super().close()

    async def _attempt(self, call: Call) -> Any:
        if call.repeatable and not call.commands:
            return await self._reads.load(call)
        return await super()._attempt(call)
