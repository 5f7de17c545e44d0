"""Fixtures for tests of Dags, there in every project that has this package and pytest (``pip install '...[testing]'``).

Nothing but pytest is imported before a fixture is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_workflows.simulator import Simulator
    from airflow_provider_workflows.testing import Bitrix24Simulator, DomoSimulator
    from airflow_provider_workflows.testing.clock import VirtualTime


@pytest.fixture(scope="session")
def _workflows_time() -> VirtualTime:
    from airflow_provider_workflows.testing.clock import VirtualTime

    return VirtualTime()


@pytest.fixture(scope="session")
def _workflows_session(_workflows_time: VirtualTime) -> Iterator[Simulator]:
    from airflow_provider_workflows.simulator import Simulator

    with Simulator(clock=_workflows_time) as simulator:
        yield simulator


@pytest.fixture
def _workflows_simulator(
    _workflows_session: Simulator, _workflows_time: VirtualTime, tmp_path: Path
) -> Iterator[Simulator]:
    """Return a simulator that is empty; the package reaches nothing else, and does not wait."""
    from airflow_provider_workflows.testing.isolation import isolated

    _workflows_time.reset()
    _workflows_session.control.reset()
    with isolated(_workflows_session, _workflows_time, tmp_path):
        yield _workflows_session


def _connect(server: Simulator, monkeypatch: pytest.MonkeyPatch, conn_id: str, conn_type: str) -> None:
    connections = {one["conn_type"]: one for one in server.connections().values()}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connections[conn_type]))


@pytest.fixture
def bitrix24_simulator(_workflows_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Bitrix24Simulator:
    """Return an empty Bitrix24 portal, to which the connection ``bitrix24_default`` leads."""
    from airflow_provider_workflows.testing import Bitrix24Simulator

    return Bitrix24Simulator(_workflows_simulator.control, partial(_connect, _workflows_simulator, monkeypatch))


@pytest.fixture
def domo_simulator(_workflows_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> DomoSimulator:
    """Return an empty Domo account, to which the connection ``domo_default`` leads."""
    from airflow_provider_workflows.testing import DomoSimulator

    return DomoSimulator(_workflows_simulator.control, partial(_connect, _workflows_simulator, monkeypatch))


@pytest.fixture
def run_task(_workflows_simulator: Simulator) -> Callable[..., Any]:
    """Return what runs one task, see :func:`airflow_provider_workflows.testing.tasks.run_task`."""
    from airflow_provider_workflows.testing.tasks import run_task

    return run_task


@pytest.fixture(scope="session")
def _workflows_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty Airflow database, made once."""
    from airflow_provider_workflows.testing.dags import make_database

    made = tmp_path_factory.mktemp("airflow") / "airflow.db"
    make_database(made)
    return made


@pytest.fixture
def run_dag(_workflows_simulator: Simulator, _workflows_database: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return what runs a whole Dag, see :func:`airflow_provider_workflows.testing.dags.run_dag`."""
    from airflow_provider_workflows.testing.dags import copy_database, run_dag

    return partial(run_dag, database=copy_database(_workflows_database, tmp_path))
