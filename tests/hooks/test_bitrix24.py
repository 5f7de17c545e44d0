from __future__ import annotations

import json
import pickle
import traceback
from typing import Any

import pytest
import responses
from airflow.providers.common.compat.sdk import Connection, redact

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.rest.errors import AuthenticationError
from airflow_provider_workflows.rest.plans import send
from airflow_provider_workflows.rest.protocol import HttpSettings

CODE = "h00kc0de0facme"
TOKEN = "h00kt0ken0facme"
WEBHOOK = Portal("https://acme.bitrix24.com", 17, CODE)
BY_TOKEN = Portal("https://acme.bitrix24.com", None, TOKEN)


def hook_of(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Bitrix24Hook:
    """Return the hook of a connection as the form stores it: what is left blank is an empty text."""
    blank: dict[str, Any] = {"host": "", "login": "", "password": "", "schema": "", "port": None, "extra": "{}"}
    connection = Connection(conn_id="b24", description="", **({"conn_type": "bitrix24"} | blank | fields))
    monkeypatch.setattr(Bitrix24Hook, "get_connection", lambda self, conn_id: connection)
    return Bitrix24Hook("b24")


def hook_from(monkeypatch: pytest.MonkeyPatch, variable: str | dict[str, Any]) -> Bitrix24Hook:
    """Return the hook of a connection in an environment variable."""
    text = variable if isinstance(variable, str) else json.dumps(variable)
    monkeypatch.setenv("AIRFLOW_CONN_B24", text)
    return Bitrix24Hook("b24")


class TestForm:
    def test_host_user_id_and_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", login="17", password=CODE)
        assert hook.get_conn().portal == WEBHOOK

    def test_blank_fields_may_also_be_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", login="17", password=CODE, schema=None, extra=None)
        assert hook.get_conn().portal == WEBHOOK

    def test_blank_fields_of_the_extra_count_as_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"access_token": "", "connect_timeout": None, "read_timeout": ""})
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", login="17", password=CODE, extra=extra)
        assert hook.get_conn().portal == WEBHOOK

    def test_an_access_token_in_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", extra=json.dumps({"access_token": f" {TOKEN} "}))
        assert hook.get_conn().portal == BY_TOKEN

    @pytest.mark.parametrize("host", ["https://acme.bitrix24.com", "https://acme.bitrix24.com/", " acme.bitrix24.com "])
    def test_the_host_may_be_pasted_from_the_browser(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        assert hook_of(monkeypatch, host=host, login="17", password=CODE).get_conn().portal == WEBHOOK
        by_token = hook_of(monkeypatch, host=host, extra=json.dumps({"access_token": TOKEN}))
        assert by_token.get_conn().portal == BY_TOKEN

    def test_the_port_counts_also_when_the_host_is_pasted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="http://127.0.0.1", port=8024, login="17", password=CODE)
        assert hook.get_conn().portal.base_url == "http://127.0.0.1:8024"

    @pytest.mark.parametrize("field", ["host", "password"])
    @pytest.mark.parametrize(
        "pasted",
        [
            f"https://acme.bitrix24.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com/rest/17/{CODE}",
            f"acme.bitrix24.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com/rest/17/{CODE}/bizproc.workflow.instances.json",
            f" https://acme.bitrix24.com/rest/17/{CODE}/ ",
        ],
    )
    def test_the_webhooks_address_may_be_pasted_into_either_field(
        self, monkeypatch: pytest.MonkeyPatch, field: str, pasted: str
    ) -> None:
        assert hook_of(monkeypatch, **{field: pasted}).get_conn().portal == WEBHOOK

    def test_an_address_pasted_as_code_may_have_its_host_beside_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pasted = f"https://acme.bitrix24.com/rest/17/{CODE}/"
        assert hook_of(monkeypatch, host="acme.bitrix24.com", password=pasted).get_conn().portal == WEBHOOK

    @pytest.mark.parametrize(
        "beside",
        [
            {"host": "ACME.bitrix24.com:443", "login": "17"},
            {"host": "https://acme.bitrix24.com/", "schema": "https", "port": 443},
            {"host": f"acme.bitrix24.com/rest/17/{CODE}"},
        ],
    )
    def test_what_stands_beside_a_pasted_address_may_say_the_same(
        self, monkeypatch: pytest.MonkeyPatch, beside: dict[str, Any]
    ) -> None:
        pasted = f"https://acme.bitrix24.com/rest/17/{CODE}/"
        assert hook_of(monkeypatch, password=pasted, **beside).get_conn().portal == WEBHOOK

    @pytest.mark.parametrize(
        ("host", "base_url"),
        [
            ("intra.acme.example/b24", "https://intra.acme.example/b24"),
            ("https://intra.acme.example/apps/b24/", "https://intra.acme.example/apps/b24"),
            ("b24_test.acme.example", "https://b24_test.acme.example"),
            ("acme.bitrix24.com/", "https://acme.bitrix24.com"),
            ("ACME.Bitrix24.com", "https://acme.bitrix24.com"),
            ("acme.bitrix24.com:443", "https://acme.bitrix24.com"),
            ("2001:db8::7", "https://[2001:db8::7]"),
            ("[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
            ("https://[2001:db8::7]/b24", "https://[2001:db8::7]/b24"),
        ],
    )
    def test_where_a_self_hosted_portal_may_be(self, monkeypatch: pytest.MonkeyPatch, host: str, base_url: str) -> None:
        portal = hook_of(monkeypatch, host=host, login="17", password=CODE).get_conn().portal
        assert portal.method_url("batch") == f"{base_url}/rest/17/{CODE}/batch"

    @responses.activate
    def test_the_code_goes_to_the_application_in_the_hosts_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        responses.post(f"https://intra/b24/rest/17/{CODE}/bizproc.workflow.kill", json={"result": True})
        hook = hook_of(monkeypatch, host="https://intra/b24", login="17", password=CODE)
        assert hook.run(send(calls.kill_workflow("65e5a449e8f135.21284909"))).result is True

    @pytest.mark.parametrize("host", ["::1", "[::1]:8024", "127.0.0.1", "localhost"])
    def test_http_serves_every_loopback(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        hook = hook_of(monkeypatch, host=host, schema="http", login="17", password=CODE)
        assert hook.get_conn().portal.base_url.startswith("http://")

    def test_http_serves_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, host="127.0.0.1", port=8024, schema="http", login="17", password=CODE)
        assert hook.get_conn().portal.base_url == "http://127.0.0.1:8024"

    def test_timeouts_come_from_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = json.dumps({"connect_timeout": "2.5", "read_timeout": 90})
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", login="17", password=CODE, extra=extra)
        assert hook.get_conn().http == HttpSettings(2.5, 90.0)

    def test_a_share_of_the_limits_leaves_the_rest_to_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """But running time is counted for each credential: others with one of their own are not slowed."""
        extra = json.dumps({"max_share": "0.4", "bucket_capacity": 250, "bucket_drain": 5})
        hook = hook_of(monkeypatch, host="acme.bitrix24.com", login="17", password=CODE, extra=extra)
        limits = hook.read_settings(hook.get_connection("b24")).limits
        assert limits == Limits(bucket_capacity=100, bucket_drain=2, operating_limit=480)


class TestEnvironmentVariable:
    def test_as_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(
            monkeypatch,
            {"conn_type": "bitrix24", "host": "acme.bitrix24.com", "login": "17", "password": CODE},
        )
        assert hook.get_conn().portal == WEBHOOK

    def test_as_json_with_an_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(
            monkeypatch,
            {
                "conn_type": "bitrix24",
                "host": "acme.bitrix24.com",
                "extra": {"access_token": TOKEN, "read_timeout": 99},
            },
        )
        assert hook.get_conn().portal == BY_TOKEN
        assert hook.get_conn().http.read_timeout == 99

    def test_as_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert hook_from(monkeypatch, f"bitrix24://17:{CODE}@acme.bitrix24.com").get_conn().portal == WEBHOOK

    def test_as_an_address_with_an_access_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"bitrix24://acme.bitrix24.com/?access_token={TOKEN}&connect_timeout=4")
        assert hook.get_conn().portal == BY_TOKEN
        assert hook.get_conn().http.connect_timeout == 4

    def test_as_an_address_on_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"bitrix24://17:{CODE}@127.0.0.1:8024/http")
        assert hook.get_conn().portal.base_url == "http://127.0.0.1:8024"

    @pytest.mark.parametrize("conn_type", ["http", "https"])
    def test_as_json_with_a_pasted_address_of_any_web_type(
        self, monkeypatch: pytest.MonkeyPatch, conn_type: str
    ) -> None:
        pasted = f"https://acme.bitrix24.com/rest/17/{CODE}/"
        assert hook_from(monkeypatch, {"conn_type": conn_type, "host": pasted}).get_conn().portal == WEBHOOK

    def test_as_the_address_of_a_webhook_in_a_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"https://intra:8443/b24/rest/17/{CODE}/")
        assert hook.get_conn().portal.base_url == "https://intra:8443/b24"

    def test_as_the_address_of_a_webhook_with_ipv6(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"https://[2001:db8::7]/rest/17/{CODE}/")
        assert hook.get_conn().portal.base_url == "https://[2001:db8::7]"

    @pytest.mark.parametrize("user", ["acme.bitrix24.com", "acme.bitrix24.com:443", "17:443"])
    def test_a_user_in_it_is_refused(self, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
        hook = hook_from(monkeypatch, f"https://{user}@evil.com/rest/17/{CODE}/")
        with pytest.raises(ConnectionFieldError, match=r"\((login|password)\) says something else"):
            hook.get_conn()

    @pytest.mark.parametrize("end", ["/", "", "/bizproc.workflow.instances", "/profile.json"])
    def test_as_the_webhooks_own_address(self, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
        hook = hook_from(monkeypatch, f"https://acme.bitrix24.com/rest/17/{CODE}{end}")
        assert hook.get_conn().portal == WEBHOOK

    def test_as_the_webhooks_own_address_with_a_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"https://b24.acme.example:8443/rest/17/{CODE}/")
        assert hook.get_conn().portal.base_url == "https://b24.acme.example:8443"

    def test_as_the_webhooks_own_address_on_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"http://127.0.0.1:8024/rest/17/{CODE}/")
        assert hook.get_conn().portal == Portal("http://127.0.0.1:8024", 17, CODE)

    def test_its_http_is_for_loopback_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_from(monkeypatch, f"http://acme.bitrix24.com/rest/17/{CODE}/")
        with pytest.raises(ConnectionFieldError, match=r"\(schema\) must not be 'http'"):
            hook.get_conn()


GOOD = {"host": "acme.bitrix24.com", "login": "17", "password": CODE}
#: What is put into the fields, and the name that the refusal must give.
BAD: list[tuple[dict[str, Any], str]] = [
    ({"host": ""}, "host"),
    ({"host": "acme bitrix24"}, "host"),
    ({"host": f"acme.bitrix24.com:{CODE}"}, "host"),
    ({"host": f"https://acme.bitrix24.com:{CODE}/"}, "host"),
    ({"host": f"https://[{CODE}"}, "host"),
    ({"host": f"acme.bitrix24.com/17/{CODE}"}, "host"),
    ({"host": f"https://acme.bitrix24.com/rest/{CODE}/", "password": ""}, "host"),
    ({"host": f"https://acme.bitrix24.com:x{CODE}/rest/17/{CODE}/", "password": ""}, "host"),
    ({"host": f"ftp://acme.bitrix24.com/rest/17/{CODE}/", "password": ""}, "host"),
    ({"login": ""}, "login"),
    ({"login": "admin"}, "login"),
    ({"login": f"17/{CODE}"}, "login"),
    ({"password": ""}, "password"),
    ({"password": f"17/{CODE}"}, "password"),
    ({"password": f"{CODE} {CODE}"}, "password"),
    ({"password": f"https://acme.bitrix24.com/rest/{CODE}/"}, "password"),
    ({"schema": "ftp"}, "schema"),
    ({"schema": f"x{CODE}"}, "schema"),
    ({"schema": "http"}, "schema"),
    ({"host": "http://acme.bitrix24.com"}, "schema"),
    ({"schema": f"rest/{CODE}", "password": ""}, "host"),
    ({"host": "https://acme.bitrix24.com@evil.com"}, "host"),
    ({"host": "https://acme.bitrix24.com:443@evil.com/"}, "host"),
    ({"host": "acme.bitrix24.com\\.evil.com"}, "host"),
    ({"host": "acme.bitrix24.com\n.evil.com"}, "host"),
    ({"host": "acme.bitrix24.com\x1b[2K.evil.com"}, "host"),
    ({"host": "intra/b24/../other"}, "host"),
    ({"host": "intra/b24?x=1"}, "host"),
    ({"host": "fe80::1%eth0"}, "host"),
    ({"port": 70000}, "port"),
    ({"port": "443@evil.com"}, "port"),
    ({"password": ".."}, "password"),
    ({"password": f"'{CODE}'"}, "password"),
    ({"password": f"{CODE}?auth=x"}, "password"),
    ({"password": f"https://acme.bitrix24.com@evil.com/rest/17/{CODE}/"}, "password"),
    # Contradictions: which of the two is meant?
    ({"host": "other.bitrix24.com", "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "host"),
    ({"host": "acme.bitrix24.com/b24", "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "folder"),
    ({"port": 8443, "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "port"),
    ({"schema": "http", "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "scheme"),
    ({"login": "18", "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "login"),
    ({"host": f"https://acme.bitrix24.com/rest/17/x{CODE}/"}, "password"),
    ({"host": f"https://acme.bitrix24.com/rest/17/{CODE}", "password": f"https://acme.de/rest/17/{CODE}/"}, "host"),
    ({"host": "https://acme.bitrix24.com", "schema": "http"}, "scheme"),
    ({"host": "acme.bitrix24.com:444", "port": 443}, "port"),
    # Somebody else's connection.
    ({"conn_type": "domo"}, "what is needed here is a Bitrix24 connection (conn_type 'bitrix24')"),
    ({"conn_type": "https"}, "what is needed here is a Bitrix24 connection (conn_type 'bitrix24')"),
    ({"conn_type": "http", "extra": json.dumps({"access_token": TOKEN}), "password": ""}, "conn_type"),
    ({"conn_type": "ssh", "password": f"https://acme.bitrix24.com/rest/17/{CODE}/"}, "conn_type"),
    ({"extra": json.dumps({"access_token": TOKEN})}, "access_token"),
    ({"extra": json.dumps({"access_token": f"{TOKEN} x"}), "password": ""}, "access_token"),
    ({"extra": json.dumps({"access_token": {"a": TOKEN}}), "password": ""}, "access_token"),
    ({"extra": json.dumps({"acces_token": TOKEN})}, "acces_token"),
    ({"extra": json.dumps({"webhook": f"https://x/rest/17/{CODE}/"})}, "webhook"),
    ({"extra": json.dumps({"read_timeout": f"x{CODE}"})}, "read_timeout"),
    ({"extra": json.dumps({"read_timeout": 0})}, "read_timeout"),
    ({"extra": json.dumps({"connect_timeout": -1, "read_timeout": "x"})}, "connect_timeout"),
]


class TestBadConnection:
    @pytest.mark.parametrize(("fields", "name"), BAD)
    def test_it_is_refused_with_the_fields_name_and_without_its_value(
        self, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], name: str
    ) -> None:
        hook = hook_of(monkeypatch, **(GOOD | fields))
        with pytest.raises(ConnectionFieldError) as caught:
            hook.get_conn()
        said = str(caught.value)
        assert said.startswith("Connection 'b24': ")
        assert name in said
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert CODE not in shown
        assert TOKEN not in shown

    @pytest.mark.parametrize("extra", ["no json", "[]", '"text"', "17", f'{{"access_token": "{TOKEN}"'])
    def test_an_extra_that_is_no_json_object_is_refused(self, monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
        connection = type("Fake", (), {"conn_id": "b24", "conn_type": "bitrix24", "extra": extra})()
        monkeypatch.setattr(Bitrix24Hook, "get_connection", lambda self, conn_id: connection)
        with pytest.raises(ConnectionFieldError, match=r"^Connection 'b24': extra is not a JSON object\. See "):
            Bitrix24Hook("b24").get_conn()

    def test_every_field_at_fault_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, **GOOD, extra=json.dumps({"connect_timeout": -1, "unknown": 1}))
        with pytest.raises(
            ConnectionFieldError,
            match=r": extra\.connect_timeout: should be greater than 0; extra\.unknown is no field",
        ):
            hook.get_conn()

    def test_the_refusal_survives_pickling(self) -> None:
        error = ConnectionFieldError("b24", "host is empty")
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (copy.message, copy.conn_id) == ("Connection 'b24': host is empty", "b24")

    def test_nothing_is_read_before_the_hook_is_used(self) -> None:
        assert Bitrix24Hook("no_such_connection").bitrix24_conn_id == "no_such_connection"


class TestClient:
    def test_it_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hook = hook_of(monkeypatch, **GOOD)
        client = hook.get_conn()
        assert isinstance(client, Bitrix24Client)
        assert hook.get_conn() is client

    @responses.activate
    def test_the_hook_runs_plans(self, monkeypatch: pytest.MonkeyPatch) -> None:
        responses.post(f"https://acme.bitrix24.com/rest/17/{CODE}/bizproc.workflow.kill", json={"result": True})
        reply = hook_of(monkeypatch, **GOOD).run(send(calls.kill_workflow("65e5a449e8f135.21284909")))
        assert reply.result is True

    @responses.activate
    def test_failed_calls_come_out_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"https://acme.bitrix24.com/rest/17/{CODE}/bizproc.workflow.kill"
        responses.post(url, json={"error": "NO_AUTH_FOUND"}, status=401)
        with pytest.raises(AuthenticationError):
            hook_of(monkeypatch, **GOOD).run(send(calls.kill_workflow("65e5a449e8f135.21284909")))


class TestMasking:
    """Airflow masks passwords by itself, but not what stands in a host, nor in a field it does not know."""

    @pytest.mark.parametrize(
        ("fields", "secret"),
        [
            ({"host": "https://acme.bitrix24.com/rest/17/maskH0st0de/"}, "maskH0st0de"),
            ({"password": "https://acme.bitrix24.com/rest/17/maskPassw0rd/"}, "maskPassw0rd"),
            ({"host": "acme.bitrix24.com", "extra": json.dumps({"access_token": "maskT0ken"})}, "maskT0ken"),
        ],
    )
    def test_airflow_is_told_the_secret(
        self, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], secret: str
    ) -> None:
        hook = hook_of(monkeypatch, **fields)
        hook.get_conn()
        assert redact(f"a line with {secret} in it") == "a line with *** in it"

    def test_what_is_no_secret_is_not_masked(self) -> None:
        assert redact("maskN0thing") == "maskN0thing"
