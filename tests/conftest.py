"""Settings that must stand before anything imports Airflow."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

# As in the Makefile, for who runs pytest without it: Airflow must not write to the home of its user.
_minor = ".".join(version("apache-airflow").split(".")[:2])
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).parents[1] / ".airflow" / _minor))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
