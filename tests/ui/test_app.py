"""Who may see the page, and what of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from fastapi.testclient import TestClient

from airflow_provider_workflows.ui import accounts, history
from airflow_provider_workflows.ui import app as page
from airflow_provider_workflows.ui.history import History

CONNECTIONS = {"bitrix24": ["seen", "hidden"], "domo": ["other"]}


class Manager:
    """Lets the user see one connection and one Dag, unless they are another team's."""

    def is_authorized_connection(self, *, method: str, details: Any, user: Any) -> bool:
        asked = (method, details.conn_id, user.name) == ("GET", "seen", "ada")
        return asked and details.team_name in (None, "ours")

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: Any) -> bool:
        asked = (method, access_entity.name, details.id, user.name) == ("GET", "XCOM", "nightly", "ada")
        return asked and details.team_name in (None, "ours")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Return a browser at the page, with the accounts and Airflow's database made up."""

    def read(may_see: Callable[[str], bool]) -> History:
        return History([{"dag": dag} for dag in ("nightly", "secret") if may_see(dag)])

    def known(conn_type: str, may_see: Callable[[str], bool]) -> list[str]:
        return [one for one in CONNECTIONS[conn_type] if may_see(one)]

    monkeypatch.setattr(page, "get_auth_manager", Manager)
    monkeypatch.setattr(history, "read", read)
    monkeypatch.setattr(accounts, "known", known)
    monkeypatch.setattr(accounts, "portal", lambda conn_id: {"conn_id": conn_id})
    with TestClient(page.app) as client:
        yield client
    page.app.dependency_overrides.clear()


def log_in() -> None:
    page.app.dependency_overrides[get_user] = lambda: SimpleNamespace(name="ada")


@pytest.mark.parametrize("path", ["/", "/data", "/page.js"])
def test_nobody_sees_anything_without_logging_in(web: TestClient, path: str) -> None:
    assert web.get(path).status_code == 401


def test_who_is_logged_in_sees_what_airflow_lets_them_see(web: TestClient) -> None:
    log_in()
    assert web.get("/data").json() == {
        "portals": [{"conn_id": "seen"}],
        "domo": [],
        "clean_ups": [{"dag": "nightly"}],
    }


@pytest.mark.parametrize("team", ["ours", "theirs"])
def test_what_belongs_to_a_team_is_for_whom_airflow_lets_see_that_teams(
    web: TestClient, team: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in()
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    for model in (Connection, DagModel):
        monkeypatch.setattr(model, "get_team_name", lambda name: team)
    told = web.get("/data").json()
    assert [*told["portals"], *told["clean_ups"]] == (
        [{"conn_id": "seen"}, {"dag": "nightly"}] if team == "ours" else []
    )


def test_it_cannot_be_written_to(web: TestClient) -> None:
    log_in()
    assert {web.request(method, "/data").status_code for method in ("POST", "PUT", "PATCH", "DELETE")} == {405}


def test_the_page_and_all_that_it_names_are_there_and_name_no_other_place(web: TestClient) -> None:
    log_in()
    html = web.get("/").text
    files = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert files
    texts = [html, *(web.get(f"/{file}").text for file in files)]
    assert all(web.get(f"/{file}").status_code == 200 for file in [*files, "domo.svg"])
    addresses = set(re.findall(r"(?:https?:)?//[a-z][^\s\"'`]*", "".join(texts)))
    # Names of XML, which nobody loads.
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_browser_is_told_to_load_nothing_from_elsewhere(web: TestClient) -> None:
    log_in()
    policy = web.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*|unsafe", policy)


@pytest.mark.parametrize("path", ["/../plugin.py", "/plugin.py", "/%2e%2e/app.py", "/page.html/"])
def test_nothing_else_is_served(web: TestClient, path: str) -> None:
    log_in()
    assert web.get(path).status_code == 404
