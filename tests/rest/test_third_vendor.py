"""What a third vendor costs: a made-up one with a list, a cancel and a wait, whole, on the engine of the others."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.bulk import Batching, send_each
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ApiError, RateLimitError, RejectedError, ServerError
from airflow_provider_workflows.rest.plans import Plan, poll_until, read_list, send
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.rest.redaction import register_secret
from airflow_provider_workflows.rest.sync import Client
from tests.rest.loopback import Loopback, http, loopback
from tests.rest.test_driver import VirtualTime

PACKAGE = Path(__file__).parents[2] / "airflow_provider_workflows"


@dataclass(frozen=True)
class Account:
    base_url: str
    token: str

    def __post_init__(self) -> None:
        register_secret(self.token)


@dataclass(frozen=True)
class Call:
    name: str
    http_method: str
    path: str
    repeatable: bool

    def __str__(self) -> str:
        return self.name


LIST = Call("list jobs", "GET", "/jobs", repeatable=True)


def cancel(job: str) -> Call:
    return Call(f"cancel job {job}", "DELETE", f"/jobs/{job}", repeatable=True)


class JobsWire:
    def __init__(self, account: Account) -> None:
        self.account = account

    def request(self, call: Call) -> Request:
        return Request(call.http_method, self.account.base_url + call.path, {"Authorization": self.account.token})

    def result(self, call: Call, response: Response) -> Any:
        if response.http_status == 200:
            return json.loads(response.content)
        kinds: dict[int, type[ApiError]] = {429: RateLimitError, 404: RejectedError}
        raise kinds.get(response.http_status, ServerError)(str(call), http_status=response.http_status)


class Job(BaseModel):
    id: str
    state: str


def list_jobs() -> Plan[list[Job]]:
    return read_list(Job, (yield from send(LIST)), str(LIST))


def cancel_jobs(jobs: list[str]) -> Plan[EndReport]:
    report = EndReport(requested=len(jobs))

    def settle(errors: Mapping[str, ApiError]) -> Plan[list[str]]:
        running = {job.id for job in (yield from list_jobs())}
        for job, error in errors.items():
            if job in running:
                report.fail(job, error)
            else:
                report.gone(job)
        return []

    yield from send_each(jobs, cancel, lambda job, _: report.end(job), settle, what="jobs", batching=Batching())
    return report


def wait_until_none_is_left(seconds: float) -> Plan[bool]:
    def poll() -> Plan[bool | None]:
        return None if (yield from list_jobs()) else True

    return bool((yield from poll_until(poll, repeat(5.0), "jobs are running", wait_for=seconds)))


def clean_up() -> Plan[tuple[EndReport, bool]]:
    report = yield from cancel_jobs([job.id for job in (yield from list_jobs())])
    return report, (yield from wait_until_none_is_left(60))


# The vendor ends here; what follows is its server, and the tests.


@pytest.fixture
def server() -> Iterator[Loopback]:
    jobs = {f"j{nth}": 2 for nth in range(20)}
    ended: dict[str, int] = {}
    refusals = [b"429 Slow down"] * 3

    def answer(request: bytes) -> bytes:
        method, path, _ = request.decode().split(" ", 2)
        assert "Authorization: t0ken" in request.decode() or "authorization: t0ken" in request.decode()
        if refusals:
            return http(status=refusals.pop().decode())
        if method == "DELETE":
            job = path.rpartition("/")[2]
            if job == "j7" and jobs.pop(job, 0):
                return http(status="404 Ended by itself")
            ended[job] = 0
            return http()
        for job in list(ended):
            if ended[job] == 2:
                jobs.pop(job, 0)
            ended[job] += 1
        return http(json.dumps([{"id": job, "state": "running"} for job in jobs]).encode())

    with loopback(answer) as server:
        yield server


def in_the_worker(wire: JobsWire, plan: Plan[Any]) -> Any:
    with Client(wire, clock=VirtualTime()) as client:
        return client.run(plan)


def in_the_triggerer(wire: JobsWire, plan: Plan[Any]) -> Any:
    async def work() -> Any:
        client = AsyncClient(wire, clock=VirtualTime())
        try:
            return await client.run(plan)
        finally:
            await client.close()

    return asyncio.run(work())


@pytest.mark.parametrize("run", [in_the_worker, in_the_triggerer])
def test_lists_cancels_and_waits_as_the_others_do(run: Callable[..., Any], server: Loopback) -> None:
    wire = JobsWire(Account(f"http://127.0.0.1:{server.port}", "t0ken"))
    report, over = run(wire, clean_up())
    assert (len(report.ended), report.already_ended, report.failed, over) == (19, ["j7"], {}, True)


def modules(folder: Path) -> list[str]:
    return [
        ".".join(("airflow_provider_workflows", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in sorted(folder.rglob("*.py"))
        if path.stem not in {"thread_runtime", "loop_runtime", "__init__"}
    ]


def test_all_but_what_sends_requests_knows_no_http_library_and_no_airflow() -> None:
    names = [name for vendor in ("rest", "bitrix24", "domo") for name in modules(PACKAGE / vendor)]
    assert len(names) > 30
    program = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print([name for name in ("requests", "httpx", "urllib3", "airflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_only_the_transports_import_an_http_library() -> None:
    imports = re.compile(r"^(?:import|from) (?:requests|httpx|urllib3)", re.MULTILINE)
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "simulator" not in path.parts and imports.search(path.read_text())
    }
    assert found == {"rest/thread_runtime.py", "rest/loop_runtime.py"}
