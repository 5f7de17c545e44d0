"""A simulator, and the real Airflow of this environment in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from airflow_provider_workflows.simulator import Control, Simulator

EXAMPLES = Path(__file__).parents[2] / "example_dags"

#: Runs a program of this environment with Airflow's settings: arguments, and further environment variables.
Run = Callable[..., subprocess.CompletedProcess[str]]
#: Runs a Dag: its id, a logical date if it matters, its parameters, the folder of its file, and further variables.
DagsTest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name(arguments[0])
        # Where it is set, every Airflow process compiles all of Airflow anew.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env |= {"AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES), "no_proxy": "127.0.0.1"} | variables
        return subprocess.run(
            [program, *arguments[1:]],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def migrated(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make Airflow's database once, and give each of those who run tests side by side a copy."""
    made = tmp_path_factory.getbasetemp().parent / f"airflow-{version('apache-airflow')}"
    made.mkdir(exist_ok=True)
    home = Path(os.environ["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "done").exists():
            done = run("airflow", "db", "migrate", AIRFLOW_HOME=str(made))
            assert done.returncode == 0, done.stdout
            (made / "done").touch()
    # What SQLite keeps beside the database of a run that was killed does not belong to this one.
    for old in home.glob("airflow.db*"):
        old.unlink()
    shutil.copy(made / "airflow.db", home / "airflow.db")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def control(simulator: Simulator) -> Control:
    return simulator.control


@pytest.fixture
def dags_test(run: Run, migrated: None, simulator: Simulator) -> DagsTest:
    def dags_test(
        dag_id: str,
        date: str | None = None,
        conf: dict[str, object] | None = None,
        folder: Path = EXAMPLES,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        for name, connection in simulator.connections().items():
            variables[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
        return run(
            "airflow", "dags", "test", dag_id, *([date] if date else []), "--conf", json.dumps(conf or {}),
            AIRFLOW__CORE__DAGS_FOLDER=str(folder), **variables,
        )  # fmt: skip

    return dags_test
