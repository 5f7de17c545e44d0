"""What earlier tries of a task have ended, so that the report of its retry holds it too."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.tasks.run_state import RunState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

ENDED, PERHAPS = "ended", "perhaps_ended"
#: Ids under one key: Airflow wants a value to be smaller than 64 kB.
IDS_PER_KEY = 1000
#: Seconds after which notes are stored, so that little is lost when the worker dies.
INTERVAL = 15.0


class EarlierTries:
    """What was ended in one run of a task, kept in Airflow's task state store from 3.3 on, or else in the log.

    It counts for the retries of one run of the task. When the task is cleared, it starts anew.
    """

    def __init__(self, context: Context, clock: Clock) -> None:
        self._clock = clock
        self._state = RunState(context)
        self._ids = self._read(ENDED)
        self._perhaps = self._read(PERHAPS)
        self._known = set(self._ids)
        self._kept = self._tried = len(self._ids)
        self._tried_at = self._clock.monotonic()
        self._lock = Lock()

    @property
    def ended(self) -> list[str]:
        """Ids that earlier tries of this run have ended."""
        return self._ids.copy()

    @property
    def perhaps_ended(self) -> list[str]:
        """Ids that the try before may have ended: replies were lost, and what became of them was not found out."""
        return [id for id in self._perhaps if id not in self._known]

    def note(self, id: str) -> None:
        """Note that one was ended, and store the notes if they are many or old."""
        with self._lock:
            self._add([id])
            news = len(self._ids) - self._tried
            if news >= IDS_PER_KEY or self._clock.monotonic() - self._tried_at >= INTERVAL:
                self._keep()

    def keep(self, report: EndReport) -> None:
        """Store all notes, and what a report says may have been ended."""
        with self._lock:
            self._add(report.ended)
            self._keep()
            perhaps = [id for id in report.unsettled if id not in self._known]
            if perhaps != self._perhaps and self._write(PERHAPS, perhaps, 0):
                self._perhaps = perhaps

    def _add(self, ids: Iterable[str]) -> None:
        news = [id for id in ids if id not in self._known]
        self._ids += news
        self._known.update(news)

    def _keep(self) -> None:
        self._tried, self._tried_at = len(self._ids), self._clock.monotonic()
        if self._kept < len(self._ids) and self._write(ENDED, self._ids, self._kept):
            self._kept = len(self._ids)

    def _read(self, key: str) -> list[str]:
        ids: list[str] = []
        while len(ids) % IDS_PER_KEY == 0 and (kept := self._state.get(f"{key}_{len(ids) // IDS_PER_KEY}")):
            ids += kept
        return ids

    def _write(self, key: str, ids: Sequence[str], first: int) -> bool:
        """Write the ids from the first new one on. An error is logged: the work goes on without.

        :returns: whether that was done.
        """
        if not self._state.kept:
            for start in range(first, len(ids), IDS_PER_KEY):
                log.info("%s: %s", key.replace("_", " ").capitalize(), " ".join(ids[start : start + IDS_PER_KEY]))
            return True
        try:
            # The last key holds less than it may: that is where the next try stops to read.
            for nth in range(first // IDS_PER_KEY, len(ids) // IDS_PER_KEY + 1):
                self._state.set(f"{key}_{nth}", ids[nth * IDS_PER_KEY : (nth + 1) * IDS_PER_KEY])
        except Exception:
            log.warning("What was ended could not be stored for the report of a retry", exc_info=True)
            return False
        return True
