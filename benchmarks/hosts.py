"""Workers on several hosts behind one address: processes that share no files, and whose clocks are far apart."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_workflows.bitrix24.calls import terminate_workflow
from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.portal import Portal, budget_name
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.records.store import RecordStore
from airflow_provider_workflows.rest.clock import Clock
from benchmarks.job import BATCH, CAPACITY, CODE, DRAIN, USER
from benchmarks.portal import ROOT, serve
from benchmarks.portal import Portal as Served
from tests.servers import NotInstalledError, Server, postgres_server, redis_server

#: Workflows to end, and seconds that the portal takes for them at best.
COUNT = 6_000
LIMIT = (COUNT / BATCH - CAPACITY) / DRAIN
PROCESSES = 4
#: Seconds from the slowest host's clock to the fastest one's.
APART = 30.0
#: Seconds after which something happens, and after which a run is given up.
MIDDLE, CAP = 10.0, 300.0
#: Seconds from one killed worker to the next.
KILLING = 3.0


@dataclass(frozen=True)
class Fleet:
    """Hosts, and what happens to them.

    :param key: short name.
    :param store: through what they share the limit: ``files``, ``redis`` or ``postgres``.
    :param hosts: how many there are, of four processes each.
    :param event: what happens in the middle.
    """

    key: str
    store: str
    hosts: int
    event: str = ""


FLEETS = (
    Fleet("files-2", "files", 2),
    Fleet("files-8", "files", 8),
    Fleet("redis-2", "redis", 2),
    Fleet("redis-8", "redis", 8),
    Fleet("postgres-2", "postgres", 2),
    Fleet("postgres-8", "postgres", 8),
    Fleet("workers-killed", "redis", 2, "workers are killed"),
    Fleet("redis-frozen", "redis", 2, "Redis is frozen for 10 s"),
    Fleet("redis-killed", "redis", 2, "Redis is killed for good"),
)


@dataclass(frozen=True)
class FleetRun:
    """What became of it.

    :param fleet: the hosts.
    :param seconds: until the last process was done.
    :param requests: HTTP requests that the portal saw.
    :param refused: how many of them it refused.
    :param ended: workflows that were ended, each once.
    :param warnings: the most warnings that one process logged.
    :param said: what went wrong, if anything did.
    """

    @property
    def ratio(self) -> float:
        """How many times as long it took as it must: for what is to be ended, or for what killed workers do again."""
        repeated = (self.requests - self.refused - CAPACITY) / DRAIN
        return self.seconds / (repeated if self.fleet.event.startswith("workers") else LIMIT)

    fleet: Fleet
    seconds: float
    requests: int
    refused: int
    ended: int
    warnings: int
    said: str


def measure_fleets(keys: tuple[str, ...] = ()) -> Iterator[FleetRun]:
    """Measure the fleets whose servers are installed.

    :param keys: only these; default: all.
    """
    for fleet in FLEETS:
        if not keys or fleet.key in keys:
            try:
                with _store_of(fleet) as server:
                    yield _measure(fleet, server)
            except NotInstalledError as error:
                print(f"skipped {fleet.key}: {error}", flush=True)


@contextmanager
def _store_of(fleet: Fleet) -> Iterator[Server | None]:
    run: dict[str, Callable[[], AbstractContextManager[Server]]] = {"redis": redis_server, "postgres": postgres_server}
    with ExitStack() as stack:
        yield stack.enter_context(run[fleet.store]()) if fleet.store in run else None


class _Worker:
    """A process on one of the hosts, which is begun anew when it is killed.

    :param portal: the portal.
    :param fleet: where it belongs.
    :param host: number of its host.
    :param ids: what it is to end.
    :param server: the store's server.
    """

    def __init__(self, portal: Served, fleet: Fleet, host: int, ids: list[str], server: Server | None) -> None:
        folder = str(Path(portal.environment["TMPDIR"]) / f"host-{host}")
        Path(folder).mkdir(exist_ok=True)
        self._environment = portal.environment | {"TMPDIR": folder, "HOME": folder}
        ahead = APART * (host / (fleet.hosts - 1) - 0.5)
        port = server.port if server else 0
        self._job = json.dumps({"url": portal.url, "ids": ids, "ahead": ahead, "store": fleet.store, "port": port})
        self.start()

    def start(self) -> None:
        """Begin, up to where it waits for the word."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.hosts"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(self._job)

    def await_ready(self) -> None:
        """Wait until it could begin."""
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"a worker did not start: {self.process.wait()}")

    def go(self) -> None:
        """Have it begin."""
        self._tell("go")

    def outcome(self) -> dict[str, Any]:
        """Wait for what it says."""
        while True:
            process = self.process
            assert process.stdout is not None
            if line := process.stdout.readline():
                outcome: dict[str, Any] = json.loads(line)
                return outcome
            if process.wait() and process is self.process:
                return {"error": f"exit code {process.returncode}", "warnings": 0}

    def replace(self) -> None:
        """Kill it, and begin anew with all that it had to do, as Airflow's retry does."""
        killed = self.process
        self.start()
        killed.kill()
        self.await_ready()
        self.go()

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


def _measure(fleet: Fleet, server: Server | None) -> FleetRun:
    with serve() as portal:
        control = portal.control
        control.configure(bucket_capacity=CAPACITY, bucket_drain=DRAIN)
        control.generate_workflows(COUNT)
        ids = list(control.state()["bitrix24"]["workflows"])
        batches = [ids[begin : begin + BATCH] for begin in range(0, COUNT, BATCH)]
        count = fleet.hosts * PROCESSES
        parts = [[id for batch in batches[number::count] for id in batch] for number in range(count)]
        workers = [_Worker(portal, fleet, number // PROCESSES, part, server) for number, part in enumerate(parts)]
        try:
            for worker in workers:
                worker.await_ready()
            begun = time.monotonic()
            for worker in workers:
                worker.go()
            over = threading.Event()
            happening = threading.Thread(target=_happen, args=(fleet, workers, server, over))
            happening.start()
            timer = threading.Timer(CAP, _kill, args=(workers,))
            timer.start()
            outcomes = [worker.outcome() for worker in workers]
            seconds = time.monotonic() - begun
            timer.cancel()
            over.set()
            happening.join()
        finally:
            _kill(workers)
            for worker in workers:
                worker.process.communicate()
        requests = control.requests("bitrix24")
        ended = Counter(effect["id"] for effect in control.journal("terminate"))
    assert set(ended.values()) <= {1}
    refused = sum(entry["http_status"] in (429, 503) for entry in requests)
    said = "; ".join({outcome["error"] for outcome in outcomes if "error" in outcome})
    warnings = max(outcome["warnings"] for outcome in outcomes)
    return FleetRun(fleet, seconds, len(requests), refused, len(ended), warnings, said)


def _kill(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()


def _happen(fleet: Fleet, workers: list[_Worker], server: Server | None, over: threading.Event) -> None:
    """Have happen what is to happen."""
    if not fleet.event or over.wait(MIDDLE):
        return
    if fleet.event.startswith("workers"):
        for worker in workers[::3]:
            worker.replace()
            if over.wait(KILLING):
                return
        return
    assert server is not None
    if "killed" in fleet.event:
        server.process.kill()
        return
    server.freeze()
    over.wait(MIDDLE)
    server.thaw()


class _SkewedClock(Clock):
    """A host's clock that is ahead of the others.

    :param ahead: by so many seconds.
    """

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def time(self) -> float:
        """Return the Unix time."""
        return super().time() + self._ahead


def _store(kind: str, port: int, clock: Clock) -> RecordStore:
    if kind == "redis":
        from airflow_provider_workflows.records.redis import RedisRecordStore

        return RedisRecordStore("Redis", host="127.0.0.1", port=port)
    if kind == "postgres":
        from sqlalchemy.engine import URL

        from airflow_provider_workflows.records.sql import SqlRecordStore

        url = URL.create("postgresql+psycopg2", "postgres", None, "127.0.0.1", port, "postgres")
        return SqlRecordStore("PostgreSQL", url)
    return host_store(clock.time)


class _Counting(logging.Handler):
    """Counts warnings."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        if "until it can be shared" in record.getMessage():
            self.count += 1
        print(record.getMessage(), file=sys.stderr)


def _work() -> None:
    """Do what a worker does: read a job, get ready, wait for the word, end workflows, say what came of it."""
    job = json.loads(sys.stdin.readline())
    counting = _Counting(logging.WARNING)
    logging.getLogger("airflow_provider_workflows").addHandler(counting)
    address = urlsplit(job["url"])
    portal = Portal.with_webhook(address.hostname, USER, CODE, address.scheme, address.port)
    clock = _SkewedClock(job["ahead"])
    store = _store(job["store"], job["port"], clock)
    limits, name = Limits(CAPACITY, DRAIN), budget_name(portal.base_url)
    # As the hook makes it.
    if job["store"] == "files":
        limiter = PortalRateLimiter(limits, store, name, portal.credential_id, clock=clock.time)
    else:
        limiter = PortalRateLimiter(
            limits.for_hosts(), store, name, portal.credential_id, away=host_store, clock=clock.time
        )
    client = Bitrix24Client(portal, limiter=limiter, clock=clock)
    print("ready", flush=True)
    sys.stdin.readline()
    outcome: dict[str, Any] = {}
    try:
        report = client.run(end_workflows(job["ids"], terminate_workflow))
        done = len(report.ended) + len(report.already_ended)
        if report.failed or done != len(job["ids"]):
            outcome["error"] = f"{len(report.failed)} failed, {done} of {len(job['ids'])} ended"
    except Exception as error:
        outcome["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(outcome | {"warnings": counting.count}), flush=True)


if __name__ == "__main__":
    _work()
