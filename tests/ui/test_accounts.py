"""What the page reads of portals and accounts, and what that costs them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from airflow_provider_workflows.bitrix24 import overview
from airflow_provider_workflows.hooks import oauth
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sync import Client
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.ui import accounts
from tests.operators.remote import VirtualTime

MODEL = "0fd93e0c-2b76-4a5c-9f5e-6d5e2cbb1a11"


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PATIENCE", 300.0)


def started(now: float, **ago: float) -> str:
    return (datetime.fromtimestamp(now, UTC) - timedelta(**ago)).isoformat()


def fill(control: Control, now: float) -> None:
    control.add_templates([{"ID": 7, "NAME": "Invoice"}, {"ID": 12, "NAME": "Lead approval"}])
    ages = [started(now, hours=1), started(now, days=3), started(now, days=3), started(now, days=60)]
    control.add_workflows([{"TEMPLATE_ID": 7, "STARTED": age} for age in ages])
    control.add_workflows([{"TEMPLATE_ID": 12, "STARTED": started(now, days=10)}] * 60)


class TestPortal:
    def test_it_is_told_by_template_and_age(self, control: Control, clock: VirtualTime) -> None:
        fill(control, clock.time())
        seen = accounts.portal("bitrix24_default")
        assert seen["running"] == 64
        assert seen["ages"] == ["under a day", "a day to a week", "a week to a month", "over a month"]
        assert [(one["name"], one["ages"]) for one in seen["templates"]] == [
            ("Lead approval", [0, 0, 60, 0]),
            ("Invoice", [1, 2, 0, 1]),
        ]

    def test_templates_that_are_not_counted_one_by_one_are_the_others(
        self, control: Control, clock: VirtualTime
    ) -> None:
        for template in range(1, 16):
            control.add_workflows([{"TEMPLATE_ID": template, "STARTED": started(clock.time(), hours=1)}] * template)
        seen = accounts.portal("bitrix24_default")
        assert len(seen["templates"]) == 13
        assert seen["templates"][-1]["name"] == "others"
        assert sum(sum(one["ages"]) for one in seen["templates"]) == seen["running"] == 120

    def test_the_stuck_ones_are_named_the_oldest_first(self, control: Control, clock: VirtualTime) -> None:
        now = clock.time()
        locked = {"TEMPLATE_ID": 7, "OWNED_UNTIL": started(now, hours=2)}
        old, new = control.add_workflows([locked | {"STARTED": started(now, days=days)} for days in (9, 3)])
        control.add_workflows([{"TEMPLATE_ID": 7, "STARTED": started(now, days=20)}])
        seen = accounts.portal("bitrix24_default")
        assert (seen["stuck"], [one["id"] for one in seen["longest_stuck"]]) == (2, [old, new])

    def test_however_many_look_it_is_asked_twice_a_minute(self, control: Control, clock: VirtualTime) -> None:
        fill(control, clock.time())
        with ThreadPoolExecutor(8) as pool:
            for _ in range(5):
                list(pool.map(accounts.portal, ["bitrix24_default"] * 8))
                clock.sleep(5)
        assert [one["method"] for one in control.requests()] == ["batch", "batch"]
        clock.sleep(accounts.FRESH)
        assert accounts.portal("bitrix24_default")["running"] == 64
        assert len(control.requests()) == 4
        assert control.journal() == []

    def test_who_comes_while_it_is_read_for_the_first_time_is_told_so(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        met: list[dict[str, Any]] = []

        def while_reading() -> Any:
            met.append(accounts.portal("bitrix24_default"))
            return overview.read_overview()

        monkeypatch.setattr(accounts, "read_overview", while_reading)
        assert accounts.portal("bitrix24_default")["running"] == 0
        assert met[0]["pending"] is True

    def test_what_other_processes_have_read_counts(
        self, control: Control, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(control, clock.time())
        accounts.portal("bitrix24_default")
        monkeypatch.setattr(accounts, "read_overview", lambda: pytest.fail("it is read again"))
        assert accounts.portal("bitrix24_default")["running"] == 64

    def test_the_pace_is_that_of_all_who_work_on_it(self, control: Control, connect: Any, clock: VirtualTime) -> None:
        seen = accounts.portal("bitrix24_default")["pace"]
        assert (seen["capacity"], seen["rate"], seen["full_rate"], seen["waiting"]) == (50.0, 2.0, 2.0, 0)
        assert 0 < seen["used"] <= 2

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"webhook_known": False}, "Check the credential"),
            ({"is_admin": False}, "not an administrator"),
            ({"scopes": ["task"]}, "Add 'bizproc'"),
        ],
    )
    def test_an_error_says_what_to_do_and_is_not_repeated_within_the_minute(
        self, control: Control, settings: dict[str, Any], told: str
    ) -> None:
        control.configure(**settings)
        assert told in accounts.portal("bitrix24_default")["error"]
        asked = len(control.requests())
        assert asked <= 2
        assert told in accounts.portal("bitrix24_default")["error"]
        assert len(control.requests()) == asked

    def test_a_portal_that_refuses_is_left_alone(self, control: Control) -> None:
        control.inject("refused", vendor="bitrix24", times=None)
        assert "run fewer tasks at once" in accounts.portal("bitrix24_default")["error"]
        assert len(control.requests()) == 1

    @pytest.fixture
    def teams_portal(self, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        if not AIRFLOW_V_3_2_PLUS:
            pytest.skip("this Airflow has no teams")
        monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
        monkeypatch.setattr(Connection, "get_team_name", lambda conn_id: "sales")
        connect("_SALES___PORTAL", conn_type="bitrix24", login="1", password="sim0webhook0code")

    def test_a_teams_is_read_as_the_teams(self, control: Control, teams_portal: None) -> None:
        assert accounts.portal("portal")["running"] == 0

    def test_so_it_is_when_a_teams_credential_is_rotated_meanwhile(
        self, control: Control, connect: Any, teams_portal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rotated() -> Any:
            control.configure(webhook_code="rotated0credential")
            connect("_SALES___PORTAL", conn_type="bitrix24", login="1", password="rotated0credential")
            return overview.read_overview()

        monkeypatch.setattr(accounts, "read_overview", rotated)
        assert accounts.portal("portal").get("running") == 0

    def test_a_connection_that_cannot_be_used_is_told(self, control: Control, connect: Any) -> None:
        connect("BITRIX24_DEFAULT", login="ada", password="sim0webhook0code")
        assert '"Webhook\'s user id" (login) must be' in accounts.portal("bitrix24_default")["error"]
        assert control.requests() == []

    def test_a_record_that_was_written_by_half_is_read_anew(
        self, control: Control, clock: VirtualTime, tmp_path: Path
    ) -> None:
        accounts.portal("bitrix24_default")
        (record,) = tmp_path.rglob("page-*.json")
        record.write_bytes(record.read_bytes()[:40])
        assert accounts.portal("bitrix24_default")["running"] == 0

    def test_what_one_connection_to_an_application_was_told_is_not_shown_for_another(
        self, control: Control, connect: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(oauth, "_variable", dict)
        ours = {"client_id": "local.1", "client_secret": "of0no0use", "token_url": f"{control.url}/oauth/token/"}
        for name in ("BITRIX24_SALES", "BITRIX24_STAFF"):
            connect(name, extra=json.dumps(ours))
        assert "'bitrix24_sales'" in accounts.portal("bitrix24_sales")["error"]
        told = accounts.portal("bitrix24_staff")["error"]
        assert ("'bitrix24_staff'" in told, "sales" in told) == (True, False)


class TestDomo:
    def test_the_latest_instances_of_the_latest_models_by_status(self, control: Control) -> None:
        models = [MODEL, MODEL.replace("0fd", "1fd"), MODEL.replace("0fd", "2fd")]
        control.add_domo_models([{"id": one} for one in models])
        statuses = ["IN_PROGRESS", "FAILED", "COMPLETED", "COMPLETED"]
        control.add_domo_instances([{"modelId": MODEL, "status": status} for status in statuses])
        for _ in range(3):
            seen = accounts.domo("domo_default", {control.url.removeprefix("http://"): models})
        assert [one["id"] for one in seen["models"]] == models[:2]
        assert seen["models"][0]["statuses"] == {"IN_PROGRESS": 1, "FAILED": 1, "COMPLETED": 2}
        assert len(control.requests()) == 2


@pytest.mark.parametrize("hook", [Bitrix24Hook, DomoHook])
def test_what_never_answers_is_not_waited_for_as_tasks_do(
    control: Control, hook: type[Bitrix24Hook | DomoHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[HttpSettings] = []
    monkeypatch.setattr(accounts, "PATIENCE", 5.0)
    client_of = hook.client_of

    def seen(self: Any, settings: Any, *how: Any) -> Any:
        waits.append(settings.http)
        return client_of(self, settings, *how)

    monkeypatch.setattr(hook, "client_of", seen)
    show = accounts.portal if hook is Bitrix24Hook else lambda conn_id: accounts.domo(conn_id, {})
    assert "error" not in show(hook.default_conn_name)
    (http,) = waits
    assert (http.connect_timeout, http.read_timeout, http.total_timeout) == (accounts.PATIENCE,) * 3


def test_each_refresh_leaves_no_connections_open(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(Client, "close", lambda self: closed.append(self))
    accounts.portal("bitrix24_default")
    accounts.domo("domo_default", {})
    assert len(closed) == 2


@pytest.mark.parametrize("settings", [{}, {"webhook_known": False, "domo_token": "another"}])
def test_no_secret_is_shown_or_kept(control: Control, settings: dict[str, Any], tmp_path: Any) -> None:
    secrets = [control.settings()[name] for name in ("webhook_code", "domo_token")]
    control.configure(**settings)
    shown = [accounts.portal("bitrix24_default"), accounts.domo("domo_default", {})]
    kept = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not [secret for secret in secrets if secret in json.dumps(shown) + "".join(kept)]
