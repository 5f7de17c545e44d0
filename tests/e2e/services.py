"""Airflow's own services on loopback, each in a process group of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from airflow_provider_workflows.simulator import Simulator
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".airflow" / "e2e"
DAGS = HOME / "dags"
AIRFLOW = Path(sys.executable).with_name("airflow")
#: Seconds after which what was waited for will not come any more.
PATIENCE = 300.0
COMMANDS: dict[str, Sequence[str]] = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}
#: Of Airflow, wherever its services run.
SETTINGS = {
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "300",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "API__HOST": "127.0.0.1",
    "API__WORKERS": "1",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    # On a machine that is busy otherwise, a Dag's file takes longer than Airflow has patience with.
    "CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
    "DAG_PROCESSOR__STALE_DAG_THRESHOLD": "300",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
}


class Services:
    """Airflow's services, which share a database.

    :param commands: the name of each, and how it is started.
    :param home: the folder of its logs.
    :param settings: further settings of Airflow.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], home: Path, settings: Mapping[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._commands = commands
        self._home = home
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        own = {
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__PORT": str(port),
            "API__BASE_URL": self.url,
        }
        settings = {**SETTINGS, **own, **settings}
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment |= {f"AIRFLOW__{name}": value for name, value in settings.items()}
        self.environment |= {"AIRFLOW_HOME": str(home), "no_proxy": "127.0.0.1"}

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        return self.environment

    def start(self, name: str) -> None:
        """Start a service."""
        with (self._home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [AIRFLOW, *self._commands[name]],
                env=self.environment_of(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_all(self) -> None:
        """Make the database, start all services, and wait until they are healthy."""
        subprocess.run([AIRFLOW, "db", "migrate"], env=self.environment, check=True, capture_output=True)
        for name in self._commands:
            self.start(name)
        wait_until(self.ready, "all services are healthy")

    def kill(self, name: str) -> None:
        """End a service and all its processes at once, as a machine that breaks down does."""
        process = self._running.pop(name)
        for pid in [process.pid, *_session(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all services: in an orderly way, and then whatever is left of their processes."""
        for name in self._running:
            self._signal(name, signal.SIGTERM)
        for name, process in self._running.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                print(f"{name} had to be killed")
            for pid in _session(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
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


class OnSqlite(Services):
    """Services on SQLite, which has one writer.

    The API server also writes in its event loop. If it waits there for one of its own requests, neither goes on until
    both give up; so what tasks ask is answered by another one, which does not.

    :param home: the folder of its logs and of the database.
    :param settings: further settings of Airflow.
    """

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self._port = free_port()
        commands = {
            **COMMANDS,
            "api-server": ["api-server", "--apps", "core"],
            "execution-api-server": ["api-server", "--apps", "execution"],
        }
        where = {
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            # Many write at a time, and on a slow machine each waits longer than the five seconds that are usual.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        }
        super().__init__(commands, home, {**settings, **where})

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        own = {"AIRFLOW__API__PORT": str(self._port)} if name == "execution-api-server" else {}
        return self.environment | own

    def ready(self) -> bool:
        """Tell whether all are healthy."""
        try:
            health = requests.get(f"http://127.0.0.1:{self._port}/execution/health", timeout=5)
        except requests.RequestException:
            return False
        return health.ok and super().ready()


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
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "8",
        "CORE__DAGS_FOLDER": str(DAGS),
    }
    services = OnSqlite(HOME, settings)
    for name, simulator in simulators.items():
        for connection in simulator.connections().values():
            variable = f"AIRFLOW_CONN_{connection['conn_type']}_{name}".upper()
            services.environment[variable] = json.dumps(connection)
    try:
        services.start_all()
        yield services
    finally:
        services.stop()


def _session(leader: int) -> list[int]:
    """Return the processes of a session: tasks have process groups of their own."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            found += [int(path.name)] * (os.getsid(int(path.name)) == leader)
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, for as long as a slow machine may need.

    :param condition: the condition.
    :param what: what it says, for the error.
    """
    latest = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < latest, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(1)
