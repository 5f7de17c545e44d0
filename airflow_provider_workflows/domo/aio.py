"""An asynchronous client of one Domo account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.client import CONNECT_TIMEOUT, IN_FLIGHT, READ_TIMEOUT


class AsyncDomoClient(AsyncClient[Call]):
    """Runs Domo plans, many at once.

    :param account: the account and its credential.
    :param in_flight: requests under way at once in bulk work.
    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70.
    :param sleep: what waits out a pause; for tests.
    """

    def __init__(
        self,
        account: Account,
        *,
        in_flight: int = IN_FLIGHT,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(
            DomoWire(account),
            in_flight=in_flight,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            sleep=sleep,
        )
        self.account = account
