"""Operators that wait in the worker, while the account fails for a time."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_workflows.operators.domo import DomoStartOperator
from airflow_provider_workflows.rest.errors import ServerError
from airflow_provider_workflows.simulator import Control
from tests.operators.remote import VirtualTime

MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"


@pytest.fixture
def start(control: Control, context: Any) -> Any:
    """Return what starts a workflow that ends at once, and waits for it."""
    control.add_domo_models([{"id": MODEL, "message_name": "Start Orders", "versions": ["1.0.0"]}])
    control.configure(finishes_after=1.0)
    context["ti"].max_tries = 0
    context["ti"].try_number = 1

    def start(**how: Any) -> Any:
        operator = DomoStartOperator(
            task_id="start",
            model_id=MODEL,
            version="1.0.0",
            message_name="Start Orders",
            wait_for_completion=True,
            deferrable=False,
            **how,
        )
        return operator.execute(context)

    return start


def test_an_outage_of_most_of_an_hour_ends_no_wait(control: Control, start: Any, clock: VirtualTime) -> None:
    control.inject("error_500", vendor="domo", method="get", times=160)
    began = clock.time()
    assert start()["status"] == "COMPLETED"
    assert clock.time() - began > 1000
    assert sum(clock.naps) < 3600


@pytest.mark.parametrize(("how", "seconds"), [({}, 3600), ({"tolerance": 300}, 300)])
def test_a_longer_one_does(control: Control, start: Any, clock: VirtualTime, how: Any, seconds: float) -> None:
    control.inject("error_500", vendor="domo", method="get", times=None)
    began = clock.time()
    with pytest.raises(ServerError):
        start(**how)
    assert clock.time() - began > seconds - 100
    assert sum(clock.naps) < seconds + 300


def test_the_time_that_a_failing_account_takes_counts(control: Control, start: Any, clock: VirtualTime) -> None:
    control.configure(finishes_after=10_000.0)
    control.inject("error_500", vendor="domo", method="get", times=40)
    began = clock.time()
    with pytest.raises(Exception, match="still running after 600 s"):
        start(wait_timeout=600, poll_interval=5)
    assert clock.time() - began > 400
    assert sum(clock.naps) < 900
