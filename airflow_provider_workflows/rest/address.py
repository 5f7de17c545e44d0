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
_HOST_ALONE = "give the account's host name, as it stands between https:// and the next slash in a browser"
_PORTS = {"https": 443, "http": 80}


class FieldError(ValueError):
    """A field of a connection that cannot be used. Holds the field's name, never its value.

    :param field: the name that Airflow gives the field: ``host``, ``login``, ``password``, ``schema``, ``port``, or one
        of ``extra``; or an environment variable that stands in for it.
    :param fault: what is wrong with it, and what would be right; reads on after the name.
    """

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(field, fault)
        self.field = field
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.field} {self.fault}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an account is, or what one source says of it; ``None`` for what it does not say.

    :param scheme: ``https``, or ``http`` for a loopback host.
    :param host: host name or IP address.
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
        :raises FieldError: with the connection field's name, never its value: a credential may stand in it.
        """
        text = text.strip()
        if _is_ipv6(text):
            text = f"[{text}]"
        parts = split_address(text if "://" in text else f"//{text}")
        if parts.query or parts.fragment:
            raise FieldError("host", f"is not a valid address; {_HOST_ALONE}")
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
        words = ("scheme", "host", "port", "folder")
        differ = [word for word, pair in zip(words, pairs, strict=True) if None not in pair and pair[0] != pair[1]]
        if differ:
            raise ValueError(f"the fields contradict each other about the account's {' and '.join(differ)}")
        return Address(*(ours if ours is not None else theirs for ours, theirs in pairs))

    def url(self) -> str:
        """Return the base URL, the same however the address was written.

        :raises FieldError: with the connection field's name, never its value: a credential may stand in it.
        """
        host, scheme, path = (self.host or "").lower(), self.scheme or "https", self.path or ""
        if not host:
            raise FieldError("host", f"is empty; {_HOST_ALONE}")
        if not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise FieldError("host", "is not a host name or IP address")
        if scheme not in _PORTS:
            raise FieldError("schema", "must be 'https' (or 'http' for a loopback host)")
        if scheme == "http" and not _is_loopback(host):
            fault = "must not be 'http' except for loopback hosts: a credential would be sent in clear text"
            raise FieldError("schema", fault)
        if self.port is not None and not (re.fullmatch(r"[0-9]+", str(self.port)) and 0 < int(self.port) < 65536):
            raise FieldError("port", "is not a number from 1 to 65535")
        if not _PATH.fullmatch(path):
            raise FieldError("host", "holds a path that is no folder; give the account's host name")
        port = int(self.port or _PORTS[scheme])
        place = f"[{host}]" if ":" in host else host
        return f"{scheme}://{place}" + (f":{port}" if port != _PORTS[scheme] else "") + path


def base_url(host: str | None, scheme: str | None = None, port: int | None = None) -> str:
    """Return the URL under which an account is called.

    :param host: host name or IP address; scheme, port and folder may stand with it, as in ``https://intra.acme.com/b24``.
    :param scheme: ``https`` (default) or ``http``; the latter only for loopback hosts.
    :param port: port, if not the scheme's own.
    :raises FieldError: with the connection field's name, never its value: a credential may stand in it.
    """
    return Address.parse(host or "").joined(Address(scheme or None, port=port or None)).url()


def split_address(url: str) -> SplitResult:
    """Take a URL apart, so that each part of it can be read.

    :raises ValueError: if it is not a URL; unlike the library's, the text does not repeat it.
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
        raise FieldError("host", "is not a valid address")
    return parts


def _host_of(parts: SplitResult) -> str | None:
    # https://acme.bitrix24.com@evil.com is evil.com's.
    if "@" in parts.netloc:
        raise FieldError("host", "is not a valid address: there must be no user name before it")
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
