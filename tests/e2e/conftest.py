"""One Airflow, and for each of its Dags a portal and an account of its own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGKILL
from subprocess import STDOUT, Popen

import pytest

from airflow_provider_workflows.simulator import Simulator
from airflow_provider_workflows.simulator.demo import seed
from tests.e2e.api import Airflow
from tests.e2e.services import ROOT, Services, serve

#: The Dags of tests/e2e/dags; the example Dag uses the default connections.
DAGS = [
    "default",
    "all_that_waits",
    "killed",
    "cleared",
    "starts_in_the_worker",
    "rejected",
    "pausing_clean_up",
    "killing_clean_up",
    "one_sensor",
    "with_tokens",
    "many_sensors",
    "starts_in_the_triggerer",
]

#: Where the commands of the Airflows are on which the README's way is gone; `make` makes both if it can.
AIRFLOWS = {"3.3": Path(sys.executable).parent, "2.11": ROOT / ".venv-2.11" / "bin"}


@pytest.fixture(scope="session")
def simulators() -> Iterator[dict[str, Simulator]]:
    """Return the simulators, by Dag."""
    with ExitStack() as stack:
        simulators = {dag: stack.enter_context(Simulator()) for dag in DAGS}
        for simulator in simulators.values():
            simulator.control.configure(bucket_capacity=50, bucket_drain=2.0)
            simulator.control.add_templates([{"ID": 7}])
        yield simulators


@pytest.fixture(scope="session")
def services(simulators: dict[str, Simulator]) -> Iterator[Services]:
    """Return Airflow's services."""
    with serve(simulators) as services:
        yield services


@pytest.fixture(scope="session", autouse=True)
def readme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Popen[bytes], Path]]]:
    """Go the README's way beside the other tests, and return the process and its log, by Airflow's version."""
    with ExitStack() as stack:
        yield {
            version: stack.enter_context(_on_the_way(commands, tmp_path_factory.mktemp("home")))
            for version, commands in AIRFLOWS.items()
            if (commands / "airflow").exists()
        }


@contextmanager
def _on_the_way(commands: Path, home: Path) -> Iterator[tuple[Popen[bytes], Path]]:
    text = (ROOT / "README.md").read_text()
    (dag,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    simulator, way, *_ = re.findall(r"```shell\n(.*?)```", text, re.DOTALL)
    assert simulator == "python -m airflow_provider_workflows.simulator --demo\n"
    (path,) = re.findall(r"save the Dag as `~/(.+?)`", text)
    (home / path).parent.mkdir(parents=True)
    (home / path).write_text(dag)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONDONT"))}
    commands_path = f"{commands}:{os.environ['PATH']}"
    with Simulator() as portal, (home / "log").open("wb") as log:
        seed(portal.control)
        process = Popen(
            ["/bin/bash", "-e", "-c", way.replace("8024", portal.host.rpartition(":")[2])],
            env=environment | {"HOME": str(home), "PATH": commands_path, "no_proxy": "127.0.0.1"},
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,
        )
        yield process, home / "log"
        if process.poll() is None:
            os.killpg(process.pid, SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def airflow(services: Services) -> Airflow:
    """Return Airflow's REST API."""
    return Airflow(services.url)
