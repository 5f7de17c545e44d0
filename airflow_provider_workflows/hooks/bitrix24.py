"""Hook for a Bitrix24 portal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from airflow.providers.common.compat.sdk import Connection, mask_secret

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.errors import TokenExpiredError, TokenStoreError
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.portal import Portal, Webhook, budget_name
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.get_provider_info import field_name
from airflow_provider_workflows.hooks.base import Account, AccountHook
from airflow_provider_workflows.hooks.connections import (
    ConnectionFieldError,
    check_type,
    field_fault,
    read_extra,
)
from airflow_provider_workflows.rest.address import Address, FieldError, base_url
from airflow_provider_workflows.rest.errors import ApiError, AuthenticationError
from airflow_provider_workflows.rest.findings import Finding, defect_of
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames

# What a Dag's file does not need is imported where it is used.
if TYPE_CHECKING:
    from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
    from airflow_provider_workflows.bitrix24.oauth.application import Application
    from airflow_provider_workflows.hooks.extras import Bitrix24Extra
    from airflow_provider_workflows.hooks.oauth import ApplicationTokens
    from airflow_provider_workflows.records.store import RecordStore

log = logging.getLogger(__name__)

SomeClient = TypeVar("SomeClient", Bitrix24Client, AsyncBitrix24Client)

#: How much larger the bucket of Enterprise plans is, 250 requests instead of 50, and how much faster it drains, 5 a
#: second instead of 2.
ENTERPRISE_CAPACITY, ENTERPRISE_DRAIN = 250 / 50, 5 / 2


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """What a connection says.

    :param account: the portal and its credential.
    :param limits: the portal's limits.
    :param in_flight: requests under way at once in bulk work.
    :param http: how requests are made.
    :param shared_store: id of the connection of the store that workers share; ``None``: the files of each host.
    :param application: the local application that it is called as, if it is one.
    :param plan_sets_bucket: whether the bucket's figures are to be those of the portal's plan, where that is known.
    """

    account: Portal
    limits: Limits
    in_flight: int
    http: HttpSettings
    shared_store: str | None
    application: Application | None
    plan_sets_bucket: bool

    @property
    def credential_id(self) -> str:
        """An id of the credential: an application stays the same, though its tokens change each hour."""
        return self.application.client_id if self.application else self.account.credential_id


class Bitrix24Hook(AccountHook[PortalSettings, Bitrix24Client, AsyncBitrix24Client]):
    """Calls a Bitrix24 portal with the credentials of an Airflow connection.

    The connection holds the portal's host, and either an incoming webhook (``login``: its user id,
    ``password``: its code), or a local application (``extra.client_id`` and ``extra.client_secret``), or
    ``extra.access_token``. A webhook URL, as Bitrix24 shows it, may stand in ``password`` or in ``host`` instead.

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
    @hide_frames
    def read_settings(cls, connection: Connection) -> PortalSettings:
        """Return what a connection says.

        :raises ConnectionFieldError: with the field's name.
        """
        from airflow_provider_workflows.hooks.extras import Bitrix24Extra

        check_type(connection, cls.conn_type, "https", "http")
        extra = read_extra(connection, Bitrix24Extra)
        portal = portal_of(connection, extra)
        return PortalSettings(
            portal,
            Limits(
                extra.bucket_capacity * extra.max_share, extra.bucket_drain * extra.max_share, extra.operating_limit
            ),
            extra.in_flight,
            extra.http(),
            extra.shared_store,
            application_of(connection, extra, portal),
            not {"bucket_capacity", "bucket_drain"} & extra.model_fields_set,
        )

    @classmethod
    @hide_frames
    def _make_wire(cls, settings: PortalSettings) -> Bitrix24Wire:
        _mask(settings.account)
        return Bitrix24Wire(settings.account)

    @classmethod
    @hide_frames
    def _make(cls, client: type[SomeClient], settings: PortalSettings) -> SomeClient:
        _mask(settings.account)
        limiter = cls._limiter(settings)
        return client(
            settings.account, limiter=limiter, in_flight=settings.in_flight, http=settings.http, clock=cls.clock
        )

    @classmethod
    @hide_frames
    def _make_client(cls, settings: PortalSettings) -> Bitrix24Client:
        return cls._make(Bitrix24Client, settings)

    @classmethod
    @hide_frames
    def _make_async_client(cls, settings: PortalSettings) -> AsyncBitrix24Client:
        settings = cls._with_stored_credential(settings)
        client = cls._make(AsyncBitrix24Client, settings)
        if settings.application:
            # A changed webhook is found by reading the connection anew for each client.
            client.renew = cls._renewal(settings.account, lambda: settings)
        return client

    @classmethod
    def _with_stored_credential(cls, settings: PortalSettings) -> PortalSettings:
        """Return the settings with the access token that is stored, and the limits of the portal's plan. May block."""
        kept = cls._tokens_of(settings)
        if kept is None:
            return settings
        try:
            tokens, now = kept.stored()
        except TokenStoreError as error:
            log.warning(
                "The stored tokens cannot be read yet, and the first call will read them again: %s", error.message
            )
            return settings
        if settings.plan_sets_bucket and tokens.is_enterprise:
            capacity, drain = settings.limits.bucket_capacity, settings.limits.bucket_drain
            larger = {"bucket_capacity": capacity * ENTERPRISE_CAPACITY, "bucket_drain": drain * ENTERPRISE_DRAIN}
            settings = replace(settings, limits=replace(settings.limits, **larger))
        if now >= tokens.expires_at:
            return settings
        return replace(settings, account=replace(settings.account, secret=tokens.access_token))

    @classmethod
    def _with_credential(cls, settings: PortalSettings, used: Account, refusal: AuthenticationError) -> PortalSettings:
        kept = cls._tokens_of(settings)
        if kept is None or not isinstance(used, Portal):
            return super()._with_credential(settings, used, refusal)
        # Before it expires a new one is of no use, unless a person has authorised the connection again.
        tokens = kept.renewed(used.secret) if isinstance(refusal, TokenExpiredError) else kept.stored()[0]
        return replace(settings, account=replace(settings.account, secret=tokens.access_token))

    @classmethod
    def _tokens_of(cls, settings: PortalSettings) -> ApplicationTokens | None:
        if settings.application is None:
            return None
        from airflow_provider_workflows.hooks.oauth import ApplicationTokens, chain_of

        mask_secret(settings.application.client_secret)
        chain = chain_of(settings.application, settings.shared_store, cls.clock)
        return ApplicationTokens(chain, settings.http, cls.clock)

    @classmethod
    def _limiter(cls, settings: PortalSettings) -> PortalRateLimiter:
        from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
        from airflow_provider_workflows.hooks.stores import record_store
        from airflow_provider_workflows.records.files import host_store
        from airflow_provider_workflows.records.store import MemoryRecordStore

        portal, clock = settings.account, cls.clock.time
        limits = settings.limits.for_hosts() if settings.shared_store else settings.limits
        # While the shared store is away, at least the processes of a host share.
        away: Callable[[Callable[[], float]], RecordStore] = host_store if settings.shared_store else MemoryRecordStore
        store, name = record_store(settings.shared_store, clock), budget_name(portal.base_url)
        return PortalRateLimiter(limits, store, name, settings.credential_id, away=away, clock=clock)

    def application_tokens(self) -> ApplicationTokens:
        """Return the tokens of this connection's local application.

        :raises ConnectionFieldError: if the connection describes no application, with the field's name.
        """
        tokens = self._tokens_of(self._read_connection())
        if tokens is None:
            fault = f"{field_name(self.conn_type, 'client_id')} is empty; only applications have tokens"
            raise ConnectionFieldError(self._conn_id, fault)
        return tokens

    def _check_plan(self, model_id: str | None) -> Plan[list[Finding]]:  # noqa: ARG002 Domo's.
        from airflow_provider_workflows.bitrix24.checks import check_portal

        return check_portal()

    def _check_here(self, settings: PortalSettings) -> list[Finding]:
        from airflow_provider_workflows.hooks.deployment import check_pace
        from airflow_provider_workflows.hooks.stores import record_store

        store = record_store(settings.shared_store, self.clock.time)
        found = check_pace(store, shared=settings.shared_store is not None)
        kept = self._tokens_of(settings)
        if kept is None:
            return found
        several_hosts = any(one.check == "pace" and one.level != "ok" for one in found)
        return [*found, self._check_tokens(kept, several_hosts=several_hosts)]

    def _check_tokens(self, kept: ApplicationTokens, *, several_hosts: bool) -> Finding:
        """Check where an application's tokens are; they were used just now.

        :param several_hosts: whether there are hosts that do not share a store.
        """
        try:
            tokens, _ = kept.stored()
        except ApiError as error:
            return defect_of(error)
        found = f"pair {tokens.generation} is in {kept.chain.store}"
        if several_hosts:
            text = (
                f"{found}, which hosts cannot lock: two may renew the tokens at once, and if the token server revokes "
                "both for that, a person has to authorise again. Name a connection in extra.shared_store"
            )
            return Finding("tokens", "warning", text)
        return Finding("tokens", "ok", found)


def _mask(portal: Portal) -> None:
    if portal.secret:
        mask_secret(portal.secret)


@hide_frames
def application_of(connection: Connection, extra: Bitrix24Extra, portal: Portal) -> Application | None:
    """Return the local application that a connection describes; ``None`` if it describes none.

    :raises ConnectionFieldError: with the field's name.
    """
    given = {"client_id": extra.client_id, "client_secret": extra.client_secret}
    if not extra.token_url and not any(given.values()):
        return None
    from airflow_provider_workflows.bitrix24.oauth.application import Application

    try:
        for name, value in given.items():
            if not value:
                raise FieldError(name, "is empty; give what the portal shows of the local application")
        secret = extra.client_secret.get_secret_value().strip() if extra.client_secret else ""
        client_id = (extra.client_id or "").strip()
        return Application(connection.conn_id, portal.base_url, client_id, secret, extra.token_url)
    except ValueError as error:
        raise ConnectionFieldError(connection.conn_id, field_fault(Bitrix24Hook.conn_type, error)) from None


@hide_frames
def portal_of(connection: Connection, extra: Bitrix24Extra) -> Portal:
    """Return the portal that a connection describes; with no credential, if it is called as a local application.

    :raises ConnectionFieldError: with the field's name.
    """
    access_token, is_application = extra.access_token, bool(extra.client_id or extra.client_secret or extra.token_url)
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
        ways = {"access_token": access_token is not None, "client_id": is_application}
        given = [field for field, there in ways.items() if there]
        if given and (code or urls):
            raise FieldError(given[0], "does not go together with a webhook; give one of them")
        if len(given) > 1:
            raise FieldError("access_token", "does not go together with client_id; give one of them")
        if is_application:
            return Portal(base_url(host, scheme, port), None, None, renewed=True)
        if urls:
            fields = {"host": host, "login": connection.login or "", "password": code}
            webhook = _webhook_of(urls, fields, Address(scheme, port=port))
            return Portal(webhook.address.url(), webhook.user_id, webhook.code)
        if access_token is not None:
            return Portal.with_access_token(host, access_token.get_secret_value(), scheme, port)
        if not code:
            other = "or extra.client_id and extra.client_secret of a local application"
            raise FieldError("password", f"is empty; give the webhook's code or its whole URL, {other}")
        return Portal.with_webhook(host, connection.login, code, scheme, port)
    except ValueError as error:
        raise ConnectionFieldError(connection.conn_id, field_fault(Bitrix24Hook.conn_type, error)) from None


@hide_frames
def _webhook_of(urls: Mapping[str, str], fields: Mapping[str, str], address: Address) -> Webhook:
    """Read the webhook URL that stands in a connection, and compare it with all else that the connection says.

    :param urls: the fields that hold a webhook URL.
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
