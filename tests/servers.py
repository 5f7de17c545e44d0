"""Real servers for tests and benchmarks, where they are installed: each on a free port, with a folder of its own."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Not a test's own, which only its user may enter.
_TEMPORARY = tempfile.gettempdir()


class NotInstalledError(Exception):
    """The server is not installed on this machine."""


@dataclass
class Server:
    """A server that runs.

    :param port: where it listens on 127.0.0.1.
    :param folder: where it keeps what it knows.
    :param process: what is to be signalled to stop, freeze or kill it.
    :param start: starts it again, with what it knew.
    """

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    start: Callable[[], subprocess.Popen[bytes]] = field(repr=False)

    def kill(self) -> None:
        """End it at once, as a machine that breaks down does."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again."""
        self.process = self.start()

    def freeze(self) -> None:
        """Have it take nothing in any more, though its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(port: int | None = None, *options: str) -> Iterator[Server]:
    """Run a Redis without a password.

    :param port: where it is to listen; default: where nobody does.
    :param options: further ones of its command line.
    """
    program, port = _found("redis-server"), port or free_port()
    with _folder() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        with _running([*command, *options], folder, port) as server:
            yield server


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Run a PostgreSQL with the user and database ``postgres`` and no password."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    where = os.pathsep.join([*(str(path) for path in reversed(programs)), os.environ.get("PATH", "")])
    initdb, postgres = _found("initdb", where), _found("postgres", where)
    with _folder("postgres") as folder:
        data, port, user = folder / "data", free_port(), _as("postgres")
        options = ["--auth=trust", "--username=postgres", "--no-sync", "--locale=C", "--encoding=UTF8"]
        subprocess.run([initdb, "-D", str(data), *options], check=True, capture_output=True, cwd=folder, **user)
        command = [postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        with _running(command, folder, port, **user) as server:
            yield server


@contextmanager
def mariadb_server() -> Iterator[Server]:
    """Run a MariaDB with the user ``root``, no password and the database ``test``."""
    mariadbd, install = _found("mariadbd"), _found("mariadb-install-db")
    with _folder("mysql") as folder:
        port, user = free_port(), _as("mysql")
        data = ["--no-defaults", f"--datadir={folder}/data"]
        options = ["--auth-root-authentication-method=normal"]
        subprocess.run([install, *data, *options], check=True, capture_output=True, cwd=folder, **user)
        (folder / "init.sql").write_text("create database if not exists test;\n")
        options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/s"]
        command = [mariadbd, *data, *options, f"--init-file={folder}/init.sql"]
        with _running(command, folder, port, **user) as server:
            yield server


def free_port() -> int:
    """Return a port on which nobody listens, and which the system gives to nobody who asks it for any."""
    while True:
        port = random.randint(20_000, 32_000)  # noqa: S311
        with socket.socket() as listening, suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


def _found(program: str, where: str | None = None) -> str:
    path = shutil.which(program, path=where or f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if path is None:
        raise NotInstalledError(f"{program} is not installed")
    return path


@contextmanager
def _folder(user: str | None = None) -> Iterator[Path]:
    """Make a folder for a server; it is that user's where the server refuses to be root's."""
    with tempfile.TemporaryDirectory(prefix="server-", dir=_TEMPORARY) as name:
        folder = Path(name)
        if user and not os.getuid():
            shutil.chown(folder, user)
        yield folder


def _as(user: str) -> dict[str, Any]:
    return {} if os.getuid() else {"user": user}


@contextmanager
def _running(command: list[str], folder: Path, port: int, **options: Any) -> Iterator[Server]:
    def start() -> subprocess.Popen[bytes]:
        log = folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, **options)
        _await_ready(process, log)
        return process

    server = Server(port, folder, start(), start)
    try:
        yield server
    finally:
        server.kill()


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it says so itself: PostgreSQL takes connections before, and refuses whoever comes."""
    latest = time.monotonic() + 300
    while time.monotonic() < latest and process.poll() is None:
        if re.search(r"(?i)ready (to accept|for) connections", log.read_text()):
            return
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{process.args!r} does not get ready: {log.read_text()[-2000:]}")
