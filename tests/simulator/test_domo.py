"""The Domo account: start, cancel, and reading instances."""

from __future__ import annotations

import re

import pytest

INSTANCES = "workflow/v1/instances"
MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"
MESSAGE = {"messageName": "Start AddTwoNumbers", "version": "1.1.0", "modelId": MODEL, "data": {"a": 1}}


def start(domo, **changes):
    return domo("POST", f"{INSTANCES}/message", json={**MESSAGE, **changes})


def get(domo, id):
    return domo("GET", f"{INSTANCES}/{id}")


def cancel(domo, id):
    return domo("POST", f"{INSTANCES}/{id}/cancel")


def test_start_returns_an_instance_that_is_not_yet_reported_as_started(domo, control):
    reply = start(domo)
    assert reply.status_code == 200
    shown = reply.json()
    assert shown["status"] is None
    assert (shown["modelId"], shown["modelVersion"], shown["createdBy"]) == (MODEL, "1.1.0", "8811501")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["createdOn"])
    assert "deploymentId" not in shown
    assert get(domo, shown["id"]).json()["status"] == "IN_PROGRESS"
    assert control.state()["domo"]["instances"][shown["id"]]["data"] == {"a": 1}


def test_two_starts_start_two(domo):
    assert start(domo).json()["id"] != start(domo).json()["id"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"messageName": "Begin AddTwoNumbers"}, 404),
        ({"modelId": "unknown"}, 404),
        ({"version": "9.9.9"}, 404),
        ({"version": None}, 400),
        ({"modelId": None}, 400),
        ({"messageName": ""}, 400),
        ({"data": None}, 400),
        ({"data": "text"}, 400),
        ({"data": {"note": "x" * 1024**2}}, 400),
    ],
)
def test_a_start_that_cannot_be(domo, control, changes, status):
    assert start(domo, **changes).status_code == status
    assert control.journal() == []


def test_the_version_can_be_left_out_if_set_so(domo, control):
    control.configure(version_required=False)
    assert start(domo, version=None).json()["modelVersion"] == "1.1.0"


@pytest.mark.parametrize(
    ("form", "shown"), [("json", {"status": None}), ("string", {"status": "null"}), ("missing", {})]
)
def test_a_status_of_null_has_three_forms(domo, control, form, shown):
    control.configure(null_status=form, start_delay=60.0)
    id = start(domo).json()["id"]
    reply = get(domo, id).json()
    assert {name: value for name, value in reply.items() if name == "status"} == shown
    assert domo("GET", f"{INSTANCES}/{id}/status").text == "null"


@pytest.mark.parametrize("final", ["COMPLETED", "FAILED"])
def test_an_instance_starts_and_finishes_with_time(domo, control, final):
    control.configure(start_delay=200, finishes_after=600, final_status=final)
    id = start(domo).json()["id"]
    seen = [get(domo, id).json()["status"]]
    for _ in range(2):
        control.advance(400)
        seen.append(get(domo, id).json()["status"])
    assert seen == [None, "IN_PROGRESS", final]


def test_cancel_answers_with_the_status_at_arrival_and_takes_effect_later(domo, control, instance):
    control.configure(cancel_delay=20)
    id = instance()
    reply = cancel(domo, id)
    assert reply.status_code == 200
    assert reply.json()["status"] == "IN_PROGRESS"
    assert reply.json()["bpmnProcessId"] == f"Process_{MODEL}_1.1.0_1"
    assert get(domo, id).json()["status"] == "IN_PROGRESS"
    control.advance(20)
    assert get(domo, id).json()["status"] == "CANCELED"


def test_an_instance_can_finish_before_its_cancellation_takes_effect(domo, control, instance):
    control.configure(cancel_delay=30)
    id = instance(finishes_after=10)
    cancel(domo, id)
    control.advance(35)
    assert get(domo, id).json()["status"] == "COMPLETED"


def test_a_failed_instance_can_be_canceled(domo, instance):
    id = instance("FAILED")
    assert cancel(domo, id).json()["status"] == "FAILED"
    assert get(domo, id).json()["status"] == "CANCELED"


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELED"])
@pytest.mark.parametrize(("behaviour", "code"), [("ok", 200), ("400", 400), ("409", 409)])
def test_canceling_what_is_finished_has_three_answers_and_no_effect(domo, control, instance, status, behaviour, code):
    control.configure(cancel_finished=behaviour)
    id = instance(status)
    assert cancel(domo, id).status_code == code
    assert get(domo, id).json()["status"] == status
    assert control.journal() == []


@pytest.mark.parametrize(
    ("behaviour", "code", "after"), [("accepted", 200, "CANCELED"), ("rejected", 400, None), ("ignored", 200, None)]
)
def test_canceling_what_has_not_started_has_three_outcomes(domo, control, instance, behaviour, code, after):
    control.configure(cancel_unstarted=behaviour)
    id = instance(None)
    assert cancel(domo, id).status_code == code
    assert get(domo, id).json()["status"] == after


@pytest.mark.parametrize("verb", ["cancel", "get"])
def test_an_unknown_instance_and_one_that_may_not_be_seen_look_the_same(domo, control, instance, verb):
    call = cancel if verb == "cancel" else get
    for id in ("2052e10a-d142-4391-a731-2be1ab1c0188", instance(visible=False)):
        reply = call(domo, id)
        assert reply.status_code == 404
        assert reply.json().keys() == {"status", "statusReason", "toe"}
    assert control.journal() == []


def test_instances_are_listed_latest_first_by_model(domo, control, instance):
    [other] = control.add_domo_models([{"name": "Other"}])
    ids = [instance(createdOn=f"2026-01-0{day}T00:00:00Z") for day in (1, 2, 3)]
    instance(modelId=other)
    instance(visible=False)
    rows = domo("GET", f"{INSTANCES}?modelId={MODEL}&limit=2&offset=0&sort=createdOn:desc").json()
    assert [row["id"] for row in rows] == [ids[2], ids[1]]
    rest = domo("GET", f"{INSTANCES}?modelId={MODEL}&limit=2&offset=2&sort=createdOn:desc").json()
    assert [row["id"] for row in rest] == [ids[0]]


def test_a_failed_instance_is_listed_with_its_error(domo, instance):
    instance("FAILED")
    [row] = domo("GET", INSTANCES).json()
    assert row["status"] == "FAILED"
    assert row.keys() >= {"errorMessage", "completedOn", "triggerType"}


def test_the_bare_status(domo, instance):
    reply = domo("GET", f"{INSTANCES}/{instance('COMPLETED')}/status")
    assert reply.text == "COMPLETED"
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_the_tokens_header_may_have_any_case_but_must_be_right(domo):
    me = "content/v2/users/me"
    assert domo("GET", me, headers={"x-domo-developer-token": "sim-domo-developer-token"}).json()["id"] == 8811501
    for headers in ({}, {"X-DOMO-Developer-Token": "wrong"}):
        reply = domo("GET", me, headers=headers)
        assert reply.status_code == 401
        assert reply.json()["statusReason"] == "Unauthorized"


def test_a_token_can_lack_a_permission(domo, control, instance):
    control.configure(domo_forbidden=["cancel"])
    id = instance()
    assert cancel(domo, id).status_code == 403
    assert get(domo, id).json()["status"] == "IN_PROGRESS"


def test_a_blocked_address_gets_a_page_or_a_redirect_to_one(domo, control):
    control.configure(domo_blocked="page")
    page = domo("GET", INSTANCES)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>Domo - Blocked</title>" in page.text
    control.configure(domo_blocked="redirect")
    redirect = domo("GET", INSTANCES)
    assert redirect.status_code == 303
    assert "whitelist/blocked" in redirect.headers["Location"]
    assert "Domo - Blocked" in domo("GET", INSTANCES, allow_redirects=True).text


def test_other_addresses_are_not_found(domo):
    assert domo("DELETE", f"{INSTANCES}/x").status_code == 404
    assert domo("GET", "workflow/v2/instances").status_code == 404


class TestModels:
    @pytest.fixture
    def model(self, control):
        wanted = {"paramName": "order", "dataType": "text", "isList": False, "required": True}
        [id] = control.add_domo_models([{"name": "Orders", "versions": ["1.0.0", "2.0.0"], "inputs": [wanted]}])
        return id

    def test_are_listed_with_their_versions(self, domo, model):
        shown = domo("GET", "workflow/v1/models").json()
        assert [one["name"] for one in shown] == ["AddTwoNumbers", "Orders"]
        assert domo("GET", "workflow/v2/models?limit=1&offset=1").json() == shown[1:]
        assert domo("GET", f"workflow/v1/models/{model}").json() == shown[1]
        assert domo("GET", f"workflow/v2/models/{model}/versions").json() == shown[1]["versions"]
        version = domo("GET", f"workflow/v1/models/{model}/versions/2.0.0").json()
        assert (version["version"], version["active"], version["deployedOn"]) == ("2.0.0", True, shown[1]["createdOn"])
        assert version["manualTriggerId"]

    def test_say_by_which_message_they_start_and_what_they_want(self, domo, model):
        [start] = domo("GET", f"workflow/v1/models/{model}/versions/1.0.0/starts").json()
        assert (start["messageName"], start["inputs"][0]["paramName"]) == ("Start Orders", "order")
        [root] = domo("GET", f"workflow/v2/models/{model}/versions/1.0.0/definition").json()["designElements"]
        assert (root["type"], root["data"]["title"]) == ("rootNode", "Start Orders")

    def test_what_a_start_must_have_is_missed(self, domo, control, model):
        message = {"messageName": "Start Orders", "version": "2.0.0", "modelId": model}
        assert start(domo, **message, data={"other": 1}).status_code == 400
        assert start(domo, **message, data={"order": "7"}).ok
        assert len(control.journal("start")) == 1

    def test_a_version_that_is_turned_off_cannot_be_started(self, domo, control, model):
        address = f"workflow/v2/models/{model}/versions/2.0.0"
        message = {"messageName": "Start Orders", "version": "2.0.0", "modelId": model, "data": {"order": 1}}
        assert domo("PUT", address, json={"active": False}).json()["active"] is False
        assert start(domo, **message).status_code == 404
        control.configure(version_required=False)
        assert start(domo, **{**message, "version": None}).json()["modelVersion"] == "1.0.0"
        assert domo("PUT", address, json={"active": True}).json()["active"] is True
        assert start(domo, **message).ok
        assert domo("PUT", address, json={"active": "no"}).status_code == 400

    @pytest.mark.parametrize(
        "address",
        [
            "v1/models/x",
            "v2/models/x/versions",
            f"v1/models/{MODEL}/versions/9.0.0",
            f"v1/models/{MODEL}/versions/9/starts",
        ],
    )
    def test_what_is_not_there(self, domo, address):
        assert domo("GET", f"workflow/{address}").status_code == 404


def test_executions_are_listed_by_version_status_and_trigger(domo, instance):
    first = instance("IN_PROGRESS", modelVersion="1.0.0")
    second = instance("FAILED", modelVersion="1.1.0")

    def listed(query):
        return [
            row["id"] for row in domo("GET", f"workflow/v2/executions?modelId={MODEL}&{query}").json()["executions"]
        ]

    assert set(listed("")) == {first, second}
    assert listed("version=1.0.0") == [first]
    assert listed("status=FAILED,COMPLETED") == [second]
    assert listed("triggerTypes=MANUAL") == []
    assert len(listed("limit=1&triggerTypes=API")) == 1
    shown = domo("GET", f"workflow/v2/executions/{second}").json()
    assert (shown["status"], shown["modelVersion"]) == ("FAILED", "1.1.0")


def test_the_variables_of_an_instance_are_json_in_json(domo):
    id = start(domo, data={"a": 1, "b": ["x"]}).json()["id"]
    shown = domo("GET", f"{INSTANCES}/transactions?instanceId={id}").json()
    assert {one["name"]: one["value"] for one in shown} == {"a": "1", "b": '["x"]'}
    assert domo("GET", f"{INSTANCES}/transactions").status_code == 404


@pytest.mark.parametrize("query", ["limit=-1", "offset=x", "limit=²"])
def test_a_page_that_is_none(domo, query):
    assert domo("GET", f"{INSTANCES}?{query}").status_code == 400


def test_what_starts_between_two_pages_shifts_the_second(domo, instance):
    for day in (1, 2, 3):
        instance(createdOn=f"2026-01-0{day}T00:00:00+00:00")
    page = f"{INSTANCES}?modelId={MODEL}&limit=2"
    first = [row["id"] for row in domo("GET", page).json()]
    start(domo)
    assert domo("GET", f"{page}&offset=2").json()[0]["id"] == first[1]


ENTRY = {"id": "7", "type": "USER", "name": "Bea", "permissions": ["READ", "EXECUTE"]}


class TestPermissions:
    ADDRESS = f"workflow/v1/models/{MODEL}/permissions"

    def test_of_a_model_are_given_by_who_may_share_it(self, domo, control):
        assert domo("POST", self.ADDRESS, json=[ENTRY]).status_code == 403
        control.configure(domo_permissions=["SHARE"])
        group = {"id": "8", "type": "GROUP", "permissions": []}
        assert domo("POST", self.ADDRESS, json=[ENTRY, group]).ok
        assert domo("GET", self.ADDRESS).json() == {
            "USER": [{"id": "8811501", "permissions": ["SHARE"]}, {"id": "7", "permissions": ["READ", "EXECUTE"]}],
            "GROUP": [{"id": "8", "permissions": []}],
        }

    @pytest.mark.parametrize(
        "body",
        [None, {}, [None], [{**ENTRY, "permissions": ["DEPLOY"]}], [{**ENTRY, "type": "ROBOT"}], [{**ENTRY, "id": 7}]],
    )
    def test_that_are_not_in_order(self, domo, body):
        assert domo("POST", self.ADDRESS, json=body).status_code == 400

    def test_of_a_model_that_is_not_there(self, domo):
        assert domo("POST", "workflow/v1/models/x/permissions", json=[ENTRY]).status_code == 404


class TestActivityLog:
    ADDRESS = "audit/v1/user-audits"

    def test_tells_who_did_what_in_a_time_the_latest_first(self, domo, control, instance):
        before, id = instance(), instance()
        cancel(domo, before)
        control.advance(10)
        [cancelled] = domo("GET", f"{self.ADDRESS}?start=0&end=9999999999999").json()
        assert (cancelled["userId"], cancelled["actionType"]) == ("8811501", "CANCELED")
        assert before in cancelled["additionalComment"]
        cancel(domo, id)
        times = f"start={cancelled['time'] + 1}&end=9999999999999"
        [later] = domo("GET", f"{self.ADDRESS}?{times}").json()
        assert id in later["additionalComment"]
        both = domo("GET", f"{self.ADDRESS}?start=0&end=9999999999999&objectType=ACCOUNT,WORKFLOW_INSTANCE").json()
        assert both == [later, cancelled]
        assert domo("GET", f"{self.ADDRESS}?start=0&end=9999999999999&offset=1&limit=1").json() == [cancelled]
        assert domo("GET", f"{self.ADDRESS}?start=0&end=9999999999999&objectType=ACCOUNT").json() == []
        assert "WORKFLOW_INSTANCE" in domo("GET", f"{self.ADDRESS}/objectTypes").json()

    @pytest.mark.parametrize("query", ["", "start=0", "end=0", "start=x&end=1", "start=2&end=1"])
    def test_must_be_asked_for_a_time(self, domo, query):
        assert domo("GET", f"{self.ADDRESS}?{query}").status_code == 400
