"""The site leaves nothing out. Its navigation and its links are checked by `make docs`."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from airflow_provider_workflows.hooks.extras import Bitrix24Extra, DomoExtra

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = runpy.run_path(str(DOCS / "make_reference.py"))
API = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
#: The pages whose Python blocks are run by tests.
SHOWN = "".join(
    block
    for page in ("operators", "waiting", "notifier")
    for block in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
)
FOR_DAGS = [
    name for module, names in REFERENCE["FOR_DAGS"].items() for name in REFERENCE["public_names"](module, names)
]
EXTRA = Bitrix24Extra.model_fields.keys() | DomoExtra.model_fields.keys()


@pytest.mark.parametrize("module", [*REFERENCE["FOR_DAGS"], *REFERENCE["HOOKS"], *REFERENCE["WITHOUT_AIRFLOW"]])
def test_every_public_module_is_in_the_api_reference(module: str) -> None:
    assert f".. automodule:: airflow_provider_workflows.{module}\n" in API


def test_every_module_of_errors_is_in_the_api_reference() -> None:
    modules = {error.__module__ for error in REFERENCE["errors"]()}
    assert {name for name in modules if name.endswith(".errors") and f".. automodule:: {name}\n" not in API} == set()


@pytest.mark.parametrize("name", sorted(FOR_DAGS))
def test_everything_for_dags_is_shown_in_code_that_tests_run(name: str) -> None:
    assert re.search(rf"\b{name}\(", SHOWN), f"{name} has no how-to"


@pytest.mark.parametrize("file", sorted((ROOT / "example_dags").glob("*.py")), ids=lambda file: file.stem)
def test_every_example_dag_is_shown(file: Path) -> None:
    if file.stem != "demo":
        assert f"```{{literalinclude}} ../example_dags/{file.name}\n" in (DOCS / "examples.md").read_text()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_field_of_connections_that_a_page_names_is_one(page: Path) -> None:
    assert extra_fields(page) - EXTRA == set()


def test_the_page_of_connections_has_every_field() -> None:
    assert extra_fields(DOCS / "connections.md") == EXTRA


def extra_fields(page: Path) -> set[str]:
    return set(re.findall(r"`extra\.(\w+)`", page.read_text()))
