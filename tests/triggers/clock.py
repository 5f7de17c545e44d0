"""Time for triggers: who sleeps is there at once, and something may happen while it sleeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.rest import clock as rest_clock
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.testing.tasks import revive

START = 1_900_000_000.0


class Clock(rest_clock.Clock):
    """A clock that jumps."""

    def __init__(self) -> None:
        self.now = START
        #: How long was slept each time.
        self.naps: list[float] = []
        self.most_naps = 800
        #: What happens while somebody sleeps for the n-th time, the first being 0.
        self.events: dict[int, Callable[[], Any]] = {}
        #: What happens each time.
        self.always: Callable[[int], Any] = lambda nap: None

    def monotonic(self) -> float:
        """Return the time of a clock that is never set."""
        return self.now

    def time(self) -> float:
        """Return the Unix time."""
        return self.now

    async def asleep(self, seconds: float) -> None:
        """Let time pass."""
        if not seconds:
            await asyncio.sleep(0)
            return
        nap = len(self.naps)
        assert nap < self.most_naps, "this goes on for ever"
        self.naps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
        for happens in (self.events.pop(nap, None), lambda: self.always(nap)):
            if happens:
                await asyncio.to_thread(happens)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have no trigger really sleep, and none wait for others to share its request with."""
    clock = Clock()
    monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 0.0)
    monkeypatch.setattr(AccountHook, "clock", clock)
    return clock


@pytest.fixture
def control(simulator: Simulator, connect: Callable[..., None]) -> Control:
    """Return the control of a simulator that is empty, and to which the default connections lead."""
    simulator.control.reset()
    settings = simulator.control.settings()
    connect("BITRIX24_DEFAULT", login="1", password=settings["webhook_code"])
    connect("DOMO_DEFAULT", password=settings["domo_token"])
    return simulator.control


def fire(trigger: BaseTrigger, seconds: float = 300.0) -> Any:
    """Run a trigger to its end, and give its only event's payload."""

    async def work() -> list[Any]:
        return [json.loads(json.dumps(event.payload)) async for event in revive(trigger).run()]

    (payload,) = asyncio.run(asyncio.wait_for(work(), seconds))
    return payload


__all__ = ["START", "Clock", "clock", "control", "fire", "revive"]
