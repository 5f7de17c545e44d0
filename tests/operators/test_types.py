"""What a type checker tells the author of a Dag, before Airflow sees the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAG = """
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpWorkflowsOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor

with DAG("types", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")):
    old = ListWorkflowsOperator(task_id="old", filters={"<STARTED": "{{ ds }}"}, retries=2)
    TerminateWorkflowOperator(task_id="end", workflow_id=old.output, retry_delay=timedelta(minutes=1))
    DomoWorkflowSensor(task_id="wait", instance_id="{{ params.id }}", mode="reschedule", deferrable=True)

    TerminateWorkflowOperator(task_id="none")
    CleanUpWorkflowsOperator(task_id="delete", filters={"TEMPLATE_ID": 7}, action="delete")
    CleanUpWorkflowsOperator(task_id="three", filters={"TEMPLATE_ID": 7}, max_workflow=3)
    CleanUpWorkflowsOperator(task_id="tries", filters={"TEMPLATE_ID": 7}, retrys=3)
    DomoWorkflowSensor(task_id="mode", instance_id="{{ params.id }}", soft_fails=True)
    CleanUpWorkflowsOperator(filters={"TEMPLATE_ID": 7})
"""


def test_mypy_tells_missing_misspelt_and_wrong_arguments_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "types_dag.py"
    file.write_text(DAG)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(file)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = DAG.splitlines()
    told = [line.partition(":")[2].split(":", 2) for line in done.stdout.splitlines() if ": error:" in line]
    assert [(lines[int(number) - 1].partition("task_id=")[2].partition(",")[0], text) for number, _, text in told] == [
        ('"none")', ' Missing named argument "workflow_id" for "TerminateWorkflowOperator"  [call-arg]'),
        (
            '"delete"',
            ' Argument "action" to "CleanUpWorkflowsOperator" has incompatible type "Literal[\'delete\']"; '
            "expected \"Literal['terminate', 'kill']\"  [arg-type]",
        ),
        ('"three"', told[2][2]),
        ('"tries"', told[3][2]),
        ('"mode"', told[4][2]),
        ("", ' Missing named argument "task_id" for "CleanUpWorkflowsOperator"  [call-arg]'),
    ], done.stdout
    for nth, name in [(2, "max_workflow"), (3, "retrys"), (4, "soft_fails")]:
        assert f'Unexpected keyword argument "{name}"' in told[nth][2]
