"""PauseTrigger: fires when the time has come, and not before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_workflows.triggers.pause import PauseTrigger
from tests.triggers.clock import START, Clock, fire

#: What the task goes on with comes back.
EVENT = {"status": "success", "checkpoint": "c0ffee"}


def test_it_fires_when_the_time_has_come(clock: Clock) -> None:
    assert fire(PauseTrigger(until=START + 600, checkpoint="c0ffee")) == EVENT
    assert clock.naps == [600.0]


@pytest.mark.parametrize("until", [START, START - 5000, 0.0])
def test_after_a_restart_that_took_longer_it_fires_at_once(clock: Clock, until: float) -> None:
    assert fire(PauseTrigger(until=until, checkpoint="c0ffee")) == EVENT
    assert clock.now == START


def test_it_is_kept_as_a_moment_and_not_as_a_duration() -> None:
    assert PauseTrigger(until=5.5, checkpoint="c0ffee").serialize() == (
        "airflow_provider_workflows.triggers.pause.PauseTrigger",
        {"until": 5.5, "checkpoint": "c0ffee"},
    )


def test_cancelled_it_ends_at_once_with_the_message() -> None:
    async def work() -> None:
        running: asyncio.Future[Any] = asyncio.ensure_future(anext(PauseTrigger(until=9e9, checkpoint="c0ffee").run()))
        await asyncio.sleep(0.01)
        running.cancel("the user did it")
        with pytest.raises(asyncio.CancelledError, match="the user did it"):
            await asyncio.wait_for(running, 300)

    asyncio.run(work())
