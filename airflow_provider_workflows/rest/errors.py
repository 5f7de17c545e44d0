"""Errors: why an API call returned no result.

Two base classes carry the one thing a caller must know before it sends a call again:
:class:`NotProcessedError` (surely not done) and :class:`UnknownOutcomeError` (perhaps done).
Every other error is the server's final word.
"""

from __future__ import annotations

from airflow_provider_workflows import docs_link
from airflow_provider_workflows.rest.redaction import escape_controls, redact


class ProviderError(Exception):
    """The root of all errors of this package."""

    #: Whether the same can succeed later with nothing changed by a person.
    retry_helps: bool = False
    #: What the reader can do about it.
    advice: str = ""
    #: Which connection was used, and which host it leads to; said by hooks and operators.
    where: str = ""

    def __str__(self) -> str:
        where = f"{self.where}, " if self.where else ""
        told = _sentence(f"{self.advice}\n{where}{self._happened}".strip())
        # At the end, with nothing after it: Airflow's log view makes a link of all that follows an address.
        return f"{told} See {self.docs}"

    @property
    def what(self) -> str:
        """What went wrong."""
        return super().__str__()

    @property
    def _happened(self) -> str:
        return self.what

    @property
    def message(self) -> str:
        """What went wrong and what to do about it, in one line, for use within other texts."""
        return f"{_sentence(self._happened)} {self.advice}" if self.advice else self._happened

    @property
    def docs(self) -> str:
        """Where the docs say what it means, and what to do."""
        return docs_link(f"errors.md#{type(self).__name__.lower()}")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


class ArgumentError(ProviderError, ValueError):
    """An argument that cannot be right; nothing is sent."""


class ApiError(ProviderError):
    """An API call that returned no result. Its text says what to do and, on a second line, what went wrong and where.

    :param call: name of the call, e.g. ``bizproc.workflow.terminate``.
    :param code: the vendor's error code as sent, which may be ``""`` or ``"0"``; ``None`` if there was none.
    :param http_status: HTTP status of the reply; ``None`` without a reply or for a command inside a batch.
    :param text: the vendor's text, in the portal's language, or what happened on the way.
    :param trace: Domo's ``toe`` code, to be quoted to Domo's support.
    :param retry_after: seconds to wait before the call is sent again, where the server said so.
    """

    def __init__(
        self,
        call: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        text: str | None = None,
        trace: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(call)
        self.call = call
        self.code = escape_controls(redact(code)) if code else code
        self.http_status = http_status
        self.text = escape_controls(redact(text)) if text else text
        self.trace = escape_controls(redact(trace)) if trace else trace
        self.retry_after = retry_after

    @property
    def _happened(self) -> str:
        return f"{self.call}: {self.what}"

    @property
    def reason(self) -> str:
        """What went wrong and what to do about it, without the call's name, in one line."""
        return f"{self.what} {self.advice}".strip()

    @property
    def what(self) -> str:
        """What went wrong, without the call's name and what to do about it."""
        parts = [
            f"HTTP {self.http_status}" if self.http_status else "",
            f"error code {self.code!r}" if self.code is not None else "",
            self.text or "",
            f"trace code (toe) {self.trace}" if self.trace else "",
        ]
        return _sentence(", ".join(part for part in parts if part) or type(self).__name__)


class NotProcessedError(ApiError):
    """The call was surely not done; sending it again later is safe, whatever it does."""

    retry_helps = True


class NotConnectedError(NotProcessedError):
    """No connection to the server was made."""

    advice = "Check the host in the connection, and DNS, proxy and firewall between the worker and it."


class RateLimitError(NotProcessedError):
    """Too many requests in too short a time."""

    advice = "Other applications share this limit; run fewer tasks at once against this account."


class StoppedError(ApiError):
    """The task was told to end, so the call was not sent."""

    retry_helps = True


class UnknownOutcomeError(ApiError):
    """The call may or may not have been done; read the state before sending it again."""

    retry_helps = True


class ReplyLostError(UnknownOutcomeError):
    """The request was sent, but the connection ended or timed out before a whole reply came."""


class ServerError(UnknownOutcomeError):
    """The server failed while it worked on the call."""


class UnreadableReplyError(UnknownOutcomeError):
    """The reply was not what the API promises: HTML, cut JSON, or a missing field."""

    advice = "Check that the host in the connection answers itself, not a proxy or a sign-in page."


class RejectedError(ApiError):
    """The server looked at the call and said no."""


class AuthenticationError(RejectedError):
    """The credential is not accepted."""

    advice = "Check the credential in the connection: a webhook or token may have been deleted, replaced or mistyped."


class AccessDeniedError(RejectedError):
    """The credential's user may not do this."""

    advice = "Give the credential's user the right to do this, or use another's credential."


class InvalidCallError(RejectedError):
    """The server did not accept the arguments of the call."""


class RedirectedError(RejectedError):
    """The server answered with a redirect, which is never followed with credentials."""

    advice = "Set the host in the connection to the address that answers without a redirect."


#: The error for an HTTP status, where nothing else is known.
STATUSES: dict[int, type[ApiError]] = {
    400: InvalidCallError,
    401: AuthenticationError,
    403: AccessDeniedError,
    429: RateLimitError,
}


def class_by_status(http_status: int) -> type[ApiError]:
    """Return the class of an error by the reply's HTTP status alone.

    :param http_status: HTTP status.
    """
    if http_status < 300:
        return UnreadableReplyError
    return STATUSES.get(http_status) or (ServerError if http_status >= 500 else RejectedError)
