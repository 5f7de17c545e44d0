"""The base of all hooks: reads an Airflow connection, and makes clients from it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection

from airflow_provider_workflows.get_provider_info import field_behaviour
from airflow_provider_workflows.hooks.connections import (
    ConnectionFieldError,
    ConnectionUnreadableError,
    field_fault,
    form_widgets,
)
from airflow_provider_workflows.hooks.observers import observer_for
from airflow_provider_workflows.rest.address import FieldError
from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT
from airflow_provider_workflows.rest.errors import ApiError, AuthenticationError
from airflow_provider_workflows.rest.findings import Finding, defect_of
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import Wire
from airflow_provider_workflows.rest.redaction import hide_frames
from airflow_provider_workflows.rest.sharing import SharedClients
from airflow_provider_workflows.rest.sync import Client

log = logging.getLogger(__name__)


class Account(Protocol):
    """An account and its credential."""

    @property
    def base_url(self) -> str:
        """Where it is called."""


class AccountSettings(Hashable, Protocol):
    """What a connection says."""

    @property
    def account(self) -> Account:
        """The account."""


Settings = TypeVar("Settings", bound=AccountSettings)
SomeClient = TypeVar("SomeClient", bound=Client[Any])
SomeAsyncClient = TypeVar("SomeAsyncClient", bound=AsyncClient[Any])
T = TypeVar("T")


def _host(account: Account) -> str:
    return urlsplit(account.base_url).netloc


class AccountHook(BaseHook, Generic[Settings, SomeClient, SomeAsyncClient]):
    """Calls an account with the credentials of an Airflow connection.

    A vendor's hook says how its connection is read, how its clients are made, and what *Test* checks.
    """

    conn_name_attr: ClassVar[str]
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]
    #: The time that clients, operators and triggers go by.
    clock: ClassVar[Clock] = SYSTEM_CLOCK

    #: Seconds for which calls that are refused are sent again.
    retry_timeout: float = RETRY_TIMEOUT

    _shared: ClassVar[SharedClients[Any, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let all hooks of a vendor share its clients, and have its form found."""
        super().__init_subclass__(**kwargs)
        cls._shared = SharedClients(cls._make_shared)
        # Airflow looks for these in the very class.
        for name in ("get_ui_field_behaviour", "get_connection_form_widgets"):
            setattr(cls, name, vars(AccountHook)[name])

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's labels to Airflow before 3.2; later ones read them in the provider info."""
        return field_behaviour(cls.conn_type)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's fields for ``extra`` to Airflow before 3.2, likewise."""
        return form_widgets(cls.conn_type)

    @classmethod
    @abstractmethod
    def read_settings(cls, connection: Connection) -> Settings:
        """Return what a connection says.

        :raises ConnectionFieldError: with the field's name.
        """

    @classmethod
    @abstractmethod
    def _make_wire(cls, settings: Settings) -> Wire[Any]:
        """Return how calls look on the wire; Airflow hides the credential from then on."""

    @classmethod
    @abstractmethod
    def _make_client(cls, settings: Settings) -> SomeClient:
        """Return a client; Airflow hides its credential from then on."""

    @classmethod
    @abstractmethod
    def _make_async_client(cls, settings: Settings) -> SomeAsyncClient:
        """Return an asynchronous client; Airflow hides its credential from then on. May block."""

    @classmethod
    @hide_frames
    def _make_shared(cls, settings: Settings) -> SomeAsyncClient:
        client = cls._make_async_client(settings)
        client.where = _host(settings.account)
        client.observer = observer_for(cls.conn_type, settings.account.base_url, cls.clock)
        return client

    @abstractmethod
    def _check_plan(self, model_id: str | None) -> Plan[list[Finding]]:
        """Return the plan that finds out what the credential can do.

        :param model_id: Domo: a workflow model whose rights are looked at too.
        """

    def _check_here(self, settings: Settings) -> list[Finding]:  # noqa: ARG002 Bitrix24's.
        """Check this machine, after the plan was run."""
        return []

    @property
    def _conn_id(self) -> str:
        return str(getattr(self, self.conn_name_attr))

    @cached_property
    def _client(self) -> SomeClient:
        return self.client_of(self._read_connection())

    @hide_frames
    def client_of(self, settings: Settings, read: Callable[[], Settings] | None = None) -> SomeClient:
        """Return a new client.

        :param read: reads the connection again when its credential is refused; default: as a task does.
        :raises ConnectionFieldError: if it cannot be used, with the field's name.
        """
        try:
            settings = self._with_stored_credential(settings)
            client = self._make_client(settings)
        except ValueError as error:
            raise self._field_error(error) from None
        client.renew = self._renewal(settings.account, read or self._read_connection)
        client.where = self.named(_host(settings.account))
        client.observer = observer_for(self.conn_type, settings.account.base_url, self.clock)
        return client

    def _read_connection(self) -> Settings:
        return self.read_settings(self.get_connection(self._conn_id))

    @property
    def where(self) -> str:
        """How errors name the account: by the connection's id and the host, or the id alone if it was not used."""
        # It is not read for this: that takes a request, which would delay the error, and perhaps hide it.
        client: SomeClient | None = vars(self).get("_client")
        return client.where if client else f"Connection {self._conn_id!r}"

    def named(self, host: str) -> str:
        """Return how errors name an account: by the connection's id and the host."""
        return f"Connection {self._conn_id!r} ({host})"

    @classmethod
    def _renewal(cls, used: Account, read: Callable[[], Settings]) -> Callable[[AuthenticationError], Wire[Any] | None]:
        """Return a function that replaces the credential of a client when it is refused.

        :param used: the account, with the credential that the client was made with.
        :param read: reads the connection again.
        """

        def renew(refusal: AuthenticationError) -> Wire[Any] | None:
            nonlocal used
            settings = read()
            # What was begun at one account does not go on at another.
            if settings.account.base_url != used.base_url:
                return None
            settings = cls._with_credential(settings, used, refusal)
            if settings.account == used:
                return None
            used = settings.account
            return cls._make_wire(settings)

        return renew

    @classmethod
    def _with_stored_credential(cls, settings: Settings) -> Settings:
        """Return the settings with the credential, if that is kept elsewhere than in the connection. May block."""
        return settings

    @classmethod
    def _with_credential(cls, settings: Settings, used: Account, refusal: AuthenticationError) -> Settings:  # noqa: ARG003
        """Return the settings with the credential that is valid now. May block.

        :param used: the account with the credential that is refused.
        :raises ApiError: if there is none.
        """
        log.warning("The credential for %s was refused; the connection was read again", used.base_url)
        return settings

    def get_conn(self) -> SomeClient:
        """Return the client, made at the first call.

        :raises ConnectionFieldError: if the connection cannot be used, with the field's name.
        """
        return self._client

    @asynccontextmanager
    async def shared_client(self) -> AsyncIterator[SomeAsyncClient]:
        """Return the asynchronous client that all users of this account in the event loop share.

        :raises ConnectionFieldError: if the connection cannot be used, with the field's name.
        :raises ConnectionUnreadableError: if it cannot be read now.
        """
        try:
            async with self._shared.use(self._settings, self._conn_id) as client:
                yield client
        except FieldError as error:
            raise self._field_error(error) from None

    def _field_error(self, error: ValueError) -> ConnectionFieldError:
        return ConnectionFieldError(self._conn_id, field_fault(self.conn_type, error))

    async def _settings(self) -> Settings:
        try:
            connection = await get_async_connection(self._conn_id, hook=self)
        except AirflowNotFoundException as error:
            # Also if a secrets backend failed: Airflow then asks the next one.
            raise ConnectionUnreadableError(self._conn_id, str(error)) from None
        except Exception as error:
            # Whatever Airflow, its database or a secrets backend raises; its text may hold secrets.
            raise ConnectionUnreadableError(self._conn_id, type(error).__name__) from None
        return self.read_settings(connection)

    def run(self, plan: Plan[T]) -> T:
        """Run a plan of the vendor's package.

        :param plan: the plan.
        :returns: what it returns.
        :raises ApiError: a failed call that the plan does not handle.
        """
        return self.get_conn().run(plan, retry_timeout=self.retry_timeout)

    def check(self, model_id: str | None = None, connection: Connection | None = None) -> list[Finding]:
        """Check the connection, without needing rights beyond those granted.

        Reads only, and sends each request once.

        :param model_id: Domo: a workflow model whose rights are looked at too.
        :param connection: the connection, if it was read already.
        """
        try:
            settings = self.read_settings(connection) if connection else self._read_connection()
            with self.client_of(settings) as client:
                found = client.run(self._check_plan(model_id), retry_timeout=self.retry_timeout)
        except ConnectionFieldError as error:
            return [Finding("connection", "defect", error.fault)]
        except AirflowNotFoundException as error:
            return [Finding("connection", "defect", f"{error}. Create it, or correct the id.")]
        except ApiError as error:
            return [defect_of(error)]
        address = f"{settings.account.base_url} answers"
        return [Finding("address", "ok", address), *found, *self._check_here(settings)]

    def test_connection(self) -> tuple[bool, str]:
        """Return whether :meth:`check` finds no defect, and what it finds, in a line."""
        found = self.check()
        defects = [one for one in found if one.level == "defect"]
        told = "; ".join(
            one.text if one.check == "connection" else f"{one.check}: {one.text}" for one in defects or found
        )
        # A form under test has an id that Airflow made up.
        return not defects, f"This connection: {told}" if defects else told
