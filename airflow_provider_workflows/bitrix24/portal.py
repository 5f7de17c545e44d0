"""A portal and the credential it is called with."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Self

from airflow_provider_workflows.rest.address import Address, FieldError, base_url, split_address
from airflow_provider_workflows.rest.redaction import hide_frames, register_secret

_WEBHOOK_PATH = re.compile(r"(?P<folder>.*?)/rest/(?P<user>[0-9]+)/(?P<code>[^/]+)(/.*)?")


@dataclass(frozen=True, slots=True)
class Portal:
    """A Bitrix24 account and how to call it: by incoming webhook, or by access token.

    :param base_url: e.g. ``https://acme.bitrix24.com``.
    :param user_id: the webhook's user; ``None`` with an access token.
    :param secret: the webhook's code, or the access token; ``None`` if there is none before the first call.
    :param renewed: whether the access token is a local application's, which is renewed when it is refused.
    """

    base_url: str
    user_id: int | None
    secret: str | None = field(repr=False)
    renewed: bool = False

    def __post_init__(self) -> None:
        if self.base_url != base_url(self.base_url):
            raise ValueError("base_url must read like https://acme.bitrix24.com")
        if self.secret is None and self.user_id is None:
            return
        if self.user_id is None and not re.fullmatch(r"[!-.0-~]+", self.secret or ""):
            raise FieldError("access_token", "must be the bare token: printable, with no spaces or slashes")
        if self.user_id is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", self.secret or ""):
            raise FieldError("password", "must be the bare webhook code: letters and digits, or the whole webhook URL")
        if str(self.secret) in self.base_url:
            raise FieldError("host", "must not hold the webhook code or token: it is shown in logs and links")
        register_secret(str(self.secret))

    @classmethod
    @hide_frames
    def with_webhook(
        cls,
        host: str | None,
        user_id: str | int | None,
        code: str,
        scheme: str | None = None,
        port: int | None = None,
    ) -> Self:
        """Return a portal called by an incoming webhook.

        :param host: the portal's host name; for a self-hosted one perhaps with its folder, as ``intra.acme.com/b24``.
        :param user_id: the number before the code in the webhook's URL.
        :param code: the webhook's code.
        :param scheme: ``https``, or ``http`` for a loopback host.
        :param port: port, if not the scheme's own.
        :raises FieldError: with the connection field's name.
        """
        if not re.fullmatch(r"[0-9]+", str(user_id or "")):
            raise FieldError("login", "must be the webhook's user id: the number before the code in its URL")
        return cls(base_url(host, scheme, port), int(user_id or 0), code.strip())

    @classmethod
    @hide_frames
    def with_access_token(
        cls, host: str | None, token: str, scheme: str | None = None, port: int | None = None
    ) -> Self:
        """Return a portal called with an OAuth access token.

        :param host: the portal's host name; for a self-hosted one perhaps with its folder, as ``intra.acme.com/b24``.
        :param token: the access token.
        :param scheme: ``https``, or ``http`` for a loopback host.
        :param port: port, if not the scheme's own.
        :raises FieldError: with the connection field's name.
        """
        return cls(base_url(host, scheme, port), None, token.strip())

    @classmethod
    @hide_frames
    def from_webhook_url(cls, url: str) -> Self:
        """Return the portal of a webhook URL as Bitrix24 shows it, with or without a method at its end.

        :param url: e.g. ``https://acme.bitrix24.com/rest/1/<code>/``.
        :raises ValueError: if it is not a webhook URL; the text does not repeat it.
        """
        webhook = Webhook.parse(url)
        return cls(webhook.address.url(), webhook.user_id, webhook.code)

    @property
    def credential_id(self) -> str:
        """An id of the credential that does not reveal it: the portal counts running time for each credential."""
        return hashlib.sha256(f"{self.user_id}:{self.secret}".encode()).hexdigest()[:16]

    def method_url(self, method: str) -> str:
        """Return the URL of a REST method; it holds the webhook's code."""
        if self.user_id is None:
            return f"{self.base_url}/rest/{method}"
        return f"{self.base_url}/rest/{self.user_id}/{self.secret}/{method}"


def budget_name(portal_url: str) -> str:
    """Return the name of the record that holds a portal's budget.

    :param portal_url: the portal's address, however it is written; only its hash stands in the name.
    """
    parts = split_address(portal_url)
    host = (parts.hostname or "").rstrip(".")
    key = f"{host}:{parts.port or {'http': 80}.get(parts.scheme, 443)}{parts.path.rstrip('/')}"
    return f"bitrix24-budget-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """What a webhook's URL says.

    :param address: where the portal is.
    :param user_id: whose webhook it is.
    :param code: its code.
    """

    address: Address
    user_id: int
    code: str = field(repr=False)

    @classmethod
    @hide_frames
    def parse(cls, url: str) -> Self:
        """Read a webhook's URL, with or without a method at its end.

        :param url: e.g. ``https://acme.bitrix24.com/rest/1/<code>/``.
        :raises ValueError: if it is not a webhook URL; the text does not repeat it.
        """
        parts = split_address(url)
        match = _WEBHOOK_PATH.fullmatch(parts.path)
        if not match or not parts.scheme:
            raise FieldError("webhook URL", "must read https://<portal>/rest/<user id>/<code>/")
        return cls(Address.of_url(parts, match["folder"]), int(match["user"]), match["code"])
