"""What earlier tries of a task have ended, so that the report of its retry holds it too."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.tasks.run_state import RunState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

KEY = "ended"
#: Ids under one key: Airflow wants a value to be smaller than 64 kB.
IDS_PER_KEY = 1000
#: Seconds after which news are kept, so that little is lost when the worker dies.
INTERVAL = 15.0


class EarlierTries:
    """The ids that were ended in one run of a task, kept in Airflow's task state store from 3.3 on, or else in the log.

    They count for the retries of one run of the task. When the task is cleared, it starts anew.

    :param context: the task's context.
    :param clock: the time.
    """

    def __init__(self, context: Context, clock: Clock) -> None:
        self._clock = clock
        self._state = RunState(context)
        self._ids: list[str] = self._read()
        self._known = set(self._ids)
        self._seen = 0
        self._kept_at = self._clock.monotonic()
        self._lock = Lock()

    @property
    def ended(self) -> list[str]:
        """Ids that earlier tries of this run have ended."""
        return self._ids.copy()

    def keep(self, report: EndReport, *, now: bool = False) -> None:
        """Keep what a report says was ended, if there are many news, or they are old.

        An error is logged: the work goes on without.

        :param report: the report.
        :param now: do so in any case.
        """
        with self._lock:
            fresh = len(report.ended) - self._seen
            if not now and fresh < IDS_PER_KEY and self._clock.monotonic() - self._kept_at < INTERVAL:
                return
            news = [id for id in report.ended[max(0, self._seen) :] if id not in self._known]
            self._seen, self._kept_at = len(report.ended), self._clock.monotonic()
            if not news:
                return
            first = len(self._ids) // IDS_PER_KEY
            self._ids += news
            self._known.update(news)
            try:
                self._write(first, news)
            except Exception:
                log.warning("What was ended could not be kept for a retry's report", exc_info=True)

    def _read(self) -> list[str]:
        ids: list[str] = []
        while len(ids) % IDS_PER_KEY == 0 and (kept := self._state.get(f"{KEY}_{len(ids) // IDS_PER_KEY}")):
            ids += kept
        return ids

    def _write(self, first: int, news: list[str]) -> None:
        if not self._state.kept:
            for start in range(0, len(news), IDS_PER_KEY):
                log.info("Ended: %s", " ".join(news[start : start + IDS_PER_KEY]))
            return
        for nth in range(first, -(-len(self._ids) // IDS_PER_KEY)):
            self._state.set(f"{KEY}_{nth}", self._ids[nth * IDS_PER_KEY : (nth + 1) * IDS_PER_KEY])
