"""The address of an account: which hosts and schemes may be sent a credential."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def base_url(host: str | None, scheme: str | None = None, port: int | None = None) -> str:
    """Return the URL of an account's host, with no path.

    :param host: host name or IP address, nothing else.
    :param scheme: ``https`` (default) or ``http``; the latter only for loopback hosts.
    :param port: port, if not the scheme's own.
    :raises ValueError: with the connection field's name, never its value: a credential may stand in it.
    """
    if not host:
        raise ValueError("host is empty; give the account's host name, e.g. acme.bitrix24.com")
    if not _HOST.fullmatch(host):
        raise ValueError("host is not a host name; give it without scheme, path or port")
    scheme = scheme or "https"
    if scheme not in {"https", "http"}:
        raise ValueError("schema must be 'https' (or 'http' for a loopback host)")
    if scheme == "http" and not _is_loopback(host):
        raise ValueError("schema 'http' is only for loopback hosts: a credential would be sent in clear text")
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def split_address(url: str) -> SplitResult:
    """Take a URL apart, so that each part of it can be read.

    :param url: the URL.
    :raises ValueError: if it is none; unlike the library's, the text does not repeat it.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None:
        raise ValueError("host is not a valid address")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
