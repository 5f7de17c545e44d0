"""One Airflow, and for each of its Dags a portal and an account of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from airflow_provider_workflows.simulator import Simulator
from tests.e2e.api import Airflow
from tests.e2e.services import Services, serve

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
    "many_sensors",
    "starts_in_the_triggerer",
]


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


@pytest.fixture(scope="session")
def airflow(services: Services) -> Airflow:
    """Return Airflow's REST API."""
    return Airflow(services.url)
