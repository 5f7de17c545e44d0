"""A synchronous client of one portal, and the base that the asynchronous one shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.base_client import BaseClient
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, HttpSettings
from airflow_provider_workflows.rest.sync import Client

# Imported late: Dag files make no client.
if TYPE_CHECKING:
    from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter


class PortalClient(BaseClient[Call]):
    """A client of one portal.

    :param portal: the portal and its credential.
    :param limiter: when calls may be sent; default: within the usual limits, shared with this user's other processes
        on this host.
    :param in_flight: requests under way at once in bulk work.
    :param http: timeouts and sizes.
    :param clock: the time.
    """

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

        limiter = limiter or host_limiter(portal, clock.time)
        super().__init__(Bitrix24Wire(portal), limiter=limiter, in_flight=in_flight, http=http, clock=clock)
        self.portal = portal


class Bitrix24Client(PortalClient, Client[Call]):
    """Runs Bitrix24 plans: ``client.run(list_workflows(WorkflowFilter.parse({"TEMPLATE_ID": 12})))``."""
