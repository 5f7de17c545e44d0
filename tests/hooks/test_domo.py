from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
import responses
from airflow.providers.common.compat.sdk import Connection, redact

from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.calls import get_instance
from airflow_provider_workflows.domo.client import DomoClient
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.rest.plans import send
from airflow_provider_workflows.rest.protocol import HttpSettings

TOKEN = "DDCIh00kt0ken0facme"
ACCOUNT = Account("https://acme.domo.com", TOKEN)


def hook_of(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> DomoHook:
    """Return the hook of a connection as the form stores it: what is left blank is an empty text."""
    blank: dict[str, Any] = {"host": "", "login": "", "password": "", "schema": "", "port": None, "extra": "{}"}
    fields = {"conn_type": "domo"} | blank | fields
    connection = Connection(conn_id="domo", description="", **fields)
    monkeypatch.setattr(DomoHook, "get_connection", lambda self, conn_id: connection)
    return DomoHook("domo")


class TestForm:
    @pytest.mark.parametrize(
        "host", ["acme.domo.com", "https://acme.domo.com", "https://acme.domo.com/", " acme.domo.com"]
    )
    def test_host_and_token(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        assert hook_of(monkeypatch, host=host, password=f" {TOKEN} ").get_conn().account == ACCOUNT

    def test_blank_fields_may_also_be_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="acme.domo.com", password=TOKEN, login=None, schema=None, extra=None)
        assert hook.get_conn().account == ACCOUNT

    def test_blank_fields_of_the_extra_count_as_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"instance_path": "", "connect_timeout": None, "read_timeout": ""})
        hook = hook_of(monkeypatch, host="acme.domo.com", password=TOKEN, extra=extra)
        assert hook.get_conn().account == ACCOUNT

    def test_the_extra_may_tell_where_an_instance_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"instance_path": "/v9/{instance_id}"})
        hook = hook_of(monkeypatch, host="acme.domo.com", password=TOKEN, extra=extra)
        assert hook.get_conn().account.instance_path == "/v9/{instance_id}"

    def test_timeouts_come_from_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"connect_timeout": "2.5", "read_timeout": 90})
        hook = hook_of(monkeypatch, host="acme.domo.com", password=TOKEN, extra=extra)
        assert hook.get_conn().http == HttpSettings(2.5, 90.0)

    def test_http_serves_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="localhost", port=8024, schema="http", password=TOKEN)
        assert hook.get_conn().account.base_url == "http://localhost:8024"


class TestEnvironmentVariable:
    @pytest.mark.parametrize(
        "variable",
        [
            json.dumps({"conn_type": "domo", "host": "acme.domo.com", "password": TOKEN}),
            json.dumps(
                {"conn_type": "domo", "host": "acme.domo.com", "password": TOKEN, "extra": {"read_timeout": 70}}
            ),
            f"domo://:{TOKEN}@acme.domo.com",
            f"domo://:{TOKEN}@acme.domo.com/https?connect_timeout=10",
        ],
    )
    def test_as_json_or_as_an_address(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DOMO", variable)
        assert DomoHook("domo").get_conn().account == ACCOUNT

    def test_as_an_address_on_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DOMO", f"domo://:{TOKEN}@127.0.0.1:8024/http")
        assert DomoHook("domo").get_conn().account.base_url == "http://127.0.0.1:8024"


GOOD = {"host": "acme.domo.com", "password": TOKEN}


class TestBadConnection:
    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"host": ""}, "host"),
            ({"host": f"acme.domo.com:{TOKEN}"}, "host"),
            ({"host": f"https://acme.domo.com:{TOKEN}/"}, "host"),
            ({"host": f"https://[{TOKEN}"}, "host"),
            ({"host": f"https://{TOKEN}@"}, "host"),
            ({"host": f"acme.domo.com/{TOKEN}"}, "host"),
            ({"password": ""}, "password"),
            ({"password": f"{TOKEN} {TOKEN}"}, "password"),
            ({"password": f"X-DOMO-Developer-Token: {TOKEN}"}, "password"),
            ({"schema": f"x{TOKEN}"}, "schema"),
            ({"schema": "http"}, "schema"),
            ({"host": "http://acme.domo.com"}, "schema"),
            ({"host": f"ftp://acme.domo.com/{TOKEN}"}, "schema"),
            ({"extra": json.dumps({"access_token": TOKEN})}, "access_token"),
            ({"extra": json.dumps({"instance_path": f"/x/{TOKEN}"})}, "instance_path"),
            ({"extra": json.dumps({"instance_path": {"a": TOKEN}})}, "instance_path"),
            ({"extra": json.dumps({"read_timeout": f"x{TOKEN}"})}, "read_timeout"),
            ({"extra": json.dumps({"connect_timeout": 0})}, "connect_timeout"),
            ({"extra": json.dumps({"instance_path": "/x/{instance_id}\r\nX-Header: 1"})}, "instance_path"),
            ({"host": "https://acme.domo.com@evil.com"}, "host"),
            ({"host": "https://acme.domo.com/", "schema": "http"}, "scheme"),
            ({"host": "acme.domo.com:444", "port": 443}, "port"),
            ({"conn_type": "bitrix24"}, "what is needed here is a Domo connection (conn_type 'domo')"),
            ({"conn_type": "http"}, "what is needed here is a Domo connection (conn_type 'domo')"),
        ],
    )
    def test_it_is_refused_with_the_fields_name_and_without_its_value(
        self, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], name: str
    ) -> None:
        hook = hook_of(monkeypatch, **(GOOD | fields))
        with pytest.raises(ConnectionFieldError) as caught:
            hook.get_conn()
        said = str(caught.value)
        assert said.startswith("Connection 'domo': ")
        assert name in said
        assert TOKEN not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


class TestClient:
    def test_it_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, **GOOD)
        client = hook.get_conn()
        assert isinstance(client, DomoClient)
        assert hook.get_conn() is client

    @responses.activate
    def test_the_hook_runs_plans(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "https://acme.domo.com/api/workflow/v1/instances/i1"
        responses.get(url, json={"id": "i1"})
        assert hook_of(monkeypatch, **GOOD).run(send(get_instance("i1"))) == {"id": "i1"}
        responses.replace("GET", url, json={"message": "not found"}, status=404)
        with pytest.raises(NotFoundError):
            hook_of(monkeypatch, **GOOD).run(send(get_instance("i1")))

    def test_airflow_is_told_the_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = type(
            "Fake", (), {**GOOD, "conn_id": "domo", "conn_type": "domo", "schema": None, "port": None, "extra": None}
        )()
        connection.password = "maskD0mo"
        monkeypatch.setattr(DomoHook, "get_connection", lambda self, conn_id: connection)
        assert redact("x maskD0mo") == "x maskD0mo"
        DomoHook("domo").get_conn()
        assert redact("x maskD0mo") == "x ***"
