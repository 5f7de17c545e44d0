"""The log lines of long work."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_workflows.rest.plans import Progress
from airflow_provider_workflows.rest.progress import ProgressLog, Stats


def test_a_line_tells_done_left_rate_refusals_pauses_and_the_estimated_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [100.0]
    log = ProgressLog(Stats(requests=9, refusals=2, paused=31.4), clock=lambda: now[0])
    log.show(Progress(0, 6000, "workflows"))
    now[0] += 20
    log.show(Progress(2000, 6000, "workflows"))
    assert caplog.messages == [
        "Workflows: 2000 of 6000 done, 4000 left, 100.0 a second, 2 refusals, 31 s paused; time left: about 0:00:40"
    ]


def test_there_is_a_line_every_fifteen_seconds_at_most(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    log = ProgressLog(Stats(), clock=lambda: now[0])
    for done in range(601):
        now[0] = done / 10
        log.show(Progress(done, 600, "workflows"))
    assert len(caplog.messages) == 4


def test_short_work_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = ProgressLog(Stats(), clock=lambda: 5.0)
    for done in range(10):
        log.show(Progress(done, 10, "workflows"))
    assert caplog.messages == []


def test_work_that_stands_still_has_no_estimated_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    log = ProgressLog(Stats(), clock=lambda: now[0])
    log.show(Progress(5, 10, "workflows"))
    now[0] = 60.0
    log.show(Progress(5, 10, "workflows"))
    assert caplog.messages[0].endswith("time left: unknown")
