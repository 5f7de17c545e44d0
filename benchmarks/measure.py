"""Measuring one contestant in one scenario. What was sent and done is read from the portal, not from the client."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.bitrix24.calls import WORKFLOW_FIELDS
from airflow_provider_workflows.simulator import Control
from benchmarks.job import CAPACITY, DRAIN, Job
from benchmarks.portal import ROOT, Portal, serve
from benchmarks.scenarios import Scenario

#: In every scenario.
USUAL = ("the limit", "this provider", "b24pysdk", "fast-bitrix24")
#: The portal cuts every request then.
LONGEST_REQUEST = 60.0


@dataclass(frozen=True)
class Measurement:
    """What one contestant did.

    :param contestant: its name.
    :param seconds: until the last process was done, or stopped.
    :param requests: HTTP requests that the portal saw.
    :param refused: how many of them the portal refused (503, 429).
    :param ended: workflows that were really ended.
    :param done: whether the whole job was done.
    :param said: what the contestant says, or why it is not done.
    """

    contestant: str
    seconds: float
    requests: int
    refused: int
    ended: int
    done: bool
    said: str


def measure(scenario: Scenario) -> Iterator[Measurement]:
    """Measure all contestants in turn, as often as the scenario says, and give the middle run of each."""
    rounds = [
        {name: _measure_once(scenario, name) for name in (*USUAL, *scenario.variants)} for _ in range(scenario.runs)
    ]
    for name in rounds[0]:
        runs = sorted((one[name] for one in rounds), key=lambda run: run.seconds)
        yield runs[len(runs) // 2]


def _measure_once(scenario: Scenario, contestant: str) -> Measurement:
    with serve() as portal:
        control = portal.control
        control.configure(bucket_capacity=CAPACITY, bucket_drain=DRAIN, **scenario.settings)
        control.generate_workflows(scenario.count)
        jobs = _jobs(scenario, contestant, portal)
        seconds, outcomes = _run(contestant, jobs, portal, scenario.cap)
        _let_finish(control)
        requests = control.requests("bitrix24")
        ended = len(control.journal("terminate"))
    refused = sum(entry["http_status"] in (429, 503) for entry in requests)
    if scenario.action == "list":
        done = all(outcome.get("said") == f"{scenario.count:,} rows" for outcome in outcomes)
    else:
        done = ended == scenario.count and all("said" in outcome for outcome in outcomes)
    said = "; ".join(dict.fromkeys(outcome.get("said") or outcome["error"] for outcome in outcomes))
    return Measurement(contestant, seconds, len(requests), refused, ended, done, said)


def _let_finish(control: Control) -> None:
    """Wait for what the portal still works on after a contestant has given up."""
    latest = time.monotonic() + LONGEST_REQUEST
    while time.monotonic() < latest and any(entry["http_status"] is None for entry in control.requests("bitrix24")):
        time.sleep(0.5)


def _jobs(scenario: Scenario, contestant: str, portal: Portal) -> list[Job]:
    ids = list(portal.control.state()["bitrix24"]["workflows"]) if scenario.action == "end" else []
    # The limit is the same for one process and for several on one host.
    processes = 1 if contestant == "the limit" and scenario.action == "end" else scenario.processes
    return [
        Job(
            scenario.action,
            portal.url,
            list(WORKFLOW_FIELDS),
            ids[number::processes],
            scenario.limits,
            drain_left=DRAIN - scenario.settings.get("bucket_other", 0.0),
            command_seconds=scenario.settings.get("command_seconds", 0.0),
        )
        for number in range(processes)
    ]


def _run(contestant: str, jobs: list[Job], portal: Portal, cap: float) -> tuple[float, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "benchmarks.contestants", contestant]
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=portal.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in jobs
    ]
    try:
        for process, job in zip(processes, jobs, strict=True):
            _tell(process, json.dumps(job.json()))
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{contestant} did not start: {process.communicate()[1]}")
        lines: queue.Queue[tuple[int, str]] = queue.Queue()
        for number, process in enumerate(processes):
            threading.Thread(target=_listen, args=(number, process, lines), daemon=True).start()
        begun = time.monotonic()
        for process in processes:
            _tell(process, "go")
        said: dict[int, str] = {}
        while len(said) < len(processes):
            try:
                number, line = lines.get(timeout=max(0.0, begun + cap - time.monotonic()))
            except queue.Empty:
                break
            said[number] = line
        seconds = time.monotonic() - begun
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    stopped = {"error": f"stopped after {cap:.0f} s"}
    outcomes = [json.loads(said[number]) if said.get(number) else stopped for number in range(len(processes))]
    return seconds, outcomes


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _listen(number: int, process: subprocess.Popen[str], lines: queue.Queue[tuple[int, str]]) -> None:
    assert process.stdout is not None
    lines.put((number, process.stdout.readline()))
