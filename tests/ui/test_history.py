"""What the page takes from Airflow's own database; whether that has it so, tests/browser shows."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_workflows.ui import accounts, history

REPORT = {
    "requested": 3,
    "ended": 1,
    "already_ended": 1,
    "moved_on": 0,
    "failed": 1,
    "dry_run": False,
    "failures": [{"reason": "HTTP 403", "count": 1, "ids": ["x"]}],
}


def clean_ups(monkeypatch: pytest.MonkeyPatch, rows: list[Any], *, hidden: str = "") -> list[dict[str, Any]]:
    monkeypatch.setattr(history, "_rows", lambda: rows)
    seen = history.read(lambda dag_id: dag_id != hidden).clean_ups
    assert seen is not None
    return seen


def row(value: Any, operator: str = "CleanUpWorkflowsOperator", *, key: str = "return_value", dag: str = "a/b") -> Any:
    return SimpleNamespace(
        dag_id=dag,
        run_id="manual__2026-01-01T00:00:00+00:00",
        task_id="clean_up",
        map_index=-1,
        key=key,
        value=json.dumps(value),
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        operator=operator,
        state="failed",
    )


def link(model: str, host: str = "acme.domo.com") -> Any:
    return row(f"https://{host}/workflows/instances/{model}/1.0.0/i", "DomoStartOperator", key="_link_InstanceLink")


def test_a_report_is_told_with_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    (seen,) = clean_ups(monkeypatch, [row(REPORT)])
    assert seen == {
        "dag": "a/b",
        "task": "clean_up",
        "operator": "CleanUpWorkflows",
        "state": "failed",
        "at": "2026-01-01T00:00:00+00:00",
        "page": "dags/a%2Fb/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/clean_up",
        "dry_run": False,
        "reason": "HTTP 403",
        "requested": 3,
        "ended": 1,
        "already_ended": 1,
        "moved_on": 0,
        "failed": 1,
    }


def test_what_may_not_be_seen_and_what_is_no_report_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(REPORT, dag="secret"), row("text"), row(REPORT | {"ended": "many"})]
    seen = clean_ups(monkeypatch, rows, hidden="secret")
    assert [(one["dag"], one["ended"]) for one in seen] == [("a/b", 0)]


@pytest.mark.parametrize(
    "value",
    [
        REPORT | {"failures": [{"__classname__": "airflow.sdk.definitions.asset.Asset", "__version__": 1}]},
        REPORT | {"failures": [{"__classname__": "nobody.Knows", "__version__": 1, "__data__": {}}]},
        REPORT | {"failures": ["text"]},
        REPORT | {"failures": {"reason": "x"}},
    ],
)
def test_the_web_server_makes_nothing_but_json_of_what_a_dag_has_returned(
    monkeypatch: pytest.MonkeyPatch, value: dict[str, Any]
) -> None:
    (seen,) = clean_ups(monkeypatch, [row(value)])
    assert (seen["requested"], seen["reason"]) == (3, "")


def test_a_link_that_is_no_address_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = row("https://[", "DomoStartOperator", key="_link_InstanceLink")
    monkeypatch.setattr(history, "_rows", lambda: [broken, link("m-1")])
    assert history.read(lambda dag_id: True).models == {"acme.domo.com": ["m-1"]}


def test_models_are_known_by_the_links_of_tasks_the_latest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [link("m-2"), link("m%2F1"), link("m-2"), link("m-3", "other.domo.com"), row("x", key="_link_InstanceLink")]
    monkeypatch.setattr(history, "_rows", lambda: rows)
    seen = history.read(lambda dag_id: False)
    assert seen.models == {"acme.domo.com": ["m-2", "m/1"], "other.domo.com": ["m-3"]}
    assert seen.clean_ups == []


def test_an_airflow_that_has_it_otherwise_costs_the_page_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if a later Airflow had no such module.
    monkeypatch.setitem(sys.modules, "airflow.models.xcom", None)
    seen = history.read(lambda dag_id: True)
    assert (seen.clean_ups, seen.models) == (None, {})


def test_connections_are_known_by_the_database_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = json.dumps({"conn_type": "bitrix24", "host": "acme.bitrix24.com"})
    for name, connection in {"MINE": portal, "HIDDEN": portal, "WEB": "http://acme.com", "STORED": portal}.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection)
    monkeypatch.delenv("AIRFLOW_CONN_BITRIX24_DEFAULT", raising=False)
    monkeypatch.setattr(accounts, "create_session", lambda: nullcontext(SimpleNamespace(scalars=lambda _: ["stored"])))
    assert accounts.known("bitrix24", lambda conn_id: conn_id not in {"hidden", "bitrix24_default"}) == [
        "mine",
        "stored",
    ]
