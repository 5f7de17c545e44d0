"""Where a portal's bucket is kept, so that all processes of a host draw from one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket
from airflow_provider_workflows.rest.address import split_address

#: Every writing covers the one before it, however long that was.
SIZE = 512
#: Seconds to wait for the file at most, and between two tries. Who holds it needs microseconds, unless it is frozen.
LOCK_TIMEOUT, LOCK_RETRY = 2.0, 0.005

_bucket = TypeAdapter(Bucket)


class BucketStore(Protocol):
    """One portal's bucket, changed by one holder at a time."""

    def change(self, step: Callable[[Bucket | None], tuple[float, Bucket]]) -> float:
        """Replace the bucket by what ``step`` makes of it (``None`` if there is none yet), and return its number.

        :raises OSError: if the bucket cannot be had now; it may be had later.
        """


class MemoryBucketStore:
    """Keeps the bucket in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bucket: Bucket | None = None

    def change(self, step: Callable[[Bucket | None], tuple[float, Bucket]]) -> float:
        """Change the bucket under a lock."""
        with self._lock:
            number, self._bucket = step(self._bucket)
            return number


class FileBucketStore:
    """Keeps the bucket in a small file that all of the user's processes on this host share.

    The file is locked by the operating system, which takes the lock from a holder that dies, but not from one that is
    frozen: such a one is waited for once, and not again before it has given the file back.

    :param path: the file, in a folder of its own that is made when it is missing.
    :param monotonic: returns the time of a clock that is never set; for tests.
    :param sleep: waits; for tests.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._sleep = sleep
        self._frozen = False

    def change(self, step: Callable[[Bucket | None], tuple[float, Bucket]]) -> float:
        """Change the bucket under the file's lock."""
        with self._locked() as file:
            number, bucket = step(_read(file.read()))
            file.seek(0)
            file.write(_bucket.dump_json(bucket).ljust(SIZE))
            return number

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        _make_private(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            self._lock(descriptor)
            yield file

    def _lock(self, descriptor: int) -> None:
        latest = self._monotonic() + (0.0 if self._frozen else LOCK_TIMEOUT)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._monotonic() >= latest:
                    self._frozen = True
                    raise TimeoutError(f"{self._path} is held by another process, which may be frozen") from None
            else:
                self._frozen = False
                return
            self._sleep(random.uniform(0, 2 * LOCK_RETRY))  # noqa: S311


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")


def _read(content: bytes) -> Bucket | None:
    try:
        return _bucket.validate_json(content)
    except ValidationError:
        # New, or its writer was killed half-way.
        return None


def store_for(portal_url: str) -> BucketStore:
    """Return the store that this host's processes share for a portal.

    :param portal_url: the portal's address, however it is written; only its hash stands in the file's name.
    """
    name = hashlib.sha256(_portal_key(portal_url).encode()).hexdigest()[:16]
    return FileBucketStore(_temporary() / f"airflow-provider-workflows-{os.getuid()}" / f"{name}.json")


def _portal_key(portal_url: str) -> str:
    parts = split_address(portal_url)
    host = (parts.hostname or "").rstrip(".")
    return f"{host}:{parts.port or {'http': 80}.get(parts.scheme, 443)}{parts.path.rstrip('/')}"


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path("/tmp")  # noqa: S108 None can be written to now; one may later.
