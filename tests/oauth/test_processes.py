"""Eight processes on two hosts renew tokens side by side, over hundreds of expiries, and are killed at each step of it.

Each host has a home and a temporary folder of its own. What is printed at the end is what was measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from cryptography.fernet import Fernet

from airflow_provider_workflows.simulator import Simulator
from tests.oauth.worker import POINTS
from tests.servers import NotInstalledError, postgres_server, redis_server

ROOT = Path(__file__).parents[2]
SECRET = "sim0client0secret"
WORKERS, HOSTS = 8, 2
#: How often the access token expires, with each store.
EXPIRIES = {"redis": 500, "sql": 300, "variable": 100}
#: Where the tokens are lost if a used refresh token is worth nothing at once: they are on their way to the store.
LOST = {"asking", "asked"}


class Worker:
    """A process on one of the hosts."""

    def __init__(self, host: Path, environment: dict[str, str], log: Path) -> None:
        self.log = log
        place = {"HOME": str(host), "TMPDIR": str(host / "tmp"), "PYTHONPATH": str(ROOT), "COLUMNS": "500"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.oauth.worker"],
            cwd=ROOT,
            env={**os.environ, **environment, **place},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            text=True,
        )

    def go(self, point: str = "") -> None:
        assert self._process.stdin
        self._process.stdin.write(f"go {point}\n")
        self._process.stdin.flush()

    def said(self) -> str:
        """Return the next line; nothing if it was killed."""
        assert self._process.stdout
        for line in self._process.stdout:
            # Airflow prints lines of its own.
            if (word := line.strip()) in {"ready", "ok"} or word.endswith("Error"):
                return word
            with self.log.open("a") as log:
                log.write(line)
        self._process.wait()
        return ""

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Deployment:
    """Two hosts with four workers each, which share a store.

    :param store: which.
    """

    def __init__(self, store: str, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.simulator = stack.enter_context(Simulator())
        self.control = self.simulator.control
        host, port = self.simulator.host.split(":")
        extra = {
            "client_id": "local.sim0client",
            "client_secret": SECRET,
            "token_url": f"{self.simulator.url}/oauth/token/",
            "bucket_capacity": 1e6,
            "bucket_drain": 1e6,
        }
        self.environment = {"AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(), "LEASE": "30"}
        self._share(store, extra, stack)
        connection = {"conn_type": "bitrix24", "host": host, "port": int(port), "schema": "http", "extra": extra}
        self.environment["AIRFLOW_CONN_BITRIX24_DEFAULT"] = json.dumps(connection)
        self.hosts = [folder / f"host{number}" for number in range(HOSTS)]
        for place in self.hosts:
            (place / "tmp").mkdir(parents=True)
        self.workers: list[Worker] = []
        stack.callback(self.stop)

    def _share(self, store: str, extra: dict[str, Any], stack: ExitStack) -> None:
        address = ""
        try:
            if store == "redis":
                port = stack.enter_context(redis_server()).port
                self.environment["AIRFLOW_CONN_SHARED"] = f"redis://127.0.0.1:{port}"
            else:
                port = stack.enter_context(postgres_server()).port
                address = f"postgres@127.0.0.1:{port}/postgres"
                self.environment["AIRFLOW_CONN_SHARED"] = f"postgres://{address}"
        except NotInstalledError as error:
            pytest.skip(str(error))
        self.environment["AIRFLOW_HOME"] = str(self.folder / "airflow")
        if store == "variable":
            settings = {"SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}"}
            # Nobody uses it here, but Airflow wants a driver for it that is installed.
            settings["SQL_ALCHEMY_CONN_ASYNC"] = f"sqlite+aiosqlite:///{self.folder}/unused.db"
            self.environment |= {f"AIRFLOW__DATABASE__{name}": value for name, value in settings.items()}
            self.airflow("airflow", "db", "migrate")
        else:
            extra["shared_store"] = "shared"

    def airflow(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name(command[0])
        env = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [program, *command[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False, **options
        )
        (self.folder / "commands").open("a").write(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def authorize(self) -> None:
        """Run the command, as a person."""
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_workflows", "authorize", "bitrix24_default"],
            cwd=ROOT,
            env={**os.environ, **self.environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        printed = ""
        for line in process.stdout:
            printed += line
            if "/oauth/authorize/" in line:
                break
        address = next((word for word in printed.split() if "/oauth/authorize/" in word), "")
        assert address, printed
        location = requests.get(address, allow_redirects=False, timeout=300).headers["Location"]
        printed += process.communicate(location + "\n")[0]
        with (self.folder / "commands").open("a") as log:
            log.write(printed)
        assert process.returncode == 0, printed
        self.codes = [*getattr(self, "codes", []), *parse_qs(urlsplit(location).query)["code"]]

    def start(self, lease: float) -> None:
        """Start all workers, in place of those that there are."""
        self.stop()
        self.environment["LEASE"] = str(lease)
        self.workers = [self._worker(number) for number in range(WORKERS)]
        assert [worker.said() for worker in self.workers] == ["ready"] * WORKERS
        assert self.round(expired=False) == Counter(ok=WORKERS)

    def stop(self) -> None:
        """Kill all workers."""
        for worker in self.workers:
            worker.stop()

    def _worker(self, number: int) -> Worker:
        return Worker(self.hosts[number % HOSTS], self.environment, self.folder / f"worker{number}.log")

    def round(self, *, expired: bool = True, killed_at: str = "") -> Counter[str]:
        """Let the token expire, and each worker make a call; of one that is killed, a new process makes it.

        :returns: how many ended how.
        """
        if expired:
            self.control.expire_tokens()
        if killed_at:
            if killed_at == "asking":
                self.control.inject("slow", method="oauth.token", seconds=2.0, done=True)
            self.workers[0].go(killed_at)
            assert self.workers[0].said() == "", "it was to be killed"
            self.workers[0] = self._worker(0)
            assert self.workers[0].said() == "ready"
        for worker in self.workers:
            worker.go()
        return Counter(worker.said() for worker in self.workers)

    def renewals(self) -> int:
        return len(self.control.journal("token"))

    def leaks(self) -> list[str]:
        """Return the lines of all output that show a secret."""
        issued = [entry[name] for entry in self.control.journal("token") for name in ("access_token", "refresh_token")]
        secrets = {SECRET, *issued, *self.codes}
        lines = [line for path in self.folder.glob("*") if path.is_file() for line in path.read_text().splitlines()]
        assert any("POST /oauth/token/" in line for line in lines), "the HTTP library's lines are among them"
        return [line for line in lines if any(secret in line for secret in secrets)]


@pytest.fixture(params=["redis", "sql", "variable"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deployment(store: str, tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        deployment = Deployment(store, tmp_path, stack)
        deployment.authorize()
        yield deployment


def test_the_chain_lives_over_hundreds_of_expiries_and_each_costs_one_renewal(
    deployment: Deployment, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.start(lease=30)
    before, began, expiries = deployment.renewals(), time.monotonic(), EXPIRIES[store]
    asked = len(deployment.control.requests(method="oauth.token"))
    failed: Counter[str] = Counter()
    for _ in range(expiries):
        failed += deployment.round()
    renewals = deployment.renewals() - before
    asked = len(deployment.control.requests(method="oauth.token")) - asked
    with capsys.disabled():
        seconds = time.monotonic() - began
        print(f"\n{store}: {expiries} expiries, {renewals} renewals, {asked} requests for tokens, {seconds:.0f} s")
    assert failed == Counter(ok=WORKERS * expiries)
    if store == "variable":
        # Two hosts may ask at the same moment. The server rotates strictly, so the second one is refused.
        assert renewals == expiries <= asked <= 2 * expiries
    else:
        assert renewals == asked == expiries
    assert deployment.leaks() == []


@pytest.mark.parametrize("rotation", ["strict", "grace"])
def test_a_worker_that_is_killed_at_any_step_of_it_stops_nobody(
    deployment: Deployment, store: str, rotation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.control.configure(refresh_rotation=rotation, refresh_grace_seconds=300.0)
    # Shorter than it is, so that the others need not wait for half a minute each time.
    deployment.start(lease=5)
    for point in POINTS:
        before = deployment.renewals()
        ended = deployment.round(killed_at=point)
        with capsys.disabled():
            print(f"\n{store}, {rotation}, killed when it had {point}: {dict(ended)}", end="")
        if rotation == "strict" and point in LOST:
            # Nobody has the new tokens, and the old refresh token is worth nothing: only a person can go on.
            assert ended == Counter(AuthorizeAgainError=WORKERS)
            deployment.authorize()
            ended = deployment.round(expired=False)
        assert ended == Counter(ok=WORKERS)
        if store != "variable":
            assert deployment.renewals() - before == (2 if point in LOST else 1)
    assert deployment.round() == Counter(ok=WORKERS)
    assert deployment.leaks() == []


def test_what_a_leak_would_look_like_is_found(tmp_path: Path) -> None:
    with ExitStack() as stack:
        deployment = Deployment("redis", tmp_path, stack)
        deployment.authorize()
        (entry,) = deployment.control.journal("token")
        leaking = f"GET /rest/profile?auth={quote(entry['access_token'])} POST /oauth/token/\n"
        (tmp_path / "log").write_text(leaking)
        assert deployment.leaks() == [leaking.strip()]
