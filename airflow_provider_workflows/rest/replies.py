"""Reading what a server sends, without trusting it: JSON, texts, and how long to wait."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from pydantic_core import from_json

from airflow_provider_workflows.rest.address import split_address

#: The longest wait that a server may ask for, in seconds: no documented block lasts longer.
LONGEST_WAIT = 600.0
#: Characters that are kept of a text in a reply.
LONGEST_TEXT = 1000


def read_json(content: bytes) -> Any:
    """Return what a reply holds.

    :returns: the JSON value; ``None`` if it is not JSON, or unusable: nested hundreds of levels
        deep, with NaN, or with half a character.
    """
    try:
        return from_json(content.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return None


def read_text(value: Any) -> str | None:
    """Return a text of a reply, whatever it is, cut to what a log line can hold; ``None`` for nothing."""
    text = str(value or "")
    return (text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…") or None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to wait: at most :data:`LONGEST_WAIT`; ``None`` if it does not ask.

    :param headers: the reply's headers, whose ``Retry-After`` holds seconds or an HTTP date.
    """
    said = headers.get("Retry-After", "")
    try:
        seconds = float(said)
    except ValueError:
        then = _date(said)
        if then is None:
            return None
        # The server's clock counts, not ours.
        seconds = (then - (sent_at(headers) or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), LONGEST_WAIT) if isfinite(seconds) else None


def redirected_to(headers: Mapping[str, str]) -> str:
    """Return where a server redirects to: only the host, as the rest of the address may repeat a credential."""
    try:
        host = split_address(headers.get("Location", "")).hostname
    except ValueError:
        host = None
    return f"redirected to {host or 'an unnamed host'}"


def sent_at(headers: Mapping[str, str]) -> datetime | None:
    """Return when a reply was sent, by the server's clock; ``None`` if it does not say."""
    return _date(headers.get("Date", ""))


def _date(said: str) -> datetime | None:
    try:
        then = parsedate_to_datetime(said)
        return then.replace(tzinfo=then.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
