"""Runs the tests on each Airflow and each Python on PATH that fits it: ``make test-matrix``.

Each has an environment of its own, into which the wheel is installed with Airflow alone at first, and then what tests
need. What came of it is kept in ``results``, from which ``docs/make_compatibility.py`` writes its page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".matrix"
RESULTS = Path(__file__).with_name("results")
#: Airflow's releases, and the Pythons that suit each; ``lowest`` has the lowest release of all that the package needs.
AIRFLOWS = {
    "lowest": ("3.11",),
    "2.11": ("3.11", "3.12"),
    "3.0": ("3.11", "3.12"),
    "3.1": ("3.11", "3.12", "3.13"),
    "3.2": ("3.11", "3.12", "3.13"),
    "3.3": ("3.11", "3.12", "3.13"),
}
#: Those on which whole journeys are run too.
ENDS = ("2.11", "3.3")
#: Prints the provider info, when all could be imported that needs no extra, and no page where Airflow takes in none.
IMPORT_ALL = """
import importlib, json, pkgutil, airflow_provider_workflows as package
from airflow_provider_workflows.get_provider_info import get_provider_info
from airflow_provider_workflows.ui.plugin import WorkflowsPlugin

left_out = {"simulator", "testing", "pytest_plugin", "redis", "__main__"}
left_out |= set() if WorkflowsPlugin.external_views else {"accounts", "app", "history"}
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not left_out & set(found.name.split(".")):
        importlib.import_module(found.name)
print(json.dumps(get_provider_info()))
"""


def find_python(version: str) -> str:
    """Return the path of a Python on PATH, or nothing: a shim may be there that leads to none."""
    show = (f"python{version}", "-c", "import sys; print(sys.executable)")
    try:
        return subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


class Environment:
    """An Airflow on a Python.

    :param airflow: its release, or ``lowest``.
    :param python: the Python's version.
    :param options: of the command line.
    """

    def __init__(self, airflow: str, python: str, options: argparse.Namespace) -> None:
        self.airflow, self.python, self.options = airflow, python, options
        self.name = f"{airflow}-{python}"
        self.folder = HOME / self.name
        self.pins = ROOT / f".ci/requirements-airflow-{airflow}.txt"
        self.failures: list[str] = []

    def make(self) -> None:
        """Make it, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._uv("venv", "--python", find_python(self.python), str(self.folder))

    def install(self, *what: str) -> None:
        """Install something, in the versions that are pinned."""
        into = ("--python", str(self.folder / "bin/python"), "--compile-bytecode", "-c", str(self.pins))
        self._uv("pip", "install", *into, *what)

    def _uv(self, *arguments: str) -> None:
        command, *rest = arguments
        subprocess.run([self.options.uv, command, *rest, "--quiet"], check=True)

    def run(self, *command: str, **how: Any) -> str:
        """Run a program of it, and return what it prints."""
        env = {name: text for name, text in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
        env |= {"AIRFLOW_HOME": str(self.folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        env |= {"PATH": f"{self.folder / 'bin'}:{env['PATH']}", **how.pop("env", {})}
        program = self.folder / "bin" / command[0]
        done = subprocess.run(
            [program, *command[1:]], **{"cwd": self.folder, **how}, env=env, stdout=-1, stderr=-2, text=True
        )
        return str(done.stdout)

    def missing(self) -> dict[str, list[str]]:
        """Return what each of Airflow's lists of what providers have lacks of this one's, but for empty lists."""
        imported = self.run("python", "-W", "ignore", "-c", IMPORT_ALL)
        try:
            info = json.loads(imported.splitlines()[-1])
        except (IndexError, ValueError):
            return {"import": [imported]}
        conn_types = [one["connection-type"] for one in info["connection-types"]]
        expected = {
            "list": [info["package-name"]],
            "hooks": conn_types,
            "links": info["extra-links"],
            "behaviours": conn_types,
            "notifications": info.get("notifications", []),
            "triggers": [module for one in info["triggers"] for module in one["python-modules"]],
        }
        shown = {name: self.run("airflow", "providers", name, "-o", "json") for name in expected}
        return {
            name: [one for one in ones if one not in shown[name]]
            for name, ones in expected.items()
            if ones and not shown[name].rstrip().endswith("[]")
        }

    def test(self, name: str, *what: str) -> dict[str, str]:
        """Run tests of the checkout, and return what came of each."""
        report, log = self.folder / f"{name}.xml", self.folder / f"{name}.log"
        report.unlink(missing_ok=True)
        side_by_side = ("-n", self.options.jobs, "--maxschedchunk", "1")
        pytest = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *side_by_side, f"--junitxml={report}")
        log.write_text(self.run(*pytest, *what, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "MATRIX": "1"}))
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314
        outcomes = {f"{case.get('classname')}.{case.get('name')}": _outcome(case) for case in cases}
        self.failures += [test for test, outcome in outcomes.items() if outcome == "failed"]
        if "passed" not in outcomes.values():
            self.failures.append(f"{name}: none has passed, see {log}")
        return outcomes


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


def try_out(environment: Environment, wheel: Path) -> dict[str, Any]:
    """Return what came of everything in one environment."""
    begun = time.monotonic()
    environment.make()
    environment.install(str(wheel))
    missing = environment.missing()
    environment.failures += [f"airflow providers {name} lacks {one}" for name, ones in missing.items() for one in ones]
    environment.install(f"{wheel}[redis,simulator,testing]", "-r", str(environment.pins))
    folders = environment.options.folders
    suites: dict[str, Mapping[str, str]] = {
        "unit": environment.test("unit", *folders, "tests/test_users_project.py"),
        "features": environment.test("features", "tests/matrix"),
    }
    if environment.airflow in ENDS:
        suites["journeys"] = environment.test("journeys", "tests/journeys")
    show = "import platform, importlib.metadata as m; print(m.version('apache-airflow'), platform.python_version())"
    airflow, python = environment.run("python", "-c", show).split()
    return {
        "airflow": airflow,
        "lowest": environment.airflow == "lowest",
        "python": python,
        "lists": {name: not ones for name, ones in missing.items()},
        "features": {test.rpartition(".")[2]: outcome for test, outcome in suites.pop("features").items()},
        "suites": {name: Counter(outcomes.values()) for name, outcomes in suites.items()},
        "seconds": round(time.monotonic() - begun),
    }


def main() -> int:
    """Run all, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", required=True, help="the program uv")
    parser.add_argument("--jobs", required=True, help="tests side by side")
    parser.add_argument("--folders", required=True, nargs="+", help="folders of tests of what uses Airflow")
    parser.add_argument("--only", nargs="*", help="environments, such as 3.2-3.13; all by default")
    options = parser.parse_args()
    shutil.rmtree(HOME / "dist", ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", HOME / "dist"], cwd=ROOT, check=True
    )
    (wheel,) = (HOME / "dist").iterdir()
    failed = False
    for environment in [Environment(one, python, options) for one, pythons in AIRFLOWS.items() for python in pythons]:
        if options.only and environment.name not in options.only:
            continue
        if not find_python(environment.python):
            print(f"SKIPPED {environment.name}: PATH has no python{environment.python} that runs.", flush=True)
            continue
        result = try_out(environment, wheel)
        (RESULTS / f"{environment.name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(environment.name, {name: dict(count) for name, count in result["suites"].items()}, flush=True)
        print(*(f"  FAILED {failure}\n" for failure in environment.failures), sep="", end="", flush=True)
        failed = failed or bool(environment.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
