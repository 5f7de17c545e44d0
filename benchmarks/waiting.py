"""A thousand sensors that wait for workflows of one portal, in one event loop, as in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.job import CAPACITY, DRAIN
from benchmarks.memory import peak
from benchmarks.portal import ROOT, Portal, serve

#: Each contestant, and for how much of the time it is measured.
CONTESTANTS = {"this provider": 1.0, "one request a sensor": 0.3}
#: The same process without a sensor, beside each of them: what the machine and Airflow do to an event loop.
IDLE = "idle"
#: Sensors whose workflow appears in each interval.
APPEARING = 5


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    :param sensors: how many wait, each for workflows of a template of its own.
    :param interval: seconds between two polls.
    :param seconds: for how long.
    """

    sensors: int = 1000
    interval: float = 30.0
    seconds: float = 300.0


@dataclass(frozen=True)
class Wait:
    """What waiting took.

    :param contestant: whose.
    :param seconds: for how long it was measured.
    :param requests: HTTP requests in all.
    :param most: HTTP requests in the interval with the most, after the first.
    :param refused: how many the portal refused.
    :param appeared: sensors whose workflow appeared long enough before the end.
    :param seen: how many of them have fired.
    :param latest: seconds between a workflow's appearance and the latest of their events.
    :param blocked: longest time that the event loop was blocked after all had started, in milliseconds.
    :param collecting: how long of that at most was Python's garbage collector.
    :param blocked_at_start: the same as ``blocked`` while they started.
    :param idle: the same as ``blocked``, of an idle process beside it.
    :param mebibytes: peak of resident memory above that before the start.
    """

    contestant: str
    seconds: float
    requests: int
    most: int
    refused: int
    appeared: int
    seen: int
    latest: float
    blocked: float
    collecting: float
    blocked_at_start: float
    mebibytes: float
    idle: float


def measure_waiting(scale: Scale) -> list[Wait]:
    """Measure all contestants in turn.

    :param scale: how much.
    """
    return [_measure(name, scale, scale.seconds * part) for name, part in CONTESTANTS.items()]


def _measure(contestant: str, scale: Scale, seconds: float) -> Wait:
    with serve() as portal:
        portal.control.configure(bucket_capacity=CAPACITY, bucket_drain=DRAIN)
        with _process(IDLE, scale, portal) as idle, _process(contestant, scale, portal) as child:
            assert child.stdout is not None
            assert idle.stdout is not None
            child.stdout.readline()
            idle.stdout.readline()
            begun = time.time()
            fired: dict[int, float] = {}
            reader = threading.Thread(target=_read, args=(child, fired), daemon=True)
            reader.start()
            appeared = _appear(portal, scale, begun + seconds)
            requests = portal.control.requests("bitrix24")
            told, alone = _stop(child), _stop(idle)
            reader.join(60)
    # All poll at whole multiples of the interval; the first ones come while the sensors start.
    rounds = Counter(int(entry["at"] // scale.interval) for entry in requests)
    first = int(begun // scale.interval) + 1
    delays = [fired[number] - at for number, at in appeared.items() if number in fired]
    return Wait(
        contestant,
        seconds,
        len(requests),
        max(count for number, count in rounds.items() if number > first),
        sum(entry["http_status"] in (429, 503) for entry in requests),
        len(appeared),
        len(delays),
        max(delays, default=float("nan")),
        **told,
        idle=alone["blocked"],
    )


def _stop(process: subprocess.Popen[str]) -> dict[str, float]:
    """End a process, and return what it has measured."""
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("stop\n")
    process.stdin.flush()
    told: dict[str, float] = json.loads(process.stderr.read().splitlines()[-1])
    return told


def _appear(portal: Portal, scale: Scale, end: float) -> dict[int, float]:
    """Have workflows appear at random moments, and give when that was for each sensor."""
    chance = random.Random(1)
    sensors = iter(chance.sample(range(scale.sensors), scale.sensors))
    appeared: dict[int, float] = {}
    time.sleep(scale.interval)
    while time.time() < end - scale.interval - 6:
        time.sleep(chance.uniform(0, 2 * scale.interval / APPEARING))
        sensor = next(sensors)
        appeared[sensor] = time.time()
        portal.control.add_workflows([{"TEMPLATE_ID": _template(sensor)}])
    time.sleep(max(0.0, end - time.time()))
    return appeared


def _template(sensor: int) -> int:
    return 1000 + sensor


@contextmanager
def _process(contestant: str, scale: Scale, portal: Portal) -> Iterator[subprocess.Popen[str]]:
    """Start the sensors in a process of their own."""
    address = urlsplit(portal.url)
    code = portal.control.settings()["webhook_code"]
    sensors = 0 if contestant == IDLE else scale.sensors
    place = {"conn_type": "bitrix24", "host": address.hostname, "port": address.port, "login": "1", "password": code}
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiting", contestant, str(sensors), str(scale.interval)],
        cwd=ROOT,
        env=portal.environment | {"AIRFLOW_CONN_BITRIX24_DEFAULT": json.dumps(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _read(child: subprocess.Popen[str], fired: dict[int, float]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        match line.split():
            case ["fired", sensor, at]:
                fired[int(sensor)] = float(at)


async def _main(contestant: str, sensors: int, interval: float) -> None:
    from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
    from airflow_provider_workflows.triggers.bitrix24 import RunningWorkflowsTrigger

    if contestant == "one request a sensor":
        AsyncBitrix24Client._send = lambda self, call, purpose: self._driver.attempt(call, purpose)  # type: ignore[method-assign]

    async def wait(sensor: int) -> None:
        trigger = RunningWorkflowsTrigger(
            bitrix24_conn_id="bitrix24_default",
            filters={"TEMPLATE_ID": _template(sensor)},
            stuck_for=None,
            min_count=1,
            max_count=None,
            poll_interval=interval,
            deadline=None,
        )
        async for event in trigger.run():
            assert event.payload["status"] == "success", event
            print("fired", sensor, time.time(), flush=True)

    before, blocks = peak(), _Blocks()
    watch = asyncio.create_task(blocks.watch())
    tasks = []
    for sensor in range(sensors):
        tasks.append(asyncio.create_task(wait(sensor)))
        await asyncio.sleep(0)  # as the triggerer does
    print("started", flush=True)
    await asyncio.sleep(interval)
    at_start, blocks.longest, blocks.collecting = blocks.longest, 0.0, 0.0
    await asyncio.to_thread(sys.stdin.readline)
    watch.cancel()
    told = {
        "blocked": blocks.longest * 1000,
        "collecting": blocks.collecting * 1000,
        "blocked_at_start": at_start * 1000,
        "mebibytes": (peak() - before) / 1024,
    }
    for task in tasks:
        task.cancel()
    print(json.dumps(told), file=sys.stderr, flush=True)


class _Blocks:
    """Tells for how long an event loop was blocked."""

    def __init__(self) -> None:
        self.longest = self.collecting = self._began = 0.0
        gc.callbacks.append(self._collected)

    async def watch(self) -> None:
        """Sleep again and again, and see how late it wakes."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.perf_counter() - begun - 0.01)

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.collecting = max(self.collecting, time.perf_counter() - self._began)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
