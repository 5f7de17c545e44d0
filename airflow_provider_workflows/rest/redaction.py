"""Keeps credentials out of error texts, of tracebacks' variables and of the HTTP libraries' log lines."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar
from urllib.parse import quote

MASK = "***"

#: Loggers of the HTTP libraries that print request paths, where a webhook code stands.
NOISY_LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.util.retry",
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
)

#: Whatever begins a new line, commands a terminal, turns the direction of what is read, or cannot be written as UTF-8.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)

P = ParamSpec("P")
R = TypeVar("R")

_secrets: set[str] = set()


def register_secret(secret: str) -> None:
    """Hide this value in :func:`redact` and in the HTTP libraries' log lines from now on.

    :param secret: the value as it is sent; its URL-quoted form is hidden too.
    """
    _secrets.update((secret, quote(secret, safe="")))
    for name in NOISY_LOGGERS:
        logging.getLogger(name).addFilter(_hide_secrets)


def redact(text: str) -> str:
    """Return the text with every registered secret replaced by ``***``."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def escape_controls(text: str) -> str:
    """Return the text with control characters escaped: texts of others must not forge lines, or hide what they say.

    :param text: a text that somebody else wrote.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _hide_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


def _bare(error: BaseException) -> BaseException:
    """Remove the frames of an exception and of its causes."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def hide_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Remove a function's frames from whatever it raises: their variables hold a credential.

    Some loggers and test runners print the variables of every frame. What the exception says must be enough.

    :param function: a function that is given a credential, or handles one.
    """

    @functools.wraps(function)
    def hidden(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # also a task's timeout, which strikes anywhere
            failure = _bare(error)
        del args, kwargs
        raise failure

    return hidden


def ahide_frames(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Do for a coroutine function what :func:`hide_frames` does for a function."""

    @functools.wraps(function)
    async def hidden(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except BaseException as error:  # also a cancellation
            failure = _bare(error)
        del args, kwargs
        raise failure

    return hidden
