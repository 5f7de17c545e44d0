"""The log lines of long work: how far it is, how fast it goes, what holds it up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_workflows.rest.plans import Pause, Progress

log = logging.getLogger(__name__)

#: Seconds between two lines.
INTERVAL = 15.0
#: Seconds between two lines on pauses; a pause of this many seconds is a warning of its own.
LONG_PAUSE = 60.0


@dataclass(slots=True)
class Stats:
    """What a client has done so far.

    :param requests: HTTP requests sent.
    :param refusals: those of them that the server refused for now.
    :param paused: seconds waited after refusals and failures, and for running time.
    """

    requests: int = 0
    refusals: int = 0
    paused: float = 0.0


class ProgressLog:
    """Logs the progress of one plan, a line every 15 s at most.

    :param clock: returns seconds.
    """

    def __init__(self, stats: Stats, clock: Callable[[], float]) -> None:
        self._stats = stats
        self._clock = clock
        self._what = ""
        self._shown = 0.0
        self._done = 0

    def show(self, step: Progress) -> None:
        """Log how far the work is, at most every 15 s."""
        now = self._clock()
        if step.what != self._what:
            self._what, self._shown, self._done = step.what, now, step.done
        if now - self._shown < INTERVAL:
            return
        rate = (step.done - self._done) / (now - self._shown)
        left = step.total - step.done
        self._shown, self._done = now, step.done
        log.info(
            "%s: %d of %d done, %d left, %.1f a second, %d refusals, %.0f s paused; time left: %s",
            step.what.capitalize(), step.done, step.total, left, rate, self._stats.refusals, self._stats.paused,
            f"about {timedelta(seconds=round(left / rate))}" if rate > 0 else "unknown",
        )  # fmt: skip


class PauseLog:
    """Logs what holds one plan up, a line a minute at most, and each long pause.

    :param clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shown: float | None = None

    def show(self, pause: Pause, until: datetime) -> None:
        """Log a pause, at most once a minute unless it is long.

        :param until: when it is over.
        """
        now = self._clock()
        long = pause.seconds >= LONG_PAUSE
        if not long and self._shown is not None and now - self._shown < LONG_PAUSE:
            return
        self._shown = now
        log.log(
            logging.WARNING if long else logging.INFO,
            "Pausing for %.1f s, going on at %s: %s", pause.seconds, f"{until:%H:%M:%S} UTC", pause.reason,
        )  # fmt: skip
