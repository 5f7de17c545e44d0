"""How Sphinx makes the site: ``make docs``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx  # type: ignore[import-not-found]
from sphinx.util.logging import getLogger  # type: ignore[import-not-found]

from airflow_provider_workflows import __version__

logger = getLogger(__name__)
ROOT = Path(__file__).parents[1]
# Before autodoc does it: pydantic cannot make its models while that imports them.
import_module("airflow_provider_workflows.operators.bitrix24")

project = "airflow-provider-workflows"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
# As GitHub makes them, which shows the same pages.
myst_heading_anchors = 4
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

#: Scripts, pictures and styles at an address; a page's own links are no such things.
LOADED_FROM_OUTSIDE = re.compile(r"""(src=["']|<link[^>]+stylesheet[^>]+href=["']|url\(["']?|@import )(\w+:)?//""")
#: Files of the checkout's top, and the pages of the site that show them.
TOP = {
    "README.md": "/index.md",
    "CONTRIBUTING.md": "/contributing.md",
    "CHANGELOG.md": "/changelog.md",
    "SECURITY.md": "/reporting.md",
}


def show_files_of_the_top(_: Sphinx, _docname: str, source: list[str]) -> None:
    """Put such a file where a page includes it, and have links lead to the site's own pages."""
    text = re.sub(
        r"```\{include\} \.\./(\w+\.md)\n```", lambda match: _as_a_page((ROOT / match[1]).read_text()), source[0]
    )
    text = re.sub(r"\]\((?:\.\./)+([\w./-]+)", lambda match: f"]({_page(match[1])}", text)
    # What is named by its file is named by its title here.
    source[0] = re.sub(r"\[[\w./-]+\.(?:md|py)\]\(", "[](", text)


def _as_a_page(text: str) -> str:
    """Have a text's links begin in ``docs``."""
    return re.sub(r"\]\((?!\w+:|#)", "](../", text)


def _page(path: str) -> str:
    """Return the page on a file or folder, by its path from the checkout's top."""
    if path.startswith("example_dags"):
        return f"/examples.md#{Path(path).stem}" if path.endswith(".py") else "/examples.md"
    return TOP.get(path) or f"/{path.removeprefix('docs/')}"


def load_nothing_from_outside(app: Sphinx, _: Exception | None) -> None:
    """Make sure that the site needs nothing but itself."""
    out = Path(app.outdir)
    for page in (*out.rglob("*.html"), *out.rglob("*.css")):
        if LOADED_FROM_OUTSIDE.search(page.read_text()):
            logger.warning("%s loads something from outside", page.relative_to(out))


def setup(app: Sphinx) -> None:
    """Have Sphinx do it."""
    app.connect("source-read", show_files_of_the_top)
    app.connect("build-finished", load_nothing_from_outside)
