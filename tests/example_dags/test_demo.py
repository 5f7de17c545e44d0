"""The demonstration tells when a promise is not kept."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("airflow.sdk", reason="the demonstration runs on Airflow 3")

from example_dags import demo


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "HOME", tmp_path)
    monkeypatch.setattr(demo, "LOG", tmp_path / "demo.log")


def test_dags_that_succeed_but_do_nothing_break_their_promise(monkeypatch, capsys):
    monkeypatch.setattr(demo, "AIRFLOW", Path("/bin/true"))

    assert demo.main() == 1
    assert "BROKEN" in capsys.readouterr().out


def test_an_airflow_that_fails_shows_its_log(monkeypatch, capsys):
    monkeypatch.setattr(demo, "AIRFLOW", Path("/bin/ls"))

    assert demo.main() == 1
    assert "cannot access 'db'" in capsys.readouterr().out
