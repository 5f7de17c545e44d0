"""Airflow's retries, by its own services."""

from __future__ import annotations

from airflow_provider_workflows.simulator import Control
from tests.e2e.api import Airflow


def test_what_the_portal_rejects_is_not_tried_again(airflow: Airflow, control: Control) -> None:
    run = airflow.run("rejected")
    airflow.wait_for("rejected", run, "failed")
    (task,) = airflow.tasks("rejected", run)
    assert (task["try_number"], task["max_tries"]) == (1, 3)
    assert control.journal("start") == []
