"""A synchronous client of one portal."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.limits.store import store_for
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.client import CONNECT_TIMEOUT, IN_FLIGHT, READ_TIMEOUT, Client


class Bitrix24Client(Client[Call]):
    """Runs Bitrix24 plans: ``client.run(list_workflows(WorkflowFilter.parse({"TEMPLATE_ID": 12})))``.

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
        sleep: Callable[[float], None] = time.sleep,
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
