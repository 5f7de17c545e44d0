"""Hook for a Domo account."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.providers.common.compat.sdk import Connection, mask_secret

from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.aio import AsyncDomoClient
from airflow_provider_workflows.domo.client import DomoClient
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.connections import (
    ConnectionFieldError,
    check_type,
    field_fault,
    read_extra,
)
from airflow_provider_workflows.rest.findings import Finding
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What a connection says.

    :param account: the account and its credential.
    :param in_flight: requests under way at once.
    :param http: how requests are made.
    """

    account: Account
    in_flight: int
    http: HttpSettings


class DomoHook(AccountHook[AccountSettings, DomoClient, AsyncDomoClient]):
    """Calls a Domo account with the credentials of an Airflow connection.

    The connection holds the account's ``host``, and a developer token in ``password``.

    :param domo_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "domo_conn_id"
    default_conn_name = "domo_default"
    conn_type = "domo"
    hook_name = "Domo"

    def __init__(self, domo_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.domo_conn_id = domo_conn_id

    @classmethod
    @hide_frames
    def read_settings(cls, connection: Connection) -> AccountSettings:
        """Return what a connection says.

        :raises ConnectionFieldError: with the field's name.
        """
        from airflow_provider_workflows.hooks.extras import DomoExtra

        check_type(connection, cls.conn_type)
        extra = read_extra(connection, DomoExtra)
        host, token = connection.host, connection.password or ""
        try:
            account = Account.with_token(host, token, connection.schema, connection.port, extra.instance_path)
        except ValueError as error:
            raise ConnectionFieldError(connection.conn_id, field_fault(cls.conn_type, error)) from None
        return AccountSettings(account, extra.in_flight, extra.http())

    @classmethod
    @hide_frames
    def _make_wire(cls, settings: AccountSettings) -> DomoWire:
        mask_secret(settings.account.token)
        return DomoWire(settings.account)

    @classmethod
    @hide_frames
    def _make_client(cls, settings: AccountSettings) -> DomoClient:
        mask_secret(settings.account.token)
        return DomoClient(settings.account, in_flight=settings.in_flight, http=settings.http, clock=cls.clock)

    @classmethod
    @hide_frames
    def _make_async_client(cls, settings: AccountSettings) -> AsyncDomoClient:
        mask_secret(settings.account.token)
        return AsyncDomoClient(settings.account, in_flight=settings.in_flight, http=settings.http, clock=cls.clock)

    def _check_plan(self, model_id: str | None) -> Plan[list[Finding]]:
        from airflow_provider_workflows.domo.checks import check_account

        return check_account(model_id)
