"""Both systems on loopback, for every test here; only Airflow 3.1 and later have a place for the page."""

from __future__ import annotations

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from tests.operators.remote import clock, connect, control, simulator

__all__ = ["clock", "connect", "control", "simulator"]

collect_ignore = [] if AIRFLOW_V_3_1_PLUS else ["test_accounts.py", "test_app.py", "test_history.py"]
