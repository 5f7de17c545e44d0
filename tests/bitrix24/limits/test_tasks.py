"""Tasks at one portal, one or many, in virtual time: none fails, few are refused, and little time is lost."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.records.files import FileRecordStore
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT, Driver
from airflow_provider_workflows.rest.plans import Plan, send
from airflow_provider_workflows.rest.protocol import IN_FLIGHT
from airflow_provider_workflows.simulator.faults import Fault
from tests.virtual import BEGIN, PortalRuntime, VirtualPortal

TASKS = 150


@pytest.fixture
def portal() -> Iterator[VirtualPortal]:
    with VirtualPortal() as portal:
        portal.world.settings.bucket_capacity = 50
        portal.world.settings.latency_seconds = 0.3
        yield portal


def client(
    portal: VirtualPortal, store: RecordStore | None, limits: Limits | None = None, in_flight: int = IN_FLIGHT
) -> Driver[Call]:
    """Return what one task runs its plans with."""
    limiter = PortalRateLimiter(limits, store, clock=portal.clock.time)
    return Driver(portal.wire, PortalRuntime(portal), portal.clock, limiter=limiter, in_flight=in_flight)


def reads(count: int) -> Plan[list[Reply]]:
    """Read so often, one after the other."""
    replies: list[Reply] = []
    while len(replies) < count:
        replies += [(yield from send(calls.list_workflows()))]
    return replies


def run_all(portal: VirtualPortal, store: Callable[[], RecordStore | None], count: int) -> list[Any]:
    """Have all tasks read at once; return what they have read."""

    async def work() -> list[Any]:
        clients = [client(portal, store()) for _ in range(TASKS)]
        running = [one.run(reads(count), longest_pause=None, retry_timeout=RETRY_TIMEOUT) for one in clients]
        return await asyncio.gather(*running, return_exceptions=True)

    return portal.run(work())


def statuses(portal: VirtualPortal) -> Counter[int]:
    return Counter(request["http_status"] for request in portal.world.requests)


class TestOnOneHost:
    """They draw from one bucket, and wait in one queue."""

    @pytest.fixture
    def store(self, portal: VirtualPortal, tmp_path: Path) -> Callable[[], RecordStore]:
        return lambda: FileRecordStore(tmp_path / "own", portal.clock.time)

    def test_the_portal_never_refuses_and_no_time_is_lost(
        self, portal: VirtualPortal, store: Callable[[], RecordStore]
    ) -> None:
        assert [len(replies) for replies in run_all(portal, store, 4)] == [4] * TASKS
        assert statuses(portal) == {200: 4 * TASKS}
        assert portal.clock.monotonic() <= 1.02 * (4 * TASKS - 50) / 2

    @pytest.mark.parametrize("reads_each", [1, 4])
    def test_beside_an_application_that_takes_half_refusals_do_not_pile_up(
        self, portal: VirtualPortal, store: Callable[[], RecordStore], reads_each: int
    ) -> None:
        portal.world.settings.bucket_other = 1.0
        requests = TASKS * reads_each
        assert [len(replies) for replies in run_all(portal, store, reads_each)] == [reads_each] * TASKS
        assert statuses(portal)[503] < 0.03 * requests
        assert portal.clock.monotonic() <= 1.05 * (requests - 50) / 1.0

    def test_when_the_portal_says_how_long_to_wait_they_all_do(
        self, portal: VirtualPortal, store: Callable[[], RecordStore]
    ) -> None:
        portal.world.faults.add(Fault("refused", skip=30, options={"retry_after": 45}))
        run_all(portal, store, 1)
        (refused,) = [request["at"] for request in portal.world.requests if request["http_status"] == 503]
        later = [request["at"] - refused for request in portal.world.requests if request["at"] > refused + 1]
        assert min(later) >= 45
        assert len(later) >= TASKS - 50


def test_on_many_hosts_none_fails_and_each_logs_a_line_a_minute(
    portal: VirtualPortal, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a bucket of its own, so that refusals are all they know of each other."""
    caplog.set_level(logging.INFO)
    assert [len(replies) for replies in run_all(portal, lambda: None, 3)] == [3] * TASKS
    assert portal.clock.monotonic() <= 1.3 * (3 * TASKS - 50) / 2
    lines = [record for record in caplog.records if "Pausing" in record.message]
    assert 0 < len(lines) <= TASKS * (portal.clock.monotonic() / 60 + 1)
    assert statuses(portal)[503] > 2 * len(lines)


@pytest.mark.parametrize("capacity", [20, 50])
def test_a_task_alone_is_never_refused_and_loses_little_time(portal: VirtualPortal, capacity: int) -> None:
    portal.world.settings.bucket_capacity = capacity
    ids = portal.add_workflows(5000)
    task = client(portal, None, Limits(bucket_capacity=capacity))
    portal.run(task.run(end_workflows(ids, calls.terminate_workflow), longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    assert statuses(portal) == {200: 100}
    assert portal.clock.monotonic() <= 1.05 * (100 - capacity) / 2


@pytest.mark.parametrize(("count", "latency"), [(5000, 0.05), (7500, 0.3)])
def test_beside_an_application_that_takes_half_a_task_is_hardly_ever_refused(
    portal: VirtualPortal, count: int, latency: float
) -> None:
    portal.world.settings.change({"bucket_other": 1.0, "latency_seconds": latency})
    ids = portal.add_workflows(count)
    plan = end_workflows(ids, calls.terminate_workflow)
    portal.run(client(portal, None).run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    assert statuses(portal)[503] < 0.03 * len(portal.world.requests)
    assert portal.clock.monotonic() <= 1.05 * (count / 50 - 50) / 1.0


@pytest.mark.parametrize(("seconds", "in_flight", "allowed"), [(0.25, 16, 1.01), (0.5, 16, 1.01), (0.25, 4, 3.1)])
def test_on_a_slow_portal_as_many_requests_are_soon_under_way_as_help(
    portal: VirtualPortal, seconds: float, in_flight: int, allowed: float
) -> None:
    portal.world.settings.change({"command_seconds": seconds, "latency_seconds": 0.0})
    ids = portal.add_workflows(600)
    plan = end_workflows(ids, calls.terminate_workflow)
    task = client(portal, None, in_flight=in_flight)
    portal.run(task.run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    assert portal.clock.monotonic() <= allowed * 50 * seconds
    assert len(portal.world.requests) <= 1.5 * 600 / 50
    begins = [request["at"] for request in portal.world.requests]
    ends = [request["at"] + len(request["commands"]) * seconds for request in portal.world.requests]
    assert max(sum(begin <= at < end for begin, end in zip(begins, ends, strict=True)) for at in begins) <= in_flight


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        # 1,800 s of running time at 480 in ten minutes: the last of it is free after half an hour.
        ({"operating_per_command": 2.0}, 1800),
        # 480 s at sixteen at once, and the other 420 from when the first are forgotten.
        ({"method_seconds": {"bizproc.workflow.terminate": 1.0}}, 600 + 420 / 16),
        # The same with 1,800 s; the first batches are cut besides, which nobody could know.
        ({"method_seconds": {"bizproc.workflow.terminate": 2.0}}, 60 + 3 * 600 + 360 / 16),
    ],
)
def test_at_the_limit_of_running_time_little_time_is_lost(
    portal: VirtualPortal, settings: dict[str, Any], allowed: float
) -> None:
    portal.world.settings.change({"operating_model": "documented", **settings})
    ids = portal.add_workflows(900)
    plan = end_workflows(ids, calls.terminate_workflow)
    portal.run(client(portal, None).run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    assert portal.clock.monotonic() <= 1.11 * allowed


def test_workers_that_share_a_store_stay_below_the_limit_of_running_time_together(portal: VirtualPortal) -> None:
    portal.world.settings.change({"operating_model": "documented", "operating_per_command": 2.0})
    ids, store = portal.add_workflows(900), MemoryRecordStore(portal.clock.time)

    async def work() -> None:
        plans = [end_workflows(ids[nth::3], calls.terminate_workflow) for nth in range(3)]
        running = [client(portal, store).run(one, longest_pause=None, retry_timeout=RETRY_TIMEOUT) for one in plans]
        await asyncio.gather(*running)

    portal.run(work())
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    times = [request["at"] - BEGIN for request in portal.world.requests]
    assert [at for at in times if 10 < at % 601 < 600] == [], "nobody asks before the portal forgets what it counted"
    assert portal.clock.monotonic() <= 1.1 * 1800


def clear(folder: Path) -> None:
    shutil.rmtree(folder)


def make_unusable(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def mend(folder: Path) -> None:
    if folder.is_file():
        folder.unlink()


class Disturbed(FileRecordStore):
    """A store to which something happens in the middle, and is mended later."""

    def __init__(self, folder: Path, clock: Callable[[], float], disturb: Callable[[Path], None]) -> None:
        super().__init__(folder, clock)
        self._steps = {10: disturb, 30: mend}
        self.changes = 0

    def change(self, name: str, step: Any, *, keep_for: float | None = None) -> Any:
        self.changes += 1
        self._steps.get(self.changes, lambda _: None)(self._folder)
        return super().change(name, step, keep_for=keep_for)


@pytest.mark.parametrize("disturb", [clear, make_unusable])
def test_when_the_store_fails_in_the_middle_everything_is_killed_all_the_same(
    portal: VirtualPortal, tmp_path: Path, disturb: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids = portal.add_workflows(4000)
    store = Disturbed(tmp_path / "folder", portal.clock.time, disturb)
    plan = end_workflows(ids, calls.kill_workflow)
    portal.run(client(portal, store).run(plan, longest_pause=None, retry_timeout=RETRY_TIMEOUT))
    assert store.changes > 60
    assert Counter(effect["id"] for effect in portal.world.journal) == dict.fromkeys(ids, 1)
    assert statuses(portal) == {200: 80}
    said = [record.message for record in caplog.records if "rate limit is" in record.message]
    assert len(said) == (0 if disturb is clear else 2)
