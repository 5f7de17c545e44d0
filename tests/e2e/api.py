"""Airflow's REST API, as far as the runs need it."""

from __future__ import annotations

from threading import Lock
from typing import Any

import requests

from tests.e2e.services import wait_until

#: How often a request is made that waited in vain for SQLite, which then has done nothing.
TRIES = 5


class Airflow:
    """Talks to the API server, from any thread, but for one at a time: SQLite has one writer.

    :param url: its address.
    """

    def __init__(self, url: str) -> None:
        self._lock = Lock()
        self._session = requests.Session()
        self._session.trust_env = False
        self._url = f"{url}/api/v2"
        token = self._session.get(f"{url}/auth/token", timeout=300).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def _do(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        for _ in range(TRIES):
            with self._lock:
                response = self._session.request(method, f"{self._url}{path}", json=body, params=params, timeout=300)
            if response.status_code != 500 or "Database error" not in response.text:
                break
        assert response.ok, f"{method} {path}: HTTP {response.status_code}: {response.text}"
        return response.json()

    def add_connection(self, conn_id: str, **fields: Any) -> None:
        """Put a connection into Airflow's database."""
        self._do("POST", "/connections", {"connection_id": conn_id, **fields})

    def add_variable(self, key: str, value: str) -> None:
        """Put a Variable into Airflow's database."""
        self._do("POST", "/variables", {"key": key, "value": value})

    def unpause(self, dag_id: str) -> None:
        """Let a Dag run, once Airflow has found it."""

        def found() -> bool:
            return any(dag["dag_id"] == dag_id for dag in self._do("GET", "/dags", limit=100)["dags"])

        wait_until(found, f"Airflow has found {dag_id}")
        self._do("PATCH", f"/dags/{dag_id}", {"is_paused": False}, update_mask="is_paused")

    def run(self, dag_id: str, **conf: Any) -> str:
        """Start a Dag run and give its id."""
        self.unpause(dag_id)
        run: dict[str, Any] = self._do("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a Dag."""
        runs: list[dict[str, Any]] = self._do("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return runs

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, of which there are at most 100."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        tasks: list[dict[str, Any]] = self._do("GET", path, limit=100)["task_instances"]
        return tasks

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance."""
        return next(one for one in self.tasks(dag_id, run_id) if one["task_id"] == task_id)

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of each task; mapped ones share a name, so they are not told apart."""
        return {one["task_id"]: one["state"] for one in self.tasks(dag_id, run_id)}

    def wait_for(self, dag_id: str, run_id: str, state: str, task_id: str | None = None) -> None:
        """Wait until all tasks of a run, or one of them, are in a state."""

        def there() -> bool:
            tasks = [one for one in self.tasks(dag_id, run_id) if task_id in (None, one["task_id"])]
            states = {one["state"] for one in tasks}
            assert state == "failed" or "failed" not in states, f"{dag_id}: {self.states(dag_id, run_id)}"
            return states == {state}

        wait_until(there, f"{dag_id} {task_id or ''} is {state}")

    def wait_for_triggers(self, dag_id: str, run_id: str) -> None:
        """Wait until all tasks are deferred and a triggerer runs their triggers."""
        self.wait_for(dag_id, run_id, "deferred")

        def taken() -> bool:
            return all(one["triggerer_job"] for one in self.tasks(dag_id, run_id))

        wait_until(taken, "a triggerer has taken the triggers")

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a user does."""
        self._do("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, as a user does."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self._do("POST", f"/dags/{dag_id}/clearTaskInstances", body | {"reset_dag_runs": True})

    def xcoms(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """Return which XComs a task has pushed."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        entries: list[dict[str, Any]] = self._do("GET", path)["xcom_entries"]
        return entries

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._do("GET", path, deserialize=True)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """Return the log of a try."""
        return str(self._do("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"))
