"""The list of public names is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_list_of_public_names_is_as_make_reference_writes_it() -> None:
    page = runpy.run_path(str(PAGE.with_name("make_reference.py")))["page"]
    assert PAGE.read_text() == page(), "run `make reference`, and think of who uses the names that change"
