"""Hook for a Bitrix24 portal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import Connection, mask_secret
from pydantic import Field, SecretStr

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.checks import check_portal
from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.portal import Portal, Webhook, budget_name
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.get_provider_info import field_behaviour
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.connections import (
    ConnectionFieldError,
    HttpExtra,
    check_type,
    field_fault,
    form_widgets,
    read_extra,
)
from airflow_provider_workflows.hooks.deployment import check_pace
from airflow_provider_workflows.hooks.stores import record_store
from airflow_provider_workflows.records.store import RecordStore
from airflow_provider_workflows.rest.address import Address, FieldError
from airflow_provider_workflows.rest.findings import Finding
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, MOST_IN_FLIGHT, HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames


class Bitrix24Extra(HttpExtra):
    """The ``extra`` of a connection of type ``bitrix24``.

    :param access_token: OAuth access token, instead of a webhook's user id and code.
    :param bucket_capacity: requests that may go at once; 50, on Enterprise plans 250.
    :param bucket_drain: requests a second after that; 2, on Enterprise plans 5.
    :param operating_limit: seconds that a method may run in ten minutes; 480.
    :param in_flight: requests under way at once in bulk work; 4.
    :param max_share: the part of both that is ours, above 0 and at most 1; the rest is left to other integrations.
    :param shared_store: id of a connection of type ``redis``, ``postgres`` or ``mysql``: where workers on several
        hosts share the rate limit; default: the files of each host.
    """

    access_token: SecretStr | None = None
    bucket_capacity: float = Field(Limits().bucket_capacity, ge=2)
    bucket_drain: float = Field(Limits().bucket_drain, gt=0)
    operating_limit: float = Field(Limits().operating_limit, gt=0)
    in_flight: int = Field(IN_FLIGHT, ge=1, le=MOST_IN_FLIGHT)
    max_share: float = Field(1.0, gt=0, le=1)
    shared_store: str | None = None


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """What a connection says.

    :param account: the portal and its credential.
    :param limits: the portal's limits.
    :param in_flight: requests under way at once in bulk work.
    :param http: how requests are made.
    :param shared_store: id of the connection of the store that workers share; ``None``: the files of each host.
    """

    account: Portal
    limits: Limits
    in_flight: int
    http: HttpSettings
    shared_store: str | None


class Bitrix24Hook(AccountHook[PortalSettings, Bitrix24Client, AsyncBitrix24Client]):
    """Calls a Bitrix24 portal with the credentials of an Airflow connection.

    The connection holds the portal's host, and either an incoming webhook (``login``: its user id,
    ``password``: its code) or ``extra.access_token``. A webhook URL, as Bitrix24 shows it, may stand
    in ``password`` or in ``host`` instead.

    :param bitrix24_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "bitrix24_conn_id"
    default_conn_name = "bitrix24_default"
    conn_type = "bitrix24"
    hook_name = "Bitrix24"

    def __init__(self, bitrix24_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.bitrix24_conn_id = bitrix24_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's labels to Airflow before 3.2; later ones read them in the provider info."""
        # Airflow looks for it in this very class.
        return field_behaviour(cls.conn_type)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's fields for ``extra`` to Airflow before 3.2, likewise."""
        return form_widgets(cls.conn_type)

    @classmethod
    @hide_frames
    def read_settings(cls, connection: Connection) -> PortalSettings:
        """Return what a connection says.

        :param connection: the Airflow connection.
        :raises ConnectionFieldError: with the field's name.
        """
        check_type(connection, cls.conn_type, "https", "http")
        extra = read_extra(connection, Bitrix24Extra)
        return PortalSettings(
            portal_of(connection, extra.access_token),
            Limits(
                extra.bucket_capacity * extra.max_share, extra.bucket_drain * extra.max_share, extra.operating_limit
            ),
            extra.in_flight,
            extra.http(),
            extra.shared_store,
        )

    @classmethod
    @hide_frames
    def _make_wire(cls, settings: PortalSettings) -> Bitrix24Wire:
        mask_secret(settings.account.secret)
        return Bitrix24Wire(settings.account)

    @classmethod
    @hide_frames
    def _make_client(cls, settings: PortalSettings) -> Bitrix24Client:
        mask_secret(settings.account.secret)
        return Bitrix24Client(
            settings.account,
            limiter=cls._limiter(settings),
            in_flight=settings.in_flight,
            http=settings.http,
            clock=cls.clock,
        )

    @classmethod
    @hide_frames
    def _make_async_client(cls, settings: PortalSettings) -> AsyncBitrix24Client:
        mask_secret(settings.account.secret)
        return AsyncBitrix24Client(
            settings.account,
            limiter=cls._limiter(settings),
            in_flight=settings.in_flight,
            http=settings.http,
            clock=cls.clock,
        )

    @classmethod
    def _limiter(cls, settings: PortalSettings) -> PortalRateLimiter:
        store = record_store(settings.shared_store, cls.clock.time)
        portal = settings.account
        name = budget_name(portal.base_url)
        return PortalRateLimiter(settings.limits, store, name, portal.credential_id, clock=cls.clock.time)

    def record_store(self) -> RecordStore:
        """Return the store in which this connection's rate limit is kept; its ``str`` says where that is.

        :raises ConnectionFieldError: if a connection cannot be used, with the field's name.
        """
        settings = self.read_settings(self.get_connection(self._conn_id))
        return record_store(settings.shared_store, self.clock.time)

    def _check_plan(self, model_id: str | None) -> Plan[list[Finding]]:  # noqa: ARG002 Domo's.
        return check_portal()

    def _check_here(self) -> list[Finding]:
        settings = self.read_settings(self.get_connection(self._conn_id))
        return check_pace(self.record_store(), shared=settings.shared_store is not None)


@hide_frames
def portal_of(connection: Connection, access_token: SecretStr | None = None) -> Portal:
    """Return the portal that a connection describes.

    :param connection: the Airflow connection.
    :param access_token: the access token of its ``extra``, if there is one.
    :raises ConnectionFieldError: with the field's name.
    """
    host, code = (connection.host or "").strip(), (connection.password or "").strip()
    scheme, port = connection.schema or None, connection.port or None
    if scheme and re.search(r"(^|/)rest/", scheme):
        # A webhook URL given as AIRFLOW_CONN_...=https://acme.bitrix24.com/rest/1/<code>/ arrives cut into fields.
        protocol = "http" if connection.conn_type == "http" else "https"
        place = f"[{host}]" if ":" in host else host
        host, scheme, port = f"{protocol}://{place}{f':{port}' if port else ''}/{scheme}", None, None
    urls = {field: text for field, text in (("password", code), ("host", host)) if "/rest/" in text}
    if not urls:
        # A web connection with a password is somebody else's: it is no webhook's code.
        check_type(connection, Bitrix24Hook.conn_type)
    try:
        if access_token is not None and (code or urls):
            raise FieldError("access_token", "does not go together with a webhook; give one of them")
        if urls:
            fields = {"host": host, "login": connection.login or "", "password": code}
            return Portal.from_webhook(_webhook_of(urls, fields, Address(scheme, port=port)))
        if access_token is not None:
            return Portal.with_access_token(host, access_token.get_secret_value(), scheme, port)
        if not code:
            raise FieldError("password", "is empty; give the webhook's code or its whole URL, or extra.access_token")
        return Portal.with_webhook(host, connection.login, code, scheme, port)
    except ValueError as error:
        raise ConnectionFieldError(connection.conn_id, field_fault(Bitrix24Hook.conn_type, error)) from None


@hide_frames
def _webhook_of(urls: Mapping[str, str], fields: Mapping[str, str], address: Address) -> Webhook:
    """Read the webhook URL that stands in a connection, and compare it with all else that the connection says.

    :param urls: the fields that hold a webhook URL.
    :param fields: all fields.
    :param address: what the connection's schema and port say.
    :raises ValueError: with the name of the field that says something else.
    """
    webhooks = {}
    for field, url in urls.items():
        try:
            webhooks[field] = Webhook.parse(url if "://" in url else f"{address.scheme or 'https'}://{url}")
        except ValueError as error:
            raise FieldError(field, f"holds no valid webhook URL: {error}") from None
    webhook = next(iter(webhooks.values()))
    place = webhook.address.joined(address)
    if fields["host"] and "host" not in urls:
        place.joined(Address.parse(fields["host"]))
    said = {"login": str(webhook.user_id), "password": webhook.code}
    for field, text in fields.items():
        same = webhooks[field] == webhook if field in urls else text in ("", said.get(field, text))
        if not same:
            raise FieldError(field, f"says something else than the webhook URL in {next(iter(urls))}")
    return webhook
