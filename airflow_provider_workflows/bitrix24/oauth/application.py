"""A local application of a portal."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from airflow_provider_workflows.rest.address import Address, FieldError, base_url, split_address
from airflow_provider_workflows.rest.redaction import escape_controls, register_secret

log = logging.getLogger(__name__)

#: The vendor's token servers, the first of them by default. A reply of one may name the other, and no other host.
TOKEN_HOSTS = ("oauth.bitrix.info", "oauth.bitrix24.tech")
TOKEN_PATH = "/oauth/token/"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Application:
    """A local application of a portal, as an Airflow connection describes it.

    :param base_url: the portal, e.g. ``https://acme.bitrix24.com``.
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
        """Return the name under which its tokens are stored, unlike any other application's."""
        whose = hashlib.sha256(f"{self.base_url} {self.client_id}".encode()).hexdigest()[:8]
        return f"bitrix24-tokens-{re.sub(r'[^A-Za-z0-9]', '-', self.conn_id)[:100]}-{whose}"

    def authorize_url(self, state: str) -> str:
        """Return the address at which a person lets the application act for them.

        :param state: comes back with the answer.
        """
        return f"{self.base_url}/oauth/authorize/?{urlencode({'client_id': self.client_id, 'state': state})}"

    def token_url_at(self, named: str | None) -> str:
        """Return the address of the token server.

        :param named: the address of a token server that a reply has named; followed only if it is one of
            :data:`TOKEN_HOSTS`, as the application's secret is sent there, and not where the connection names one.
        """
        if self.token_url:
            return self.token_url
        host = named and _host(named)
        if host and host not in TOKEN_HOSTS:
            log.warning(
                "The reply names a token server on %s, which is not Bitrix24's; it is not used", escape_controls(host)
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
    :raises ValueError: if the application's secret may not be sent there.
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
