"""tasks.flow.Flow.*: task flows."""

from __future__ import annotations

import pytest

NEEDED = {"plannedCompletionTime": 7200, "distributionType": "queue", "responsibleList": [["user", "3"]]}


@pytest.fixture
def flow(control):
    return control.add_flow(id=517, name="Support", active=True, **NEEDED)


def call(rest, name, **params):
    return rest(f"tasks.flow.Flow.{name}", params)


def active(control):
    return control.state()["bitrix24"]["flows"]["517"]["active"]


def test_get_shows_the_whole_flow_with_its_own_types(rest, flow):
    shown = call(rest, "get", flowId=flow).json()["result"]
    assert shown["active"] is True
    assert (shown["id"], shown["plannedCompletionTime"], shown["responsibleList"]) == (517, 7200, [["user", "3"]])
    assert len(shown) == 24


def test_activate_is_a_toggle_whose_answer_is_the_same_both_ways(rest, control, flow):
    states = []
    for _ in range(3):
        assert call(rest, "activate", flowId=flow).json()["result"] is True
        states.append(active(control))
    assert states == [False, True, False]
    assert [effect["active"] for effect in control.journal("activate")] == states


def test_pin_is_a_toggle_that_tells_its_state(rest, flow):
    assert [call(rest, "pin", flowId=flow).json()["result"] for _ in range(2)] == [True, False]


def test_an_update_puts_back_to_default_what_it_leaves_out(rest, control):
    id = control.add_flow(
        name="Support", description="Day and night", groupId=40, ownerId=9, taskControl=True, notifyOnQueueOverflow=3
    )
    shown = call(rest, "update", flowData={"id": id, **NEEDED}).json()["result"]
    assert shown["name"] == "Support"
    assert (shown["description"], shown["taskControl"], shown["notifyOnQueueOverflow"]) == ("", False, None)
    assert shown["notifyOnTasksInProgressOverflow"] == 50
    assert shown["ownerId"] == 1
    assert shown["groupId"] != 40


def test_an_update_that_resends_everything_changes_only_what_it_says(rest, flow):
    before = call(rest, "get", flowId=flow).json()["result"]
    after = call(rest, "update", flowData={**before, "description": "New"}).json()["result"]
    assert after == {**before, "description": "New"}


def test_an_update_can_keep_what_it_leaves_out(rest, control):
    id = control.add_flow(name="Support", description="Day and night", groupId=40)
    control.configure(flow_update_resets=False)
    shown = call(rest, "update", flowData={"id": id, **NEEDED}).json()["result"]
    assert (shown["description"], shown["groupId"]) == ("Day and night", 40)


@pytest.mark.parametrize("obeys", [False, True])
def test_whether_an_update_obeys_active_can_be_set(rest, control, flow, obeys):
    control.configure(flow_update_active=obeys)
    call(rest, "update", flowData={"id": flow, **NEEDED, "active": False})
    assert active(control) is not obeys


@pytest.mark.parametrize("left_out", NEEDED)
def test_an_update_must_have_the_three_documented_fields(rest, control, flow, left_out):
    fields = {name: value for name, value in NEEDED.items() if name != left_out}
    reply = call(rest, "update", flowData={"id": flow, **fields})
    assert (reply.status_code, reply.json()["error"]) == (400, "0")
    assert left_out in reply.json()["error_description"]
    control.configure(flow_update_requires="source")
    assert call(rest, "update", flowData={"id": flow, **fields}).ok is (left_out != "responsibleList")


def test_create_makes_an_active_flow_whose_name_is_then_taken(rest):
    made = call(rest, "create", flowData={"name": "Sales", **NEEDED}).json()["result"]
    assert made["active"] is True
    assert call(rest, "isExists", flowData={"name": "Sales"}).json()["result"] == {"exists": True}
    assert call(rest, "isExists", flowData={"name": "Sales", "id": made["id"]}).json()["result"] == {"exists": False}
    again = call(rest, "create", flowData={"name": "Sales", **NEEDED})
    assert (again.status_code, again.json()["error"]) == (400, "0")


def test_delete_deletes(rest, control, flow):
    assert call(rest, "delete", flowData={"id": flow}).json()["result"] == {"deleted": True}
    assert control.state()["bitrix24"]["flows"] == {}


def test_an_unknown_flow_is_said_to_be_not_allowed_in_the_portals_language(rest, control):
    reply = call(rest, "get", flowId=1)
    assert reply.status_code == 400
    assert reply.json() == {"error": "0", "error_description": "Zugriff verweigert oder Flow nicht gefunden"}
    control.configure(flow_unknown="not_found", language="en")
    assert call(rest, "get", flowId=1).json()["error_description"] == "Flow not found"


def test_a_plan_without_flows_gives_the_same_error(rest, control, flow):
    control.configure(has_flows=False)
    for name in ("get", "activate"):
        assert call(rest, name, flowId=flow).json()["error"] == "0"
    assert active(control) is True


def test_who_neither_owns_a_flow_nor_administers_the_portal_may_look_only(rest, control):
    id = control.add_flow(id=517, creatorId=2, ownerId=3)
    control.configure(is_admin=False)
    assert call(rest, "get", flowId=id).ok
    assert call(rest, "activate", flowId=id).json()["error"] == "0"
    assert active(control) is True


def test_the_name_of_the_method_must_have_its_exact_case(rest, control, flow):
    reply = rest("tasks.flow.flow.activate", {"flowId": flow})
    assert (reply.status_code, reply.json()["error"]) == (404, "ERROR_METHOD_NOT_FOUND")
    control.configure(flow_any_case=True)
    assert rest("tasks.flow.flow.activate", {"flowId": flow}).json()["result"] is True


def test_the_names_of_parameters_must_have_their_exact_case(rest, flow):
    assert rest("tasks.flow.Flow.get", {"FLOWID": flow}).status_code == 400


def test_the_reply_can_be_without_time(rest, control, flow):
    assert "time" in call(rest, "get", flowId=flow).json()
    control.configure(flow_time=False)
    assert "time" not in call(rest, "get", flowId=flow).json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plannedCompletionTime", "soon"),
        ("plannedCompletionTime", -1),
        ("distributionType", "lottery"),
        ("responsibleList", [["robot", "3"]]),
        ("responsibleList", [["user", "Ada"]]),
        ("responsibleList", [["department", "17:X"]]),
        ("taskCreators", [["meta-user", "nobody"]]),
        ("taskControl", "Y"),
        ("matchWorkTime", 2),
        ("ownerId", "me"),
        ("notifyOnQueueOverflow", -5),
        ("notifyWhenEfficiencyDecreases", 101),
        ("name", ["x"]),
    ],
)
@pytest.mark.parametrize("method", ["create", "update"])
def test_a_value_that_is_not_as_documented_is_refused_by_the_fields_name(rest, control, flow, method, field, value):
    before = control.state()["bitrix24"]["flows"]
    reply = call(rest, method, flowData={"id": flow, "name": "Sales", **NEEDED, field: value})
    assert (reply.status_code, reply.json()["error"]) == (400, "0")
    assert f"'{field}'" in reply.json()["error_description"]
    assert control.state()["bitrix24"]["flows"] == before


@pytest.mark.parametrize(
    "fields",
    [
        {"responsibleList": [["department", "17:F"], ["user", 3]]},
        {"responsibleList": {"0": {"user": "3"}}},
        {"taskCreators": {"meta-user": "all-users"}},
        {"taskControl": "1", "matchWorkTime": False, "notifyOnQueueOverflow": None},
        {"distributionType": "manually", "responsibleList": [["user", "3"]]},
    ],
)
def test_values_that_are_as_documented_are_taken(rest, fields):
    given = {"name": "Sales", **NEEDED, "distributionType": "queue", **fields}
    assert call(rest, "create", flowData=given).ok


def test_manual_distribution_has_one_moderator(rest):
    two = {"distributionType": "manually", "responsibleList": [["user", "3"], ["user", "4"]]}
    assert call(rest, "create", flowData={"name": "Sales", **NEEDED, **two}).status_code == 400


def test_a_flow_that_is_left_with_nobody_goes_to_its_administrator(rest, control):
    control.add_flow(id=1, ownerId=9, distributionType="queue", responsibleList=[["user", "3"], ["user", "4"]])
    control.add_flow(id=2, ownerId=9, distributionType="queue", responsibleList=[["user", "3"]])
    control.dismiss_users([3])
    first, second = (call(rest, "get", flowId=id).json()["result"] for id in (1, 2))
    assert (first["distributionType"], first["responsibleList"]) == ("queue", [["user", "4"]])
    assert (second["distributionType"], second["responsibleList"]) == ("manually", [["user", "9"]])
    assert rest("user.get", {"ID": 3}).json()["result"][0]["ACTIVE"] is False
