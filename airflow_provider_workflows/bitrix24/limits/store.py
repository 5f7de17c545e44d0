"""Where a portal's bucket is kept, so that all processes of a host draw from one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket

log = logging.getLogger(__name__)


#: Every writing covers the one before it, however long that was.
SIZE = 128


class BucketStore(Protocol):
    """One portal's bucket, changed by one holder at a time."""

    def change(self, step: Callable[[Bucket | None], tuple[float, Bucket]]) -> float:
        """Replace the bucket by what ``step`` makes of it (``None`` if there is none yet), and give its number."""


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

    The file is locked by the operating system, which takes the lock from a holder that dies.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def change(self, step: Callable[[Bucket | None], tuple[float, Bucket]]) -> float:
        """Change the bucket under the file's lock."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number, bucket = step(_read(file.read()))
            file.seek(0)
            file.write(json.dumps(asdict(bucket)).encode().ljust(SIZE))
            return number


def _read(content: bytes) -> Bucket | None:
    try:
        return Bucket(**json.loads(content))
    except (ValueError, TypeError):
        # New, or its writer was killed half-way.
        return None


def store_for(portal_url: str) -> BucketStore:
    """Return the store that this host's processes share for a portal.

    :param portal_url: the portal's address; only its hash stands in the file's name.
    """
    folder = Path(tempfile.gettempdir()) / f"airflow-provider-workflows-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a private folder of this user")
    except OSError as error:
        log.warning("Pacing for this process only, as processes cannot share it: %s", error)
        return MemoryBucketStore()
    return FileBucketStore(folder / f"{hashlib.sha256(portal_url.encode()).hexdigest()[:16]}.json")
