"""Where a task waits unless it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.tasks.deferring import deadline_after

SHOW = """
from airflow_provider_workflows.operators import bitrix24, domo
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor

tasks = [
    bitrix24.CleanUpWorkflowsOperator(task_id="a", filters={"TEMPLATE_ID": 1}),
    bitrix24.CleanUpEmployeeWorkflowsOperator(task_id="b", user_id=1),
    bitrix24.StartWorkflowOperator(task_id="c", template_id=1, document_id=["crm", "CCrmDocumentLead", "LEAD_1"]),
    domo.DomoCancelOperator(task_id="d", instance_id="x"),
    domo.DomoStartOperator(task_id="e", model_id="m", version="1.0.0", message_name="n"),
    RunningWorkflowsSensor(task_id="f"),
    DomoWorkflowSensor(task_id="g", instance_id="x"),
]
print({task.deferrable for task in tasks})
"""


@pytest.mark.parametrize("option", ["True", "False"])
def test_airflows_option_is_the_default_of_everything_that_waits(option: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHOW],
        env={**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": option},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines()[-1] == f"{{{option}}}"


class FixedTime(Clock):
    def time(self) -> float:
        return 1000.0


@pytest.mark.parametrize(
    ("seconds", "execution_timeout", "expected"),
    [(60, None, 60), (60, timedelta(seconds=20), 20), (60, timedelta(hours=1), 60)],
)
def test_the_deadline_is_the_sooner_of_both_limits(
    monkeypatch: pytest.MonkeyPatch, seconds: float, execution_timeout: timedelta | None, expected: float
) -> None:
    monkeypatch.setattr(AccountHook, "clock", FixedTime())
    assert deadline_after(seconds, execution_timeout) == 1000 + expected
