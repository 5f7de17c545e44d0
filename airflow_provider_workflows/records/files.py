"""Records in files that all of the user's processes on one host share."""

from __future__ import annotations

import fcntl
import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TypeVar

from airflow_provider_workflows.records.store import TIMEOUT, Step

T = TypeVar("T")

#: Seconds between two tries to have a file, at most: at first, and at last. Who holds it needs less than a millisecond,
#: unless it is frozen.
FIRST_RETRY, LAST_RETRY = 0.0005, 0.01


class FileRecordStore:
    """Keeps each record in a small file.

    The file is locked by the operating system, which takes the lock from a holder that dies, but not from one that is
    frozen: such a one is waited for once, and not again before it has given the file back.

    :param folder: a folder for nothing else, which is created when it is missing.
    :param clock: returns the Unix time.
    :param monotonic: returns the time of a clock that is never set; for tests.
    :param sleep: waits; for tests.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._frozen: set[str] = set()

    def __str__(self) -> str:
        return f"the files of this host in {self._folder}"

    def change(self, name: str, step: Step[T], *, keep_for: float | None = None) -> T:  # noqa: ARG002
        """Change a record under its file's lock."""
        with self._locked(name) as file:
            old = file.read()
            result, new = step(old.rstrip(b" ") or None, self._clock())
            if new is not None:
                file.seek(0)
                # Every writing covers the one before it: there is no moment at which a part of it is left.
                file.write(new.ljust(len(old)))
            return result

    @contextmanager
    def _locked(self, name: str) -> Iterator[FileIO]:
        _make_private(self._folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._folder / f"{name}.json", flags, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            self._lock(name, descriptor)
            yield file

    def _lock(self, name: str, descriptor: int) -> None:
        latest = self._monotonic() + (0.0 if name in self._frozen else TIMEOUT)
        retry = FIRST_RETRY
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._monotonic() >= latest:
                    self._frozen.add(name)
                    text = f"a file in {self._folder} is locked by another process, which may be frozen"
                    raise TimeoutError(text) from None
            else:
                self._frozen.discard(name)
                return
            self._sleep(random.uniform(0, retry))  # noqa: S311
            retry = min(2 * retry, LAST_RETRY)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")


def host_store(clock: Callable[[], float] = time.time) -> FileRecordStore:
    """Return the store that this user's processes on this host share.

    :param clock: returns the Unix time.
    """
    return FileRecordStore(_temporary() / f"airflow-provider-workflows-{os.getuid()}", clock)


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108 None can be written to now; one may later.
