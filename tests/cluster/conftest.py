"""One cluster for all tests: PostgreSQL, Redis and Airflow's services, and the simulated portals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from airflow_provider_workflows.simulator import Simulator
from tests.cluster.cluster import HOME, REDIS_PASSWORD, Cluster
from tests.e2e.api import Airflow
from tests.servers import NotInstalledError, postgres_server, redis_server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return the cluster; what Redis was told is kept, as its files show what it was told."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with ExitStack() as stack:
        try:
            database = stack.enter_context(postgres_server())
            kept = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
            broker = stack.enter_context(redis_server(None, "--requirepass", REDIS_PASSWORD, *kept))
        except NotInstalledError as error:
            pytest.skip(str(error))
        cluster = Cluster(database, broker)
        stack.callback(cluster.stop)
        cluster.start_all()
        stack.enter_context(cluster.supervised())
        yield cluster


@pytest.fixture(scope="session")
def airflow(cluster: Cluster) -> Airflow:
    """Return Airflow's REST API."""
    airflow = Airflow(cluster.url)
    place = {"host": "127.0.0.1", "port": cluster.broker.port}
    airflow.add_connection("store", conn_type="redis", password=REDIS_PASSWORD, **place)
    return airflow


@pytest.fixture
def portal(airflow: Airflow) -> Iterator[Callable[[str], Simulator]]:
    """Return what makes a portal with a portal's limits; Airflow has a connection of the same name.

    It has a webhook, but for the one that is named ``application``, which is a local application's.
    """
    with ExitStack() as stack:

        def make(name: str) -> Simulator:
            simulator = stack.enter_context(Simulator())
            simulator.control.configure(bucket_capacity=50, bucket_drain=2.0)
            simulator.control.add_templates([{"ID": id} for id in (11, 12, 21, 22, 23)])
            connection = simulator.connections()["bitrix24_default"]
            extra = {"shared_store": "store"}
            if name == "application":
                settings, connection = simulator.control.settings(), {**connection, "login": "", "password": ""}
                extra |= {key: settings[key] for key in ("client_id", "client_secret")}
                extra["token_url"] = f"{simulator.url}/oauth/token/"
            airflow.add_connection(name, **connection | {"extra": json.dumps(extra)})
            return simulator

        yield make
