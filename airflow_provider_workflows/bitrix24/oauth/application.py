"""A local application of a portal, and the tokens it was given."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from airflow_provider_workflows.rest.address import Address, FieldError, base_url, split_address
from airflow_provider_workflows.rest.redaction import escape_controls, register_secret

log = logging.getLogger(__name__)

#: The vendor's token servers, the first of them by default: a reply of one may name the other, and nobody else.
TOKEN_HOSTS = ("oauth.bitrix.info", "oauth.bitrix24.tech")
TOKEN_PATH = "/oauth/token/"  # noqa: S105
DAY = 86400.0
#: Seconds after which an unused refresh token is in doubt (the vendor once said 28 days), and in danger (now 180).
DOUBTFUL_AGE, DANGEROUS_AGE = 21 * DAY, 150 * DAY


@dataclass(frozen=True, slots=True)
class Application:
    """A local application of a portal, as an Airflow connection describes it.

    :param conn_id: the connection's id.
    :param base_url: the portal, e.g. ``https://acme.bitrix24.com``.
    :param client_id: the application's id.
    :param client_secret: its secret.
    :param token_url: where tokens are had, if it is to be no other place; default: one of :data:`TOKEN_HOSTS`.
    """

    conn_id: str
    base_url: str
    client_id: str
    client_secret: str = field(repr=False)
    token_url: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("client_id", self.client_id), ("client_secret", self.client_secret)):
            if not re.fullmatch(r"[!-~]+", value):
                raise FieldError(name, "must be as the portal shows it: printable, with no spaces")
        register_secret(self.client_secret)

    @property
    def name(self) -> str:
        """Return what its tokens are called where they are stored: another application's have another name."""
        whose = hashlib.sha256(f"{self.base_url} {self.client_id}".encode()).hexdigest()[:8]
        return f"bitrix24-tokens-{re.sub(r'[^A-Za-z0-9]', '-', self.conn_id)[:100]}-{whose}"

    def authorize_url(self, state: str) -> str:
        """Return the address at which a person lets the application act for them.

        :param state: comes back with the answer.
        """
        return f"{self.base_url}/oauth/authorize/?{urlencode({'client_id': self.client_id, 'state': state})}"

    def token_url_at(self, named: str | None) -> str:
        """Return where tokens are had.

        :param named: the address of a token server that a reply has named; followed only if it is one of
            :data:`TOKEN_HOSTS`, as the application's secret is sent there, and not where the connection names one.
        """
        if self.token_url:
            return self.token_url
        host = named and _host(named)
        if host and host not in TOKEN_HOSTS:
            log.warning(
                "A token server on %s was named, which is not the vendor's; it is not used", escape_controls(host)
            )
        return f"https://{host if host in TOKEN_HOSTS else TOKEN_HOSTS[0]}{TOKEN_PATH}"

    def is_portal(self, endpoint: str | None) -> bool:
        """Return whether an address is the portal's.

        :param endpoint: an address that a reply has named; none is taken for the portal's.
        """
        return not endpoint or _host(endpoint) == _host(self.base_url)


def check_token_url(text: str) -> str:
    """Return the address of a token server.

    :param text: as it stands in a connection.
    :raises ValueError: if it is none that the application's secret may be sent to.
    """
    try:
        parts = split_address(text)
        if not parts.scheme or parts.query or parts.fragment or not re.fullmatch(r"/[A-Za-z0-9_/-]+/?", parts.path):
            raise ValueError
        base_url(Address.of_url(parts, "").url())
    except ValueError:
        raise ValueError(f"must be an address like https://{TOKEN_HOSTS[0]}{TOKEN_PATH}") from None
    return text.strip()


def _host(endpoint: str) -> str | None:
    """Return the host and port of an address, which may also be a bare host name; ``None`` if it is none."""
    try:
        parts = split_address(endpoint if "://" in endpoint else f"https://{endpoint}")
    except ValueError:
        return None
    return f"{parts.hostname}:{parts.port}" if parts.port not in (None, 443) else parts.hostname


class _Pair(BaseModel):
    """Two tokens, which are hidden wherever this package writes."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_token: str = Field(pattern=r"^[!-.0-~]+$", repr=False)
    refresh_token: str = Field(pattern=r"^[!-~]+$", repr=False)

    def model_post_init(self, _: Any) -> None:
        register_secret(self.access_token)
        register_secret(self.refresh_token)


class TokenReply(_Pair):
    """What a token server gives.

    :param access_token: for calls.
    :param refresh_token: for the next pair.
    :param expires_in: seconds for which the first one works.
    :param member_id: the portal's id.
    :param client_endpoint: where the portal says that it is called.
    :param server_endpoint: where the token server says that it is.
    """

    expires_in: float = Field(3600.0, ge=0)
    member_id: str = ""
    client_endpoint: str | None = None
    server_endpoint: str | None = None

    @field_validator("expires_in", "member_id", "client_endpoint", "server_endpoint", mode="wrap")
    @classmethod
    def _or_default(cls, value: Any, read: ValidatorFunctionWrapHandler, field: ValidationInfo) -> Any:
        """Read what is not needed: for that, tokens that come but once are not thrown away."""
        try:
            return read(value)
        except ValidationError:
            return cls.model_fields[str(field.field_name)].default


class Tokens(_Pair):
    """The pair of tokens that a connection has now, as it is stored.

    :param access_token: for calls.
    :param refresh_token: for the next pair.
    :param generation: how many pairs there have been.
    :param issued_at: Unix time at which the pair was stored, by the store's clock.
    :param expires_at: Unix time from which the access token works no more, by the same clock.
    :param member_id: the portal's id.
    :param server_endpoint: what the token server calls itself.
    :param licence: the portal's plan, as it says; empty if it is not known.
    """

    generation: int
    issued_at: float
    expires_at: float
    member_id: str = ""
    server_endpoint: str | None = None
    licence: str = ""

    @classmethod
    def after(cls, old: Tokens | None, reply: TokenReply, now: float) -> Tokens:
        """Return the pair that follows another one.

        :param old: the pair before; ``None`` for the first one.
        :param reply: the token server's reply.
        :param now: Unix time.
        """
        return cls(
            access_token=reply.access_token,
            refresh_token=reply.refresh_token,
            generation=old.generation + 1 if old else 1,
            issued_at=now,
            expires_at=now + reply.expires_in,
            member_id=reply.member_id,
            server_endpoint=reply.server_endpoint or (old.server_endpoint if old else None),
            licence=old.licence if old else "",
        )

    @property
    def is_enterprise(self) -> bool:
        """Return whether the portal's plan is known, and is an Enterprise one (such as ``de_enterprise250``)."""
        return "ent" in {part[:3] for part in self.licence.lower().split("_")}

    @property
    def fingerprint(self) -> str:
        """Return what the refresh token can be told by, which says nothing about it."""
        return hashlib.sha256(self.refresh_token.encode()).hexdigest()[:16]

    def age_warning(self, now: float) -> str | None:
        """Return what is to be said about the refresh token's age; ``None`` for nothing.

        :param now: Unix time.
        """
        age = now - self.issued_at
        if age < DOUBTFUL_AGE:
            return None
        limit = "after 180 days" if age >= DANGEROUS_AGE else "after 180 days, and by older pages of Bitrix24 after 28"
        return (
            f"The refresh token has not been used for {age / DAY:.0f} days. An unused one stops working {limit}; "
            "then a person has to authorise the connection again. Have a small Dag use the connection each week."
        )
