"""Airflow's own services on loopback, each in a process group of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from airflow_provider_workflows.simulator import Simulator

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".airflow" / "e2e"
DAGS = HOME / "dags"
#: Seconds after which what was waited for will not come any more.
PATIENCE = 300.0
COMMANDS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}


class Services:
    """The services, which share a database and know the simulators' connections.

    :param simulators: simulators of both systems; their connections are named ``bitrix24_name`` and ``domo_name``.
    """

    def __init__(self, simulators: Mapping[str, Simulator]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        settings = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            # Many write at a time, and on a slow machine each waits longer than the five seconds that are usual.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db?timeout=20",
            "CORE__PARALLELISM": "8",
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "300",
            "CORE__DAGS_FOLDER": str(DAGS),
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(port),
            "API__WORKERS": "1",
            "API__BASE_URL": self.url,
            "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment |= {f"AIRFLOW__{name}": value for name, value in settings.items()}
        self._environment |= {"AIRFLOW_HOME": str(HOME), "no_proxy": "127.0.0.1"}
        for name, simulator in simulators.items():
            for connection in simulator.connections().values():
                variable = f"AIRFLOW_CONN_{connection['conn_type']}_{name}".upper()
                self._environment[variable] = json.dumps(connection)

    def start(self, name: str) -> None:
        """Start a service."""
        with (HOME / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [_airflow(), *COMMANDS[name]], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """End a service and all its processes at once, as a machine that breaks down does."""
        self._signal(name, signal.SIGKILL)
        self._running.pop(name).wait()

    def stop(self) -> None:
        """End all services: in an orderly way, and then whatever is left of their processes."""
        for name in self._running:
            self._signal(name, signal.SIGTERM)
        for name, process in self._running.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                print(f"{name} had to be killed")
            self._signal(name, signal.SIGKILL)
            process.wait()

    def _signal(self, name: str, number: signal.Signals) -> None:
        try:
            os.killpg(self._running[name].pid, number)
        except ProcessLookupError:
            return

    def ready(self) -> bool:
        """Tell whether all are healthy."""
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        return all(one["status"] == "healthy" for one in health.values())

    def migrate(self) -> None:
        """Make the database."""
        subprocess.run([_airflow(), "db", "migrate"], env=self._environment, check=True, capture_output=True)


@contextmanager
def serve(simulators: Mapping[str, Simulator]) -> Iterator[Services]:
    """Serve a fresh Airflow.

    :param simulators: simulators of both systems, by the name of their connections.
    """
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "dags", DAGS)
    # The example looks every minute.
    example = (ROOT / "example_dags" / "stuck_workflows_watcher.py").read_text()
    every_three_seconds = example.replace("(hours=1))", "(hours=1), poll_interval=3)")
    assert every_three_seconds != example
    (DAGS / "stuck_workflows_watcher.py").write_text(every_three_seconds)
    services = Services(simulators)
    services.migrate()
    try:
        for name in COMMANDS:
            services.start(name)
        wait_until(services.ready, "all services are healthy")
        yield services
    finally:
        services.stop()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, for as long as a slow machine may need.

    :param condition: the condition.
    :param what: what it says, for the error.
    """
    latest = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < latest, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(1)


def _airflow() -> Path:
    return Path(sys.executable).with_name("airflow")
