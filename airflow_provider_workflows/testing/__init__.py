"""What the fixtures of the pytest plugin are and return, for type hints."""

from __future__ import annotations

from airflow_provider_workflows.testing.dags import DagResult
from airflow_provider_workflows.testing.simulators import Bitrix24Simulator, DomoSimulator

__all__ = ["Bitrix24Simulator", "DagResult", "DomoSimulator"]
