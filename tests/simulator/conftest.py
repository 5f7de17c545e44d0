"""A simulator for this folder's tests, and short ways to call it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from airflow_provider_workflows.simulator import Control, Simulator

TIMEOUT = 300
DOMO_TOKEN = "sim-domo-developer-token"
MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"

Rest = Callable[..., requests.Response]


def until(happened: Callable[[], object]) -> None:
    """Wait for what is to happen soon, for as long as the slowest machine may need."""
    latest = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < latest
        time.sleep(0.005)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def control(simulator: Simulator) -> Control:
    simulator.control.reset()
    return simulator.control


@pytest.fixture
def rest(simulator: Simulator, control: Control) -> Rest:
    """Call a REST method through the webhook, with its parameters as JSON unless ``options`` say otherwise."""

    def call(method: str, params: Any = None, timeout: float = TIMEOUT, **options: Any) -> requests.Response:
        body = {} if options.keys() & {"data", "files"} else {"json": params or {}}
        url = f"{simulator.url}/rest/1/sim0webhook0code/{method}"
        return requests.post(url, timeout=timeout, **{"allow_redirects": False, **body, **options})

    return call


@pytest.fixture
def domo(simulator: Simulator, control: Control) -> Rest:
    """Call the Domo API with a path below ``/api/``."""

    def call(verb: str, path: str, **options: Any) -> requests.Response:
        options = {"headers": {"X-DOMO-Developer-Token": DOMO_TOKEN}, "allow_redirects": False, **options}
        return requests.request(verb, f"{simulator.url}/api/{path}", timeout=TIMEOUT, **options)

    return call


@pytest.fixture
def instance(control: Control) -> Callable[..., str]:
    """Put an instance of Domo's with this status into the account."""

    def add(status: str | None = "IN_PROGRESS", **fields: Any) -> str:
        [id] = control.add_domo_instances([{"status": status, **fields}])
        return id

    return add
