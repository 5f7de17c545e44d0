"""A task that is told to end while it kills many: a real process, a real signal, as each Airflow sends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_workflows.simulator import Control, Simulator

#: Half a minute of work, as they are paced: however busy the machine is, the signal comes in the middle.
COUNT = 2400
WORKER = """
import json, logging, signal, sys

from airflow_provider_workflows.operators.{vendor} import *

logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)


class TaskInstance:
    dag_id, run_id, task_id, map_index, try_number, max_tries = "d", "r", "t", -1, 1, 0

    def xcom_push(self, key, value):
        with open({pushed!r}, "a") as file:
            file.write(json.dumps([key, value]) + "\\n")


task = {task}


def told(number, frame):
    task.on_kill()
    if {raises}:
        raise KeyboardInterrupt  # Airflow 2 raises an error of its own here


signal.signal(signal.SIGTERM, told)
if {timeout}:
    class Timeout(BaseException):
        pass

    def struck(number, frame):
        raise Timeout

    signal.signal(signal.SIGALRM, struck)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.setitimer(signal.ITIMER_REAL, 0.001))
task.execute({{"ti": TaskInstance()}})
"""
KILL = "KillWorkflowOperator(task_id='t', workflow_id={ids}, record_path={record!r})"
CANCEL = "DomoCancelOperator(task_id='t', instance_id={ids}, record_path={record!r})"


@pytest.fixture
def simulator() -> Any:
    """Return a simulator that really takes its time, so that there is a middle to be killed in."""
    with Simulator() as simulator:
        yield simulator


@contextmanager
def worker(simulator: Simulator, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker."""
    connections = simulator.connections()
    connections["bitrix24_default"]["extra"] = {"in_flight": 4}
    variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(it) for name, it in connections.items()}
    environment = {**os.environ, **variables, "TMPDIR": tempfile.gettempdir()}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while the process runs."""
    latest = time.monotonic() + 300
    while not seen() and time.monotonic() < latest and process.poll() is None:
        time.sleep(0.05)


def run_and_tell(simulator: Simulator, code: str, done: Callable[[], int]) -> str:
    """Run a worker, and tell it to end when it has done something."""
    with worker(simulator, code) as process:
        wait_until(lambda: done() >= 20, process)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=300)
    assert process.returncode != 0
    return log


def report_in(pushed: Path) -> dict[str, Any]:
    """Return the report that the worker has pushed last."""
    xcoms = [json.loads(line) for line in pushed.read_text().splitlines()]
    report: dict[str, Any] = dict(xcoms)["return_value"]
    return report


HOW = [
    pytest.param({"raises": False, "timeout": False}, id="as Airflow 3 kills"),
    pytest.param({"raises": True, "timeout": False}, id="as Airflow 2 kills"),
    pytest.param({"raises": False, "timeout": True}, id="execution_timeout"),
]


def workflows_ended(control: Control) -> set[str]:
    """Return the ids of the workflows that were killed."""
    return {entry["id"] for entry in control.journal("kill")}


@pytest.mark.parametrize("how", HOW)
def test_nothing_new_is_sent_and_the_report_is_true(simulator: Simulator, tmp_path: Path, how: dict[str, bool]) -> None:
    control = simulator.control
    ids = control.add_workflows([{"TEMPLATE_ID": 7}] * COUNT)
    control.inject("slow", containing="bizproc.workflow.kill", skip=8, seconds=3, times=None, done=True)
    pushed, record = tmp_path / "xcoms", tmp_path / "record.jsonl"
    task = KILL.format(ids=ids, record=str(record))
    code = WORKER.format(vendor="bitrix24", pushed=str(pushed), task=task, **how)
    log = run_and_tell(simulator, code, lambda: len(control.journal("kill")))

    ended = workflows_ended(control)
    assert 0 < len(ended) < COUNT, log
    report = report_in(pushed)
    assert (report["requested"], report["ended"], report["failed"]) == (COUNT, len(ended), COUNT - len(ended))
    assert set(report["ended_ids"]) <= ended
    assert f"Of {COUNT} requested: {len(ended)} ended" in log
    events = [json.loads(line) for line in record.read_text().splitlines()]
    assert {line["id"] for line in events if line["event"] == "about to end"} == set(ids)
    assert {line["id"] for line in events if line["event"] == "ended"} == ended


def test_what_is_known_is_pushed_at_once_as_airflow_3_does_not_wait_for_what_is_under_way(
    simulator: Simulator, tmp_path: Path
) -> None:
    control = simulator.control
    ids = control.add_workflows([{"TEMPLATE_ID": 7}] * COUNT)
    control.inject("slow", method="batch", skip=4, seconds=3000, times=None, done=True)
    pushed = tmp_path / "xcoms"
    code = WORKER.format(
        vendor="bitrix24",
        pushed=str(pushed),
        task=f"KillWorkflowOperator(task_id='t', workflow_id={ids})",
        raises=False,
        timeout=False,
    )
    with worker(simulator, code) as process:
        # The fifth batch leaves only after a reply has been read.
        wait_until(lambda: len(control.journal("kill")) > 200, process)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: pushed.exists() and "return_value" in pushed.read_text(), process)
        process.kill()
    report = report_in(pushed)
    assert (report["requested"], 0 < report["ended"] <= 200) == (COUNT, True)


def test_so_it_is_with_domo(simulator: Simulator, tmp_path: Path) -> None:
    control = simulator.control
    ids = control.add_domo_instances([{"status": "IN_PROGRESS"}] * 600)
    control.inject("slow", vendor="domo", method="cancel", skip=40, seconds=0.5, times=None, done=True)
    pushed, record = tmp_path / "xcoms", tmp_path / "record.jsonl"
    task = CANCEL.format(ids=ids, record=str(record))
    code = WORKER.format(vendor="domo", pushed=str(pushed), task=task, raises=False, timeout=False)
    run_and_tell(simulator, code, lambda: len(control.journal("cancel")))

    cancelled = {entry["id"] for entry in control.journal("cancel")}
    assert 0 < len(cancelled) < len(ids)
    report = report_in(pushed)
    assert (report["ended"], set(report["ended_ids"])) == (len(cancelled), cancelled)
    assert report["requested"] == report["ended"] + report["failed"] == len(ids)
