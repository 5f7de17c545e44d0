"""The address of an account: which hosts and schemes may be sent a credential."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import astuple, dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
#: Folders; none that begins with a dot, as ``..`` leads to another application.
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Address:
    """Where an account is, or what one source says of it; ``None`` for what it does not say.

    :param scheme: ``https``, or ``http`` for a loopback host.
    :param host: host name or IP address.
    :param port: port.
    :param path: folder in which a self-hosted application lies, e.g. ``/b24``.
    """

    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host name, an IP address, or a URL of which no more than host, port and folder may be given.

        :param text: as a person writes it, or as a browser shows it.
        :raises ValueError: with the connection field's name, never its value: a credential may stand in it.
        """
        text = text.strip()
        if _is_ipv6(text):
            text = f"[{text}]"
        parts = split_address(text if "://" in text else f"//{text}")
        if parts.query or parts.fragment:
            raise ValueError("host is not a valid address; give the account's host name, e.g. acme.bitrix24.com")
        return cls(parts.scheme or None, _host_of(parts), parts.port, parts.path.rstrip("/") or None)

    @classmethod
    def of_url(cls, parts: SplitResult, path: str) -> Self:
        """Return the address that a whole URL gives: all of it is said.

        :param parts: the URL.
        :param path: the part of its path that belongs to the address.
        """
        return cls(parts.scheme, _host_of(parts), parts.port or _PORTS.get(parts.scheme), path)

    def joined(self, other: Address) -> Address:
        """Return what two sources say together.

        :param other: what the other one says.
        :raises ValueError: if they contradict each other.
        """
        pairs = [*zip(astuple(self), astuple(other), strict=True)]
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise ValueError("the connection's fields give different addresses (scheme, host, port or folder)")
        return Address(*(ours if ours is not None else theirs for ours, theirs in pairs))

    def url(self) -> str:
        """Return the base URL, the same however the address was written.

        :raises ValueError: with the connection field's name, never its value: a credential may stand in it.
        """
        host, scheme, path = (self.host or "").lower(), self.scheme or "https", self.path or ""
        if not host:
            raise ValueError("host is empty; give the account's host name, e.g. acme.bitrix24.com")
        if not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise ValueError("host is not a host name or IP address")
        if scheme not in _PORTS:
            raise ValueError("schema must be 'https' (or 'http' for a loopback host)")
        if scheme == "http" and not _is_loopback(host):
            raise ValueError("schema 'http' is only for loopback hosts: a credential would be sent in clear text")
        if self.port is not None and not (re.fullmatch(r"[0-9]+", str(self.port)) and 0 < int(self.port) < 65536):
            raise ValueError("port is not a number from 1 to 65535")
        if not _PATH.fullmatch(path):
            raise ValueError("host holds a path that is no folder; give the account's host name")
        port = int(self.port or _PORTS[scheme])
        place = f"[{host}]" if ":" in host else host
        return f"{scheme}://{place}" + (f":{port}" if port != _PORTS[scheme] else "") + path


def base_url(host: str | None, scheme: str | None = None, port: int | None = None) -> str:
    """Return the URL under which an account is called.

    :param host: host name or IP address; scheme, port and folder may stand with it, as in ``https://intra.acme.com/b24``.
    :param scheme: ``https`` (default) or ``http``; the latter only for loopback hosts.
    :param port: port, if not the scheme's own.
    :raises ValueError: with the connection field's name, never its value: a credential may stand in it.
    """
    return Address.parse(host or "").joined(Address(scheme or None, port=port or None)).url()


def split_address(url: str) -> SplitResult:
    """Take a URL apart, so that each part of it can be read.

    :param url: the URL.
    :raises ValueError: if it is none; unlike the library's, the text does not repeat it.
    """
    try:
        # The library drops line breaks and tabs from within.
        if not re.fullmatch(r"[!-~]*", url.strip()):
            raise ValueError
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None:
        raise ValueError("host is not a valid address")
    return parts


def _host_of(parts: SplitResult) -> str | None:
    # https://acme.bitrix24.com@evil.com is evil.com's.
    if "@" in parts.netloc:
        raise ValueError("host is not a valid address: there must be no user name before it")
    return parts.hostname or None


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
