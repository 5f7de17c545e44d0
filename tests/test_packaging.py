"""What a user gets who installs the package, and what importing it costs."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

import airflow_provider_workflows

ROOT = Path(__file__).parents[1]


def python(*args: str) -> str:
    """Run Python with `args` in the checkout and return what it prints."""
    run = subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (path,) = folder.iterdir()
    with ZipFile(path) as wheel:
        yield wheel


class TestWheel:
    def test_it_is_named_after_the_version(self, wheel: ZipFile) -> None:
        version = airflow_provider_workflows.__version__
        assert Path(str(wheel.filename)).name == f"airflow_provider_workflows-{version}-py3-none-any.whl"

    def test_it_holds_the_package_and_nothing_beside_it(self, wheel: ZipFile) -> None:
        version = airflow_provider_workflows.__version__
        assert {name.split("/")[0] for name in wheel.namelist()} == {
            "airflow_provider_workflows",
            f"airflow_provider_workflows-{version}.dist-info",
        }

    def test_it_holds_every_file_of_the_package(self, wheel: ZipFile) -> None:
        package = ROOT / "airflow_provider_workflows"
        files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert {str(path.relative_to(ROOT)) for path in files} <= set(wheel.namelist())

    def test_it_is_marked_as_typed(self, wheel: ZipFile) -> None:
        assert "airflow_provider_workflows/py.typed" in wheel.namelist()


class TestLinks:
    """What leads from PyPI and from Airflow's page of providers to the repository."""

    @pytest.fixture
    def metadata(self, tmp_path: Path) -> dict[str, Any]:
        """Return what is added to the metadata of a release of a repository."""
        package = tmp_path / "airflow_provider_workflows"
        package.mkdir()
        package.joinpath("__init__.py").write_text('__version__ = "1.2.3"\nREPOSITORY = "https://github.com/acme/them"')
        tmp_path.joinpath("README.md").write_text((ROOT / "README.md").read_text())
        metadata: dict[str, Any] = {}
        runpy.run_path(str(ROOT / "hatch_build.py"))["LinksHook"](str(tmp_path), {}).update(metadata)
        return metadata

    def test_on_pypi_every_link_of_the_readme_is_absolute(self, metadata: dict[str, Any]) -> None:
        links = re.findall(r"\]\(([^)]+)\)", metadata["readme"]["text"])
        assert "https://github.com/acme/them/blob/v1.2.3/docs/connections.md" in links
        assert [link for link in links if not link.startswith("https://")] == []

    def test_airflow_is_told_where_the_documentation_is(self, metadata: dict[str, Any]) -> None:
        assert metadata["urls"]["Documentation"] == "https://github.com/acme/them/blob/v1.2.3/README.md"

    def test_the_wheel_names_an_address_only_if_there_is_one(self, wheel: ZipFile) -> None:
        (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
        assert (b"Project-URL" in wheel.read(name)) == bool(airflow_provider_workflows.REPOSITORY)


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    (entry_point,) = (
        found
        for found in entry_points(group="apache_airflow_provider")
        if found.dist is not None and found.dist.name == "airflow-provider-workflows"
    )
    info = entry_point.load()()
    assert info["package-name"] == "airflow-provider-workflows"


def airflow_modules_imported_with(*modules: str) -> list[str]:
    return python(
        "-c",
        f"import sys, {', '.join(modules)}\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] == 'airflow'))",
    ).split()


def test_what_airflow_loads_to_list_its_providers_imports_no_airflow() -> None:
    """Every `airflow` command does, so it has to be quick."""
    assert airflow_modules_imported_with("airflow_provider_workflows.get_provider_info") == []


@pytest.mark.parametrize("package", ["records", "rest", "bitrix24", "domo", "simulator"])
def test_what_serves_a_notebook_too_imports_no_airflow(package: str) -> None:
    files = (ROOT / "airflow_provider_workflows" / package).rglob("*.py")
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith(".__main__")]
    assert f"airflow_provider_workflows.{package}" in modules
    assert airflow_modules_imported_with(*modules) == []


@pytest.mark.parametrize("pins", sorted((ROOT / ".ci").glob("requirements-*.txt")), ids=lambda path: path.stem)
def test_every_pin_names_the_hashes_of_its_files(pins: Path) -> None:
    entries = pins.read_text().replace("\\\n", " ").splitlines()
    pinned = [entry for entry in entries if entry.strip() and not entry.lstrip().startswith("#")]
    assert pinned
    assert [entry for entry in pinned if "==" not in entry or "--hash=sha256:" not in entry] == []
