"""Settings that must stand before anything imports Airflow, and buckets of its own for each test."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import hypothesis
import pytest

from airflow_provider_workflows.rest import certificates

# As in the Makefile, for who runs pytest without it: Airflow must not write to the home of its user.
_minor = ".".join(version("apache-airflow").split(".")[:2])
_home = Path(os.environ.get("AIRFLOW_HOME") or Path(__file__).parents[1] / ".airflow" / _minor)
# Those who run tests side by side have a database each.
os.environ["AIRFLOW_HOME"] = str(_home / os.environ.get("PYTEST_XDIST_WORKER", "."))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

# A test trusts what it says, not what the machine does, whose certificates would be read for every client. Nor does a
# machine's proxy lead to the servers of a test.
_PROXIES = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]
for _name in (*certificates.VARIABLES, *_PROXIES, *map(str.upper, _PROXIES)):
    os.environ.pop(_name, None)

# Airflow's services take minutes: make test-e2e, make test-cluster. So do hundreds of renewals in eight processes: make
# test-oauth. A browser takes an environment of its own: make test-ui. What differs from one Airflow to the next is a
# page: make test-matrix.
# Who has the wheel installed runs users_project: test_users_project.py. Foreign clients have an environment of their
# own: make test-foreign.
collect_ignore = ["users_project", "foreign_clients"]
_FOLDERS = ("browser", "e2e", "cluster", "matrix", "oauth")
collect_ignore += [folder for folder in _FOLDERS if not os.environ.get(folder.upper())]

# Installed or not, it is there once: its entry point has the same name.
pytest_plugins = ["airflow_provider_workflows.pytest_plugin"]

# A slow machine is no failure, and each run tries the same examples, so that what is new in a failure is the code.
hypothesis.settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that nobody waits for it at the end."""
    longest = ("tests/secrets", "tests/example_dags/test_runs", "tests/journeys/test_told_to_end")
    items.sort(key=lambda item: not item.nodeid.startswith(longest))


@pytest.fixture(autouse=True)
def _own_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the buckets that a host's processes share inside the test: tests must not wait for each other."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
