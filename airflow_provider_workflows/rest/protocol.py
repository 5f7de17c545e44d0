"""What drivers, wires and transports agree on. Knows no HTTP library."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

from airflow_provider_workflows.rest.errors import InvalidCallError, ReplyLostError, UnreadableReplyError

#: Requests under way at once at most, unless set in the connection.
IN_FLIGHT = 16
#: Requests under way at once, whatever is set.
MOST_IN_FLIGHT = 32

C_contra = TypeVar("C_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How requests are made.

    :param connect_timeout: seconds for making a connection.
    :param read_timeout: seconds without a byte of the reply. Bitrix24 cuts a request after 60 s; a shorter time would
        lose replies that are still to come.
    :param total_timeout: seconds for a request and its whole reply.
    :param max_reply_size: bytes that a decoded reply may have; 64 MiB.
    :param verify: path of the certificates to trust, a file or a folder; default: what the environment names, or the
        usual ones. Certificates are always checked.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 70.0
    total_timeout: float = 180.0
    max_reply_size: int = 64 * 2**20
    verify: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; what may hold a credential is not shown. Its body is JSON, or a form."""

    http_method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; what may repeat a credential is not shown."""

    http_status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class Wire(Protocol[C_contra]):
    """How one vendor's calls look on the wire."""

    def request(self, call: C_contra) -> Request:
        """Return the HTTP request that makes the call."""

    def result(self, call: C_contra, response: Response) -> Any:
        """Return the call's result.

        :raises ApiError: if the response is not a success.
        """


class RateLimiter(Generic[C_contra]):
    """When calls may be sent; this one lets them go at once. Called from several threads; may block for moments."""

    def acquire(self, call: C_contra) -> Iterator[float]:  # noqa: ARG002
        """Reserve a place for the call when the first wait is asked for.

        :returns: seconds to wait, one wait after the other; when there is none more, the call is to be sent.
        :raises ApiError: if it must not be sent now; ``retry_after`` says when.
        """
        return iter(())

    def release(self, call: C_contra, outcome: Any) -> None:
        """Learn from what became of the call: its result, or an ``ApiError``."""


def encode_body(call: str, request: Request) -> tuple[dict[str, str], bytes | None]:
    """Return the headers and the content of a request.

    :raises InvalidCallError: if its body is no JSON.
    """
    headers = {**request.headers, "Accept-Encoding": "gzip"}
    if request.form is not None:
        return {**headers, "Content-Type": "application/x-www-form-urlencoded"}, urlencode(request.form).encode()
    if request.body is None:
        return headers, None
    try:
        body = json.dumps(request.body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidCallError(call, text=f"the arguments hold what JSON does not have: {error}") from None
    return {**headers, "Content-Type": "application/json"}, body


class ReplyBody:
    """Decodes a reply piece by piece, and never more of it than is allowed.

    :param max_size: bytes that it may have when it is decoded.
    :raises UnreadableReplyError: if it comes in an encoding that was not asked for.
    """

    def __init__(self, call: str, headers: Mapping[str, str], max_size: int) -> None:
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise UnreadableReplyError(call, text="the reply comes in an encoding that was not asked for")
        self._call = call
        self._left = max_size
        self._gzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece as it came.

        :raises UnreadableReplyError: if it is more than allowed, or cannot be decoded.
        """
        ended = self._gzip is not None and self._gzip.eof
        try:
            # What comes after the end counts as well: zlib would keep all of it.
            decoded = piece if self._gzip is None or ended else self._gzip.decompress(piece, self._left + 1)
        except zlib.error:
            raise UnreadableReplyError(self._call, text="the reply is no valid gzip") from None
        self._left -= len(decoded)
        if self._left < 0:
            raise UnreadableReplyError(self._call, text="the reply is larger than max_reply_size")
        if not ended:
            self._pieces.append(decoded)

    def content(self) -> bytes:
        """Return the whole.

        :raises ReplyLostError: if the end is missing.
        """
        if self._gzip is not None and self._pieces and not self._gzip.eof:
            raise ReplyLostError(self._call, text="the connection ended before a whole reply came")
        return b"".join(self._pieces)
