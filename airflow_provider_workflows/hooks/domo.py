"""Hook for a Domo account."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook, Connection, mask_secret

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.account import INSTANCE_PATH, Account
from airflow_provider_workflows.domo.aio import AsyncDomoClient
from airflow_provider_workflows.domo.client import DomoClient
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.get_provider_info import field_behaviour
from airflow_provider_workflows.hooks.connections import ConnectionFieldError, Timeouts, check_type, read_extra
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.plans import Plan, send
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames
from airflow_provider_workflows.rest.sharing import SharedClients

T = TypeVar("T")


class DomoExtra(Timeouts):
    """The ``extra`` of a connection of type ``domo``.

    :param instance_path: path at which one workflow instance is read (undocumented by Domo).
    """

    instance_path: str = INSTANCE_PATH


class DomoHook(BaseHook):
    """Calls a Domo account with the credentials of an Airflow connection.

    The connection holds the account's ``host``, and a developer token in ``password``.

    :param domo_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "domo_conn_id"
    default_conn_name = "domo_default"
    conn_type = "domo"
    #: The time that clients, operators and triggers go by.
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    hook_name = "Domo"

    def __init__(self, domo_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.domo_conn_id = domo_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's labels to Airflow before 3.2; later ones read them in the provider info."""
        return field_behaviour(cls.conn_type)

    @cached_property
    def _client(self) -> DomoClient:
        client = client_of(settings_of(self.get_connection(self.domo_conn_id)))
        current = client.account

        def renew() -> DomoWire | None:
            nonlocal current
            self.log.warning("The credential of %r is refused; the connection is read again", self.domo_conn_id)
            renewed = settings_of(self.get_connection(self.domo_conn_id)).account
            # What was begun at one account does not go on at another.
            if renewed == current or renewed.base_url != current.base_url:
                return None
            mask_secret(renewed.token)
            current = renewed
            return DomoWire(renewed)

        client.renew = renew
        return client

    def get_conn(self) -> DomoClient:
        """Return the client, made at the first call.

        :raises ConnectionFieldError: if the connection cannot be used, with the field's name.
        """
        return self._client

    def shared_client(self) -> AbstractAsyncContextManager[AsyncDomoClient]:
        """Return the asynchronous client that all users of this account in the event loop share.

        :raises ConnectionFieldError: if the connection cannot be used, with the field's name.
        """
        return _shared.use(self._settings)

    async def _settings(self) -> AccountSettings:
        return settings_of(await get_async_connection(self.domo_conn_id, hook=self))

    def run(self, plan: Plan[T]) -> T:
        """Run a plan of :mod:`airflow_provider_workflows.domo`.

        :param plan: the plan.
        :returns: what it returns.
        :raises ApiError: a failed call that the plan does not handle.
        """
        return self.get_conn().run(plan)

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether Domo takes the token. Rights on workflows are given per workflow, and not tested."""
        try:
            user = self.run(send(calls.get_current_user(), attempts=1))
        except (ApiError, ValueError) as error:
            return False, str(error)
        return (
            True,
            f"Connected to {self.get_conn().account.base_url} as {user.get('displayName') or user.get('id')}",
        )


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What a connection says.

    :param account: the account and its credential.
    :param http: timeouts and sizes.
    """

    account: Account
    http: HttpSettings


@hide_frames
def settings_of(connection: Connection) -> AccountSettings:
    """Read a connection.

    :param connection: the Airflow connection.
    :raises ConnectionFieldError: with the field's name.
    """
    extra = read_extra(connection, DomoExtra)
    account = account_of(connection, extra.instance_path)
    return AccountSettings(account, HttpSettings(extra.connect_timeout, extra.read_timeout))


@hide_frames
def client_of(settings: AccountSettings) -> DomoClient:
    """Return a client of an account; Airflow hides its credential from then on."""
    mask_secret(settings.account.token)
    return DomoClient(settings.account, http=settings.http, clock=DomoHook.clock)


@hide_frames
def _async_client_of(settings: AccountSettings) -> AsyncDomoClient:
    mask_secret(settings.account.token)
    return AsyncDomoClient(settings.account, http=settings.http, clock=DomoHook.clock)


_shared = SharedClients(_async_client_of)


@hide_frames
def account_of(connection: Connection, instance_path: str = INSTANCE_PATH) -> Account:
    """Return the account that a connection describes.

    :param connection: the Airflow connection.
    :param instance_path: path at which one workflow instance is read.
    :raises ConnectionFieldError: with the field's name.
    """
    check_type(connection, DomoHook.conn_type)
    try:
        return Account.with_token(
            connection.host, connection.password or "", connection.schema, connection.port, instance_path
        )
    except ValueError as error:
        raise ConnectionFieldError(connection.conn_id, str(error)) from None
