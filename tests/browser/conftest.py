"""One Airflow with its services, a portal, an account, and a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_workflows.simulator import Simulator
from tests.browser.browser import CHROMIUM, DRIVER, Browser, chromium
from tests.e2e import services as e2e
from tests.e2e.api import Airflow

HOME = e2e.ROOT / ".airflow" / "browser"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say so where there is no browser."""
    if not (CHROMIUM and DRIVER):
        missing = pytest.mark.skip(reason="no chromium and chromedriver on PATH (Debian: chromium, chromium-driver)")
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(missing)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """Return both systems, with something in them."""
    with Simulator() as simulator:
        control = simulator.control
        control.configure(bucket_capacity=50, bucket_drain=2.0)
        control.add_templates([{"ID": 7, "NAME": "Invoice"}, {"ID": 12, "NAME": "Lead approval"}])
        control.add_templates([{"ID": 15, "NAME": "Business trip"}])
        now = datetime.now(UTC)
        for template, counts in {7: (40, 60, 80, 20), 12: (8, 0, 0, 0), 15: (5, 15, 30, 60)}.items():
            for count, days in zip(counts, (0.1, 3, 12, 60), strict=True):
                row = {"TEMPLATE_ID": template, "STARTED": (now - timedelta(days=days)).isoformat()}
                control.add_workflows([row] * count)
        locked = {"TEMPLATE_ID": 15, "OWNED_UNTIL": (now - timedelta(days=2)).isoformat()}
        control.add_workflows([locked | {"STARTED": (now - timedelta(days=days)).isoformat()} for days in (40, 9, 4)])
        model = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"
        statuses = ["IN_PROGRESS"] * 7 + ["COMPLETED"] * 24 + ["FAILED"] * 2 + ["CANCELED"] * 3
        control.add_domo_instances([{"modelId": model, "status": status} for status in statuses])
        yield simulator


@pytest.fixture(scope="session")
def services(simulator: Simulator) -> Iterator[e2e.Services]:
    """Return Airflow's services, which know the Dag of this folder."""
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "dags", HOME / "dags")
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "2",
        "CORE__DAGS_FOLDER": str(HOME / "dags"),
        "CORE__TEST_CONNECTION": "Enabled",
    }
    services = e2e.OnSqlite(HOME, settings)
    for conn_id, connection in simulator.connections().items():
        services.environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
    try:
        services.start_all()
        yield services
    finally:
        services.stop()


@pytest.fixture(scope="session")
def airflow(services: e2e.Services) -> Airflow:
    """Return Airflow's REST API."""
    return Airflow(services.url)


@pytest.fixture
def browser(services: e2e.Services) -> Iterator[Browser]:
    """Return a browser of its own."""
    with chromium(services.url) as browser:
        yield browser
