"""One Airflow and one simulator for all runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_workflows.simulator import Control, Simulator
from tests.e2e.api import Airflow
from tests.e2e.services import Services, serve


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def services(simulator: Simulator) -> Iterator[Services]:
    with serve(simulator) as services:
        yield services


@pytest.fixture(scope="session")
def airflow(services: Services) -> Airflow:
    return Airflow(services.url)


@pytest.fixture
def control(simulator: Simulator) -> Control:
    """Return an empty portal, with its limits on, and an empty account."""
    simulator.control.reset()
    simulator.control.configure(bucket_capacity=50, bucket_drain=2.0)
    simulator.control.add_templates([{"ID": 7}])
    return simulator.control
