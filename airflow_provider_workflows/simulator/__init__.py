"""
A Bitrix24 portal and a Domo instance on loopback, with their limits, errors and quirks.

The simulator lets people try the provider without an account, and carries its integration tests and
benchmarks. It shares no code with the clients, so a mistake in a client cannot hide here.
"""

from __future__ import annotations

from airflow_provider_workflows.simulator.control import Control, SimulatorError
from airflow_provider_workflows.simulator.server import Simulator

__all__ = ["Control", "Simulator", "SimulatorError"]
