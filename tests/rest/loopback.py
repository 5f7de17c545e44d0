"""A server on loopback that answers with any bytes, or not at all."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

#: Instead of an answer: say nothing, and keep the connection open.
HANG = b"HANG"
#: Instead of an answer: reset the connection.
RESET = b"RESET"
_held: list[socket.socket] = []


class Trickle(bytes):
    """Send this, and then a byte now and then, for as long as the other side stays."""


def http(body: bytes = b"{}", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP response; with a false length if wanted."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Loopback:
    """The server and what it saw."""

    def __init__(self, answer: Callable[[bytes], bytes], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.append(connection)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while request := _read_request(connection):
                self.requests.append(request)
                answer = self.answer(request)
                if answer == HANG:
                    return
                if isinstance(answer, Trickle):
                    connection.sendall(answer)
                    while True:
                        time.sleep(0.02)
                        connection.sendall(b"x")
                if answer == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                connection.sendall(answer)
                if b"\r\nContent-Length:" not in answer or _cut(answer):
                    break
            connection.close()


@contextlib.contextmanager
def loopback(answer: Callable[[bytes], bytes], tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Serve while the block lasts.

    :param answer: gives the bytes to answer a request with; or ``HANG`` or ``RESET``.
    :param tls: speak TLS.
    """
    server = Loopback(answer, tls)
    try:
        yield server
    finally:
        server.close()


def closed_port() -> int:
    """Return a port at which nothing listens, nor will: it is held, so that no test beside this one is given it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port


def _read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request or _cut(request):
        some = connection.recv(65536)
        if not some:
            return b""
        request += some
        if request.startswith(b"\x16"):  # TLS, to a server that does not speak it
            break
    return request


def _cut(message: bytes) -> bool:
    """Whether the body is shorter than it is said to be."""
    head, _, body = message.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return length is not None and len(body) < int(length[1])
