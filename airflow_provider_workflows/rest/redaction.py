"""Keeps credentials out of error texts and of the HTTP libraries' log lines."""

from __future__ import annotations

import logging
from urllib.parse import quote

MASK = "***"

#: Loggers of the HTTP libraries that print request paths, where a webhook code stands.
NOISY_LOGGERS = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")

_secrets: set[str] = set()


def register_secret(secret: str) -> None:
    """Have :func:`redact` and the HTTP libraries' loggers hide this value from now on.

    :param secret: the value as it is sent; its URL-quoted form is hidden too.
    """
    _secrets.update((secret, quote(secret, safe="")))
    for name in NOISY_LOGGERS:
        logging.getLogger(name).addFilter(_hide_secrets)


def redact(text: str) -> str:
    """Give the text with every registered secret replaced by ``***``."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _hide_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True
