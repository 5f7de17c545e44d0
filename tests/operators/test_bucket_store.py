"""Tasks whose processes cannot share a bucket any more: what is to be ended is ended all the same."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from airflow_provider_workflows.operators.bitrix24 import KillWorkflowOperator
from airflow_provider_workflows.records.files import FileRecordStore
from airflow_provider_workflows.simulator import Control


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that processes share."""
    folder = tmp_path / f"airflow-provider-workflows-{os.getuid()}"
    folder.mkdir(mode=0o700)
    return folder


def kill_all(control: Control, context: Any, count: int = 600) -> None:
    """Kill workflows, and see in the portal that it was done, once each."""
    ids = control.add_workflows([{}] * count)
    report = KillWorkflowOperator(task_id="kill", workflow_id=ids).execute(context)
    assert (report["ended"], report["failed"]) == (count, 0)
    assert Counter(effect["id"] for effect in control.journal("kill")) == dict.fromkeys(ids, 1)


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("The rate limit is kept by this process alone")


def clear(folder: Path) -> None:
    shutil.rmtree(folder)


def replace(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


@pytest.mark.parametrize(("disturb", "warned"), [(clear, 0), (replace, 1)])
def test_the_folder_is_cleared_or_unusable_in_the_middle(
    control: Control,
    context: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    disturb: Callable[[Path], None],
    warned: int,
) -> None:
    change, calls, one_at_a_time = FileRecordStore.change, Counter[str](), Lock()

    def disturbed(self: FileRecordStore, *arguments: Any, **options: Any) -> Any:
        with one_at_a_time:
            calls["change"] += 1
            if calls["change"] == 5:
                disturb(folder)
            return change(self, *arguments, **options)

    monkeypatch.setattr(FileRecordStore, "change", disturbed)
    kill_all(control, context)
    assert calls["change"] > 8
    assert warnings(caplog) == warned


def test_the_disk_is_full_from_the_beginning(
    control: Control, context: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(fcntl, "flock", full)
    kill_all(control, context)
    assert warnings(caplog) == 1
    assert "No space left" in caplog.text


HOLD = """
import fcntl, sys, time
files = [open(name, "r+b") for name in sys.argv[1:]]
for file in files: fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def frozen_holder(control: Control, context: Any, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process hold the portal's file, and stop it as a debugger or a suspended container does."""
    kill_all(control, context, 1)
    files = [str(file) for file in folder.iterdir()]
    assert len(files) == 1
    with subprocess.Popen([sys.executable, "-c", HOLD, *files], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        yield holder
        holder.kill()


def test_another_process_that_is_frozen_does_not_stop_this_one(
    control: Control, context: Any, frozen_holder: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    control.reset()
    kill_all(control, context)
    assert warnings(caplog) == 1
    assert "may be frozen" in caplog.text
    frozen_holder.send_signal(signal.SIGCONT)
    frozen_holder.kill()
    frozen_holder.wait()
    caplog.clear()
    control.reset()
    with caplog.at_level(logging.INFO):
        kill_all(control, context)
    assert warnings(caplog) == 0
