"""A synchronous client of one portal."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.client import CONNECT_TIMEOUT, READ_TIMEOUT, Client


class Bitrix24Client(Client[Call]):
    """Runs Bitrix24 plans: ``client.run(list_workflows(WorkflowFilter.parse({"TEMPLATE_ID": 12})))``.

    :param portal: the portal and its credential.
    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70: above the portal's own limit of 60.
    :param sleep: what waits out a pause; for tests.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(Bitrix24Wire(portal), connect_timeout=connect_timeout, read_timeout=read_timeout, sleep=sleep)
        self.portal = portal
