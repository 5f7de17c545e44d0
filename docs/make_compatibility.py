"""Writes compatibility.md from what ``tests/matrix/run.py`` found out: ``make test-matrix``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("compatibility.md")
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests/matrix/results"
FEATURES = ROOT / "tests/matrix/test_features.py"

INTRODUCTION = """\
# Compatibility

Made by `make test-matrix`; not edited by hand. It runs Airflow 2.11 and each release of Airflow 3, on each Python from
3.11 to 3.13 that is on `PATH` and suits it.

## What Airflow must have

The same works on every release, but for what Airflow itself has only from some release on:
"""

TESTS = """\

## What was tested

On each in the table, the wheel was installed with Airflow alone, every module of it was imported, and `airflow
providers list`, `hooks`, `links`, `behaviours`, `notifications` and `triggers` were asked for all that this provider
has: the last column names those that show it. Then the tests of what uses Airflow were run, and a [project of a
user](testing.md); on the first and the last release also whole clean-ups with faults and kills. Skipped are tests of
what that Airflow does not have, and of database servers that the machine did not have. *Lowest* is the lowest release
of everything that the package needs.
"""

NOTES = """\

## What to know

- Before Airflow 3.3, the retry of a start knows what an earlier try has started only with `sole_starter=True`; without,
  it starts nothing where it may have been started ([waiting.md](waiting.md#starting-once)). And a deferred task that is
  killed, cleared or marked failed leaves running what it started ([waiting.md](waiting.md#when-a-task-is-killed)). One
  that is killed in its worker ends it, on each Airflow.
- Airflow 3.0 and 3.2 do not run with the newest releases of what they need themselves: 3.0.6 needs `fastapi<0.132`
  and `universal-pathlib<0.3` beside it, 3.2.2 needs `fastapi<0.137` and `svcs<26`. With Airflow's own constraints files
  you have them.
- Airflow 3.0 and 3.1 list no provider's connection forms (`airflow providers behaviours`), and 3.0 shows none of their
  labels and fields in the UI, unless `apache-airflow-providers-fab` is installed.
- Airflow 2.11.0 needs `universal-pathlib<0.3` for a `record_path` in an object store; 2.11.2 asks for it itself.
- For Airflow's own database, MariaDB works with mysqlclient 2.2.7, and not with 2.3.1.
- Tasks that wait in the triggerer survive an upgrade from 2.11 to 3.3: they go on when their Dags are unpaused.
"""


def page() -> str:
    """Return the whole page."""
    results = [json.loads(file.read_text()) for file in RESULTS.glob("*.json")]
    results.sort(key=lambda one: (not one["lowest"], *map(_numbers, (one["airflow"], one["python"]))))
    return "\n".join([INTRODUCTION, *_features(results), TESTS, *_tests(results), NOTES])


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _features(results: list[dict[str, Any]]) -> Iterator[str]:
    """Return a row for each feature, and a column for each release."""
    # The last has the newest Python.
    releases = {one["airflow"].rpartition(".")[0]: one["features"] for one in results}
    yield _row("", *releases)
    yield _row("---", *("---" for _ in releases))
    shown = {"passed": "yes", "skipped": "no", "failed": "FAILS"}
    for test in re.findall(r"^def (test_\w+)", FEATURES.read_text(), re.MULTILINE):
        name = test.removeprefix("test_").replace("_", " ").replace("a dag", "a Dag").replace("the ui", "the UI")
        yield _row(name, *(shown[features[test]] for features in releases.values()))


def _tests(results: list[dict[str, Any]]) -> Iterator[str]:
    """Return a row for each run."""
    yield _row("Airflow", "Python", "passed", "skipped", "failed", "journeys passed", "failed", "lists that show all")
    yield _row(*("---" for _ in range(8)))
    for one in results:
        if not one["suites"]:
            continue
        unit, journeys = one["suites"]["unit"], one["suites"].get("journeys")
        yield _row(
            f"{one['airflow']}{' (lowest)' if one['lowest'] else ''}",
            one["python"],
            *(unit.get(outcome, 0) for outcome in ("passed", "skipped", "failed")),
            *((journeys.get(outcome, 0) for outcome in ("passed", "failed")) if journeys else ("", "")),
            ", ".join(name for name, complete in one["lists"].items() if complete),
        )


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    PAGE.write_text(page())
