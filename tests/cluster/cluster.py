"""Airflow with the CeleryExecutor, its services as on machines of their own, which share no files."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Event, RLock, Thread

import requests

from airflow_provider_workflows.bitrix24.portal import budget_name
from airflow_provider_workflows.records.redis import RedisRecordStore
from tests.e2e.services import COMMANDS, ROOT, Services
from tests.servers import Server

HOME = ROOT / ".airflow" / "cluster"
DAGS = Path(__file__).parent / "dags"
WORKERS, TRIGGERERS = ("worker-1", "worker-2"), ("triggerer-1", "triggerer-2")
#: What must never be seen but where it is needed. The servers ask nobody for a password.
DATABASE_PASSWORD, REDIS_PASSWORD = "database0secret", "redis0secret"
FERNET_KEY = "3OnoBLwmGsfmtiQKpZYCyoXuKaLnyRgOjo2DQpO2iGU="


def worker(name: str) -> list[str]:
    """Return the command of a worker."""
    return ["celery", "worker", "--skip-serve-logs", "--concurrency", "8", "--celery-hostname", f"{name}@%h"]


class StatsD:
    """Takes the package's metrics that Airflow's services send, and adds them up by name."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        counter = re.compile(r"^airflow\.bitrix24\.(\w+)[^:]*:(\d+)\|c", re.MULTILINE)
        while True:
            for name, amount in counter.findall(self._socket.recv(65536).decode()):
                self.totals[name] += int(amount)


class Cluster(Services):
    """The services, each with a home, temporary files, Dags and logs of its own; who ends is started again.

    :param database: PostgreSQL.
    :param broker: Redis.
    """

    def __init__(self, database: Server, broker: Server) -> None:
        metrics = StatsD()
        place = f"postgres:{DATABASE_PASSWORD}@127.0.0.1:{database.port}/postgres"
        settings = {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__FERNET_KEY": FERNET_KEY,
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}",
            "CELERY__BROKER_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:{broker.port}/0",
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{place}",
            "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "METRICS__STATSD_ON": "True",
            "METRICS__STATSD_PORT": str(metrics.port),
            "METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "API__SECRET_KEY": "api0secret0of0the0cluster",
            "API_AUTH__JWT_SECRET": "jwt0secret0of0the0cluster0which0is0long0enough0for0what0signs0with0it",
            # Who does not tell that it lives is taken for dead after so many seconds.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "WORKERS__MAX_FAILED_HEARTBEATS": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        }
        one = {name: command for name, command in COMMANDS.items() if name != "triggerer"}
        commands = one | dict.fromkeys(TRIGGERERS, COMMANDS["triggerer"]) | {name: worker(name) for name in WORKERS}
        super().__init__(commands, HOME, settings)
        self.database, self.broker, self.metrics = database, broker, metrics.totals
        #: What must not be seen anywhere.
        self.secrets = {DATABASE_PASSWORD, REDIS_PASSWORD, FERNET_KEY}
        self._lock = RLock()

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the environment of a service on a machine that is new but for its logs."""
        machine = HOME / name
        for folder in ("home", "tmp", "airflow"):
            shutil.rmtree(machine / folder, ignore_errors=True)
            (machine / folder).mkdir(parents=True)
        shutil.copytree(DAGS, machine / "airflow" / "dags")
        return self.environment | {
            "AIRFLOW_HOME": str(machine / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(machine / "airflow" / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(machine / "logs"),
            "HOME": str(machine / "home"),
            "TMPDIR": str(machine / "tmp"),
        }

    def start(self, name: str) -> None:
        """Start a service."""
        with self._lock:
            super().start(name)

    def kill(self, name: str) -> None:
        """End a service and all its processes at once."""
        with self._lock:
            super().kill(name)

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Start services again that end by themselves, as every deployment does."""
        over = Event()

        def supervise() -> None:
            while not over.wait(1):
                with self._lock:
                    for name in [name for name, process in self._running.items() if process.poll() is not None]:
                        print(f"{name} has ended and is started again")
                        self.start(name)

        thread = Thread(target=supervise)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def authorize(self, conn_id: str) -> None:
        """Give a local application its tokens, as a person does who runs the command and opens the address."""
        command = [sys.executable, "-m", "airflow_provider_workflows", "authorize", conn_id]
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            assert process.stdin
            assert process.stdout
            (line,) = islice((line for line in process.stdout if "/oauth/authorize/" in line), 1)
            sent_to = requests.get(line.strip(), allow_redirects=False, timeout=60).headers["Location"]
            process.stdin.write(f"{sent_to}\n")
            process.stdin.close()
            process.stdout.read()
        assert process.returncode == 0

    def logs(self, dag_id: str) -> str:
        """Return what stands in the logs of a Dag's tasks, on all machines."""
        paths = HOME.glob(f"*/logs/dag_id={dag_id}*/**/*.log*")
        return "".join(path.read_text() for path in paths)

    def services_logs(self) -> str:
        """Return what the services have printed."""
        return "".join(path.read_text() for path in HOME.glob("*.log"))

    def dump(self) -> bytes:
        """Return the database, as a backup has it."""
        program = next(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
        place = ["-h", "127.0.0.1", "-p", str(self.database.port), "-U", "postgres", "postgres"]
        return subprocess.run([program, *place], check=True, capture_output=True).stdout

    def messages(self) -> bytes:
        """Return all that Redis was ever told, and what messages say that are packed in it."""
        told = b"".join(path.read_bytes() for path in (self.broker.folder / "appendonlydir").iterdir())
        packed = re.findall(rb"(?:[A-Za-z0-9+/]{4}){10,}", told)
        return told + b"".join(map(base64.b64decode, packed))

    def places_taken(self, portal_url: str) -> int:
        """Return how many requests to a portal the shared store has let go, on all machines."""
        store = RedisRecordStore("Redis", host="127.0.0.1", port=self.broker.port, password=REDIS_PASSWORD)
        kept = store.change(budget_name(portal_url), lambda content, _: (content, None))
        return int(json.loads(kept or "")["bucket"]["places"])

    def tasks_of(self, worker: str) -> int:
        """Return how many tasks a worker has run, by the logs on its machine."""
        return len(list((HOME / worker / "logs").rglob("attempt=*.log")))


def break_down(server: Server) -> None:
    """Kill a server, and start it again a while after that."""
    server.kill()
    time.sleep(5)
    server.restart()
