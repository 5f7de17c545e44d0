"""What all record stores have in common."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.redaction import escape_controls
from airflow_provider_workflows.rest.threads import in_thread

T = TypeVar("T")

#: Is given a record's content (``None``: there is none yet) and the store's time (Unix seconds), and returns a result
#: and the new content (``None``: as it was). It may be called several times, so it must change nothing else.
Step = Callable[[bytes | None, float], tuple[T, bytes | None]]

#: Seconds to wait for an answer of a store.
TIMEOUT = 2.0
#: Seconds after which a driver gives up what is waited for no longer; only then is the store tried again.
DRIVER_TIMEOUT = 10.0
#: Seconds until a change that lost to another one is tried again: at first, and at most.
RETRY, LONGEST_RETRY = 0.01, 0.3
#: Seconds for which it is tried again.
PATIENCE = 30.0


class RecordStoreError(ProviderError, OSError):
    """A record cannot be read or written at the moment.

    :param store: what the store is called.
    :param why: what happened; the first line of it is shown.
    """

    retry_helps = True

    def __init__(self, store: str, why: str) -> None:
        super().__init__(store, why)
        self.store = store
        self.why = escape_controls(why.strip().partition("\n")[0])

    @property
    def what(self) -> str:
        """What went wrong."""
        return f"{self.store}: {self.why}"


class RecordStore(Protocol):
    """Named records, each changed by one holder at a time. Safe for threads. Its ``str`` says where they are kept."""

    def change(self, name: str, step: Step[T], *, keep_for: float | None = None) -> T:
        """Replace a record's content by what a step makes of it. May block for seconds.

        :param name: the record's name: letters, digits and dashes, no more than 200.
        :param step: makes the new content, which is not empty and does not end in a space. If a reply of the store is
            lost, it may be done though an error is raised, or be done twice.
        :param keep_for: seconds for which the record must be kept when nobody changes it; default: for ever.
        :returns: the step's result.
        :raises OSError: if it cannot be read or written now; it may be later.
        """


class MemoryRecordStore:
    """Keeps records in this process.

    :param clock: returns the Unix time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, bytes] = {}

    def __str__(self) -> str:
        return "the memory of this process"

    def change(self, name: str, step: Step[T], *, keep_for: float | None = None) -> T:  # noqa: ARG002
        """Change a record under a lock."""
        with self._lock:
            result, content = step(self._records.get(name), self._clock())
            if content is not None:
                self._records[name] = content
            return result


class CompareAndSetStore(ABC):
    """A store on a server. Nobody ever holds a record: a change is made of what was read, and counts if it is still so.

    So a killed or frozen worker never blocks the others. A server that does not answer is waited for once,
    and not again before the driver has given it up.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._unanswered: Future[Any] | None = None

    @abstractmethod
    def _read(self, name: str) -> tuple[bytes | None, float]:
        """Return a record's content and the server's Unix time.

        :raises RecordStoreError: if it cannot be read or written now.
        """

    @abstractmethod
    def _write(self, name: str, old: bytes | None, new: bytes, keep_for: float | None) -> bool:
        """Replace a record's content; return whether it was still the old one.

        :raises RecordStoreError: if it cannot be read or written now.
        """

    def change(self, name: str, step: Step[T], *, keep_for: float | None = None) -> T:
        """Change a record as soon as no other change comes before."""
        latest = time.monotonic() + PATIENCE
        if not self._one_at_a_time.acquire(timeout=PATIENCE):
            raise RecordStoreError(str(self), "other threads wait for it")
        try:
            # The more others are at it, the longer the pauses.
            longest = RETRY
            while not (done := self._bounded(lambda given_up: self._try(name, step, keep_for, given_up))):
                if time.monotonic() >= latest:
                    raise RecordStoreError(str(self), f"other workers kept changing it first, for {PATIENCE:g} s")
                time.sleep(random.uniform(0, longest))  # noqa: S311
                longest = min(2 * longest, LONGEST_RETRY)
            return done[0]
        finally:
            self._one_at_a_time.release()

    def _try(self, name: str, step: Step[T], keep_for: float | None, given_up: threading.Event) -> tuple[T] | tuple[()]:
        """Try a change once; return its result, or nothing if another one came before."""
        old, now = self._read(name)
        result, new = step(old, now)
        done = given_up.is_set() or new is None or new == old or self._write(name, old, new, keep_for)
        return (result,) if done else ()

    def _bounded(self, work: Callable[[threading.Event], T]) -> T:
        """Do work that waits for the server, for a limited time.

        :param work: called with an event that is set when its result is not needed any more.
        """
        if self._unanswered and not self._unanswered.done():
            raise RecordStoreError(str(self), "it has still not answered")
        given_up = threading.Event()
        self._unanswered = working = in_thread(lambda: work(given_up))
        try:
            return working.result(TIMEOUT)
        except TimeoutError:
            raise RecordStoreError(str(self), f"no answer within {TIMEOUT:g} s") from None
        finally:
            given_up.set()
