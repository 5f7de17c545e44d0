"""The README's way from its first Dag to what that does, as it is written, with Airflow's own commands."""

from __future__ import annotations

import re
from pathlib import Path
from subprocess import Popen

import pytest

from tests.e2e.services import PATIENCE

#: What the README says that the two runs log.
LOGGED = (
    r"a dry run finds (\d+) running workflows of all templates, stuck for 1:00:00",
    r"A dry run: (\d+) would be ended",
    r"Of (\d+) requested: \1 ended",
)


@pytest.mark.parametrize("version", ["3.3", "2.11"])
def test_the_first_dag_shows_what_is_stuck_and_then_ends_it(
    readme: dict[str, tuple[Popen[bytes], Path]], version: str
) -> None:
    if version not in readme:
        pytest.skip(f"there is no Airflow {version}: `make test-{version}` makes it, where there is a Python for it")
    process, log = readme[version]
    status = process.wait(PATIENCE)
    text = log.read_text()
    assert status == 0, text
    found = [re.search(line, text) for line in LOGGED]
    assert all(found), text
    assert len({match[1] for match in found if match}) == 1
