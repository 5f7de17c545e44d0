"""An asynchronous client of one portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.concurrency import FIRST
from airflow_provider_workflows.rest.driver import Purpose
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, HttpSettings

# A Dag's file makes no client.
if TYPE_CHECKING:
    from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter


class AsyncBitrix24Client(AsyncClient[Call]):
    """Runs Bitrix24 plans, many at once; their single reading calls go out together, up to 50 to a request.

    :param portal: the portal and its credential.
    :param limiter: when calls may be sent; default: within the usual limits, shared with this user's other processes
        on this host.
    :param in_flight: requests under way at once in bulk work.
    :param http: timeouts and sizes.
    :param clock: the time.
    """

    #: Seconds for which a reading call waits for others to go with.
    batch_delay = 1.0

    def __init__(
        self,
        portal: Portal,
        *,
        limiter: PortalRateLimiter | None = None,
        in_flight: int = IN_FLIGHT,
        http: HttpSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        from airflow_provider_workflows.bitrix24.limits.limiter import host_limiter

        super().__init__(
            Bitrix24Wire(portal),
            limiter=limiter or host_limiter(portal, clock.time),
            in_flight=in_flight,
            http=http,
            clock=clock,
        )
        self.portal = portal
        self._reads = RequestCoalescer(self._read, min(in_flight, FIRST), delay=self.batch_delay, clock=clock)
        self._driver.send = self._send

    async def close(self) -> None:
        """Stop reading, and close the connections."""
        self._reads.close()
        await super().close()

    async def _send(self, call: Call, purpose: Purpose) -> Any:
        if call.repeatable and not call.commands:
            self.observer.count("polls")
            return await self._reads.load(call)
        return await self.renewal.attempt(call, purpose)

    async def _read(self, call: Call) -> Any:
        self.observer.count("polls_sent")
        return await self.renewal.attempt(call, Purpose())
