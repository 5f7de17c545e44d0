"""A synchronous client of one Domo account, and the base that the asynchronous one shares."""

from __future__ import annotations

from airflow_provider_workflows.domo.account import IN_FLIGHT, Account
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.rest.base_client import BaseClient
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sync import Client


class AccountClient(BaseClient[Call]):
    """A client of one Domo account.

    :param account: the account and its credential.
    :param in_flight: requests under way at once: in bulk work, or of all plans together in an event loop.
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


class DomoClient(AccountClient, Client[Call]):
    """Runs Domo plans: ``client.run(read_instance("2052e10a-..."))``."""
