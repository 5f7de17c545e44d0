"""The plugin that adds the page."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_workflows.ui.plugin import WorkflowsPlugin

ROOT = Path(__file__).parents[2]


def test_it_is_registered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = f"{WorkflowsPlugin.__module__}:{WorkflowsPlugin.__name__}"
    assert named in project["entry-points"]["airflow.plugins"].values()


def test_before_airflow_3_1_it_adds_nothing() -> None:
    assert bool(WorkflowsPlugin.fastapi_apps) is bool(WorkflowsPlugin.external_views) is AIRFLOW_V_3_1_PLUS


def test_it_imports_nothing_that_the_page_needs_until_that_is_opened() -> None:
    """Every worker and every Dag file's process imports the plugin."""
    program = f"""
import sys
import airflow.plugins_manager, airflow.providers.common.compat.version_compat
from airflow.providers.common.compat.sdk import AirflowPlugin
before = set(sys.modules)
import {WorkflowsPlugin.__module__}
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {*ast.literal_eval(done.stdout.splitlines()[-1])}
    package = "airflow_provider_workflows"
    # Airflow may have read the description before.
    assert loaded - {package} == {f"{package}.ui", f"{package}.ui.plugin"}
