"""The portal on HTTP: addresses, parameters, the envelope, and who may call."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
import requests

LIST = "bizproc.workflow.instances"
ACCESS = "sim0access0token"


@pytest.fixture
def with_token(simulator, control):
    """Call a method as an application, its token in the parameter ``auth``."""

    def call(method, params=None, token=ACCESS, headers=None):
        body = {**(params or {}), **({"auth": token} if token else {})}
        return requests.post(f"{simulator.url}/rest/{method}", json=body, headers=headers, timeout=300)

    return call


def test_the_envelope_tells_the_time_it_took(rest, control):
    reply = rest(LIST)
    timing = reply.json()["time"]
    assert timing["finish"] - timing["start"] == pytest.approx(timing["duration"])
    assert abs(time.time() - timing["start"]) < 300
    assert datetime.fromisoformat(timing["date_start"]).utcoffset() == timedelta(hours=2)
    assert timing["operating"] == 0
    assert {name for name in reply.headers if name.startswith("X-Bitrix-Rest")} == {
        "X-Bitrix-Rest-Time",
        "X-Bitrix-Rest-User-Time",
        "X-Bitrix-Rest-System-Time",
        "X-Bitrix-Rest-Application",
    }
    control.configure(operating_shown=False)
    assert not rest(LIST).json()["time"].keys() & {"operating", "operating_reset_at"}


def test_a_method_may_be_called_with_get_a_form_multipart_and_json(simulator, rest, control):
    control.add_workflows([{"ID": "a"}, {"ID": "b"}])
    query = "filter[ID]=a&select[]=ID"
    url = f"{simulator.url}/rest/1/sim0webhook0code/{LIST}"
    fields = {"filter[ID]": "a", "select[]": "ID"}
    replies = [
        requests.get(f"{url}.json?{query}", timeout=300),
        rest(LIST, data=fields),
        rest(LIST, files={name: (None, value) for name, value in fields.items()}),
        rest(LIST, {"filter": {"ID": "a"}, "select": ["ID"]}),
    ]
    assert [reply.json()["result"] for reply in replies] == [[{"ID": "a"}]] * 4


@pytest.mark.parametrize("body", ["", "{", '{"FILTER": {"ID": "a"}', '"text"'])
def test_json_that_cannot_be_read_is_no_parameters_at_all(rest, control, body):
    control.add_workflows([{"ID": "a"}, {"ID": "b"}])
    reply = rest(LIST, data=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["total"]) == (200, 2)


def test_json_that_is_not_declared_as_json_is_no_parameters_either(rest, control):
    control.add_workflows([{"ID": "a"}, {"ID": "b"}])
    reply = rest(LIST, data='{"FILTER": {"ID": "a"}}', headers={"Content-Type": "text/plain"})
    assert reply.json()["total"] == 2


def test_a_classic_methods_name_may_have_any_case(rest):
    assert rest("BizProc.Workflow.Instances").status_code == 200


def test_an_unknown_method(rest):
    reply = rest("bizproc.workflow.explode")
    assert (reply.status_code, reply.json()["error"]) == (404, "ERROR_METHOD_NOT_FOUND")


def test_a_plan_without_business_processes_has_no_such_methods(rest, control):
    control.configure(has_bizproc=False)
    assert rest(LIST).json()["error"] == "ERROR_METHOD_NOT_FOUND"
    assert rest("profile").ok


def test_a_free_plan_has_no_rest_api(rest, control):
    control.configure(commercial_plan=False)
    reply = rest("profile")
    assert (reply.status_code, reply.json()["error"]) == (403, "ACCESS_DENIED")


def test_an_unknown_webhook(simulator, rest, control):
    reply = requests.post(f"{simulator.url}/rest/1/wrong/{LIST}", timeout=300)
    assert (reply.status_code, reply.json()["error"]) == (401, "NO_AUTH_FOUND")
    control.configure(webhook_known=False)
    assert rest(LIST).status_code == 401


def test_a_webhook_without_the_scope(rest, control):
    control.configure(scopes=["task"])
    reply = rest(LIST)
    assert (reply.status_code, reply.json()["error"]) == (403, "insufficient_scope")
    assert rest("scope").json()["result"] == ["task"]


def test_profile_says_whether_the_caller_is_an_administrator(rest, control):
    assert rest("profile").json()["result"]["ADMIN"] is True
    control.configure(is_admin=False)
    assert rest("profile").json()["result"]["ADMIN"] is False


def test_https_can_be_demanded(rest, control):
    control.configure(https_required=True)
    reply = rest(LIST)
    assert (reply.status_code, reply.json()["error"]) == (400, "INVALID_REQUEST")


def test_a_token_goes_into_auth_in_the_body_or_the_query(simulator, with_token):
    assert with_token(LIST).ok
    assert requests.get(f"{simulator.url}/rest/{LIST}?auth={ACCESS}", timeout=300).ok


@pytest.mark.parametrize("token", [None, "wrong"])
def test_no_token_or_an_unknown_one(with_token, token):
    reply = with_token(LIST, token=token)
    assert (reply.status_code, reply.json()["error"]) == (401, "NO_AUTH_FOUND")


def test_a_token_may_stand_in_the_header_or_in_one_of_two_parameters(with_token, control):
    bearer = {"Authorization": f"Bearer {ACCESS}"}
    assert with_token(LIST, token=None, headers=bearer).ok
    assert with_token(LIST, token="stale", headers=bearer).ok, "the header goes first"
    assert with_token(LIST, {"access_token": ACCESS}, token=None).ok
    assert with_token(LIST, {"access_token": "stale"}).ok, "auth goes before access_token"
    assert [entry["auth"] for entry in control.requests()] == ["bearer", "bearer", "access_token", "auth"]
    assert with_token(LIST, headers={"Authorization": "Bearer stale"}).status_code == 401


def test_older_portals_know_the_header_for_flows_only(with_token, control):
    control.configure(bearer_everywhere=False)
    control.add_flow(id=517)
    bearer = {"Authorization": f"Bearer {ACCESS}"}
    assert with_token("tasks.flow.Flow.get", {"flowId": 517}, token=None, headers=bearer).ok
    assert with_token(LIST, token=None, headers=bearer).status_code == 401


def test_users_are_found_by_name(rest, control):
    control.add_users([{"ID": 5, "NAME": "Gone", "ACTIVE": False}])
    assert [row["ID"] for row in rest("user.get", {"NAME": "Gone"}).json()["result"]] == ["5"]
    assert [row["ID"] for row in rest("user.get", {"FILTER": {"ACTIVE": True}}).json()["result"]] == ["1"]
