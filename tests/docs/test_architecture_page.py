"""What the architecture page and CONTRIBUTING name is there."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_workflows"
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
SOURCE = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))


def code_in(page: str) -> list[str]:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    return sorted(set(re.findall(r"`([^`]+)`", text)))


def is_path(code: str) -> bool:
    return re.fullmatch(r"[\w./-]+", code) is not None and "/" in code and not code.startswith(".venv")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_is_there(page: str) -> None:
    paths = [code for code in code_in(page) if is_path(code)]
    assert len(paths) > 5
    assert [path for path in paths if not ((ROOT / path).exists() or (PACKAGE / path).exists())] == []


def test_every_name_is_in_the_file_that_the_page_says() -> None:
    places = [code.split("::") for code in code_in("docs/architecture.md") if "::" in code and code != "file::name"]
    assert len(places) > 50
    for file, name in places:
        assert (PACKAGE / file).is_file(), file
        module = importlib.import_module(".".join(("airflow_provider_workflows", *file.removesuffix(".py").split("/"))))
        defined = reduce(getattr, name.split("."), module)
        # Not only imported there.
        assert "." in name or defined.__module__ == module.__name__, f"{file}::{name}"


def folders_imported_by(folder: str) -> set[str]:
    source = "".join(path.read_text() for path in (PACKAGE / folder).rglob("*.py"))
    return set(re.findall(r"^\s*from airflow_provider_workflows\.(\w+)", source, re.MULTILINE)) - {folder}


def test_imports_point_downwards_in_the_table_of_layers() -> None:
    rows = re.findall(r"^\| (`\w+/`.*?) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    layers = {folder: row for row, cell in enumerate(rows) for folder in re.findall(r"(\w+)/", cell)}
    assert set(layers) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    upwards = {
        (folder, imported)
        for folder in layers
        for imported in folders_imported_by(folder) & set(layers)
        if layers[imported] <= layers[folder]
    }
    assert upwards == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_class_is_one_of_the_package(page: str) -> None:
    classes = [code for code in code_in(page) if re.fullmatch(r"([A-Z][a-z0-9]+)+", code)]
    assert [name for name in classes if not re.search(rf"\bclass {name}\b", SOURCE)] == []


@pytest.mark.parametrize(
    "question",
    [
        "a refusal waited out",
        "a filter checked",
        "a lost start looked for",
        "a report built",
        "a wait given up",
        "a task stopped",
        "a clean-up's checkpoint",
        "a secret hidden",
        "what workers share",
        "the number of requests under way",
        "an application's (OAuth) tokens renewed",
        "a metric counted, a span made",
        "a connection checked (*Test*, `doctor`)",
        "the page in Airflow's UI",
    ],
)
def test_the_page_answers(question: str) -> None:
    assert f"\n| {question} | " in (ROOT / "docs/architecture.md").read_text()
