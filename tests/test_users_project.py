"""A small project that has the wheel installed, and tests its Dags with nothing but the plugin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "tests/users_project"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project, beside a folder into which the wheel is unpacked: all that installing it does."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    return Path(shutil.copytree(PROJECT, tmp_path / "project"))


def test_its_tests_pass(project: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project.with_name("installed")), "AIRFLOW_HOME": str(project)}
    # Where it is set, every Airflow process compiles all of Airflow anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert re.search(r"^\d+ passed", run.stdout.splitlines()[-1]), run.stdout


def test_the_page_on_testing_shows_its_code() -> None:
    page = (ROOT / "docs/testing.md").read_text()
    code = [file.read_text() for file in PROJECT.glob("*.py")]
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 4
    assert [block for block in blocks if not any(block in text for text in code)] == []
