"""What the plugin costs a project that has this package, and tests something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
import sys

def test_nothing_was_imported():
    assert "airflow_provider_workflows.pytest_plugin" in sys.modules
    assert not {"airflow", "aiohttp", "httpx", "pydantic", "requests", "sqlalchemy"} & sys.modules.keys()
"""


def test_until_a_fixture_is_used_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_something.py").write_text(TEST)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "airflow_provider_workflows.pytest_plugin"]
    run = subprocess.run([*pytest, "test_something.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
