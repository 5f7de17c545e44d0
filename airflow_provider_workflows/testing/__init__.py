"""What the pytest plugin gives to tests of Dags: simulated systems, and tasks and Dags that run at once."""

from __future__ import annotations

from airflow_provider_workflows.testing.dags import DagResult, run_dag
from airflow_provider_workflows.testing.simulators import Bitrix24Simulator, DomoSimulator
from airflow_provider_workflows.testing.tasks import run_task

__all__ = ["Bitrix24Simulator", "DagResult", "DomoSimulator", "run_dag", "run_task"]
