"""bizproc.task.*: who sees which tasks, answers them and hands them over."""

from __future__ import annotations

import pytest
import requests

LIST, COMPLETE, DELEGATE = (f"bizproc.task.{verb}" for verb in ("list", "complete", "delegate"))


@pytest.fixture(autouse=True)
def people(control):
    control.add_departments([{"ID": 4, "NAME": "Sales", "UF_HEAD": "7"}])
    control.add_users([{"ID": 7, "NAME": "Head"}, {"ID": 8, "NAME": "Hand", "UF_DEPARTMENT": [4]}, {"ID": 9}])
    control.add_webhooks([{"user": 7, "code": "seven", "admin": False}, {"user": 8, "code": "eight", "admin": False}])
    control.add_workflows([{"ID": "w1"}, {"ID": "w2"}])
    control.add_tasks(
        [
            {"ID": 1, "USER_ID": 7, "WORKFLOW_ID": "w1", "OVERDUE_DATE": "2026-02-01T00:00:00Z"},
            {"ID": 2, "USER_ID": 8, "WORKFLOW_ID": "w1", "PARAMETERS": {"ShowComment": "Y"}},
            {"ID": 3, "USER_ID": 9, "WORKFLOW_ID": "w2"},
        ]
    )


@pytest.fixture
def by(simulator, rest):
    """Call a method as a user."""

    def call(user, method, params=None):
        code = {1: "sim0webhook0code", 7: "seven", 8: "eight"}[user]
        return requests.post(f"{simulator.url}/rest/{user}/{code}/{method}", json=params or {}, timeout=300)

    return call


def ids(reply):
    return [row["ID"] for row in reply.json()["result"]]


def test_an_administrator_sees_all_others_their_own_and_heads_their_peoples_if_they_say_so(by):
    assert ids(by(1, LIST)) == ["3", "2", "1"]
    assert ids(by(7, LIST)) == ["1"]
    assert ids(by(7, LIST, {"FILTER": {"USER_ID": 8}})) == ["2"]
    assert ids(by(1, LIST, {"FILTER": {"USER_ID": 8}})) == ["2"]
    reply = by(8, LIST, {"FILTER": {"USER_ID": 7}})
    assert (reply.status_code, reply.json()["error"]) == (403, "ACCESS_DENIED")


def test_a_selection_that_is_no_list_is_refused(by):
    reply = by(1, LIST, {"SELECT": "ID"})
    assert (reply.status_code, reply.json()["error"]) == (400, "ERROR_SELECT_VALIDATION_FAILURE")


def test_they_are_known_for_a_day_after_their_workflows_end(by, control):
    by(1, "bizproc.workflow.terminate", {"ID": "w1"})
    assert ids(by(1, LIST)) == ["3", "2", "1"]
    control.advance(86_401)
    assert ids(by(1, LIST)) == ["3"]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"FILTER": {"<OVERDUE_DATE": "2026-03-01"}}, ["1"]),
        ({"FILTER": {"USER_STATUS": 0}, "ORDER": {"id": "ASC"}}, ["1", "2", "3"]),
        ({"filter": {"STATUS": 1}}, []),
        ({"ORDER": {"PARAMETERS": "desc"}}, ["2", "1", "3"]),
        ({"ORDER": {"ID": "up"}}, ["1", "2", "3"]),
    ],
)
def test_they_are_filtered_and_sorted_by_any_field(by, params, found):
    assert ids(by(1, LIST, params)) == found


def test_fields_are_selected_in_any_case(by):
    [row] = by(8, LIST, {"select": ["id", "Parameters", "user_status"]}).json()["result"]
    assert row == {"ID": "2", "PARAMETERS": {"ShowComment": "Y"}, "USER_STATUS": "0"}


@pytest.mark.parametrize(("status", "answer"), [(1, "1"), ("yes", "1"), ("no", "2"), ("ok", "3"), ("cancel", "2")])
def test_one_answers_ones_own_task_once(by, status, answer):
    assert by(8, COMPLETE, {"TASK_ID": 2, "STATUS": status}).json()["result"] is True
    assert by(8, COMPLETE, {"TASK_ID": 2, "STATUS": status}).json()["error"] == "ERROR_TASK_COMPLETED"
    [row] = by(8, LIST, {"SELECT": ["STATUS", "USER_STATUS"]}).json()["result"]
    assert row == {"STATUS": answer, "USER_STATUS": answer}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"STATUS": 1}, "ERROR_TASK_VALIDATION"),
        ({"TASK_ID": 1, "STATUS": 9}, "ERROR_TASK_VALIDATION"),
        ({"TASK_ID": 99, "STATUS": 1}, "ERROR_TASK_NOT_FOUND"),
        ({"TASK_ID": 1, "STATUS": 1}, "ERROR_TASK_NOT_FOUND"),
    ],
)
def test_an_answer_that_is_not_in_order(by, control, params, code):
    reply = by(1, COMPLETE, params)
    assert (reply.status_code, reply.json()["error"]) == (400, code)
    assert control.journal() == []


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        ("ApproveActivity", ("yes", "no"), ("ok", "cancel")),
        ("ReviewActivity", ("ok",), ("yes", "no", "cancel")),
        ("RequestInformationActivity", ("ok",), ("yes", "no", "cancel")),
        ("RequestInformationOptionalActivity", ("ok", "cancel"), ("yes", "no")),
    ],
)
def test_each_kind_of_task_has_its_own_answers(by, control, kind, taken, refused):
    for id, answer in enumerate(taken, 10):
        control.add_tasks([{"ID": id, "USER_ID": 1, "WORKFLOW_ID": "w1", "ACTIVITY": kind}])
        for other in refused:
            assert by(1, COMPLETE, {"TASK_ID": id, "STATUS": other}).json()["error"] == "ERROR_TASK_EXECUTION"
        assert by(1, COMPLETE, {"TASK_ID": id, "STATUS": answer}).json()["result"] is True
    assert len(control.journal("complete")) == len(taken)


def test_another_kind_of_task_cannot_be_answered(by, control):
    control.add_tasks([{"ID": 10, "USER_ID": 1, "WORKFLOW_ID": "w1", "ACTIVITY": "SocNetMessageActivity"}])
    assert by(1, COMPLETE, {"TASK_ID": 10, "STATUS": 1}).json()["error"] == "ERROR_TASK_TYPE"


def test_tasks_are_handed_over_as_far_as_may_be(by, control):
    by(8, COMPLETE, {"TASK_ID": 2, "STATUS": 1})
    reply = by(1, DELEGATE, {"TASK_IDS": [1, 2, 99], "FROM_USER_ID": 7, "TO_USER_ID": 9})
    assert (reply.status_code, reply.json()["error"]) == (400, "ERROR_DELEGATION_NOT_ALLOWED")
    assert reply.json()["error_description"].count(";") == 1
    assert ids(by(1, LIST, {"FILTER": {"USER_ID": 9}})) == ["3", "1"]
    assert [effect["id"] for effect in control.journal("delegate")] == [1]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"TASK_IDS": [], "FROM_USER_ID": 7, "TO_USER_ID": 9}, "ERROR_TASK_VALIDATION"),
        ({"TASK_IDS": [1], "TO_USER_ID": 9}, "ERROR_TASK_VALIDATION"),
        ({"TASK_IDS": [1], "FROM_USER_ID": 7, "TO_USER_ID": 99}, "ERROR_INVALID_USER_ID"),
    ],
)
def test_a_handing_over_that_is_not_in_order(by, params, code):
    assert by(1, DELEGATE, params).json()["error"] == code


def test_whether_an_administrator_may_hand_over_for_others_can_be_set(by, control):
    control.configure(delegate_others=False)
    reply = by(1, DELEGATE, {"TASK_IDS": [1], "FROM_USER_ID": 7, "TO_USER_ID": 9})
    assert reply.json()["error"] == "ERROR_DELEGATION_NOT_ALLOWED"
    assert by(7, DELEGATE, {"TASK_IDS": [1], "FROM_USER_ID": 7, "TO_USER_ID": 9}).ok


def test_a_workflow_that_is_killed_takes_its_tasks_along(by):
    by(1, "bizproc.workflow.kill", {"ID": "w1"})
    by(1, "bizproc.workflow.terminate", {"ID": "w2"})
    assert ids(by(1, LIST)) == ["3"]


def test_an_activity_that_waits_is_answered_once(by, control):
    control.add_event_tokens(["t1"])
    line = {"EVENT_TOKEN": "t1", "LOG_MESSAGE": "Under way"}
    assert by(8, "bizproc.activity.log", line).json()["result"] is True
    assert by(8, "bizproc.activity.log", {"EVENT_TOKEN": "t1"}).json()["error"] == "ERROR_EMPTY_LOG_MESSAGE"
    assert by(8, "bizproc.activity.log", {**line, "EVENT_TOKEN": "t2"}).json()["error"] == "ACCESS_DENIED"
    params = {"EVENT_TOKEN": "t1", "RETURN_VALUES": {"ok": "Y"}}
    assert by(8, "bizproc.event.send", params).json()["result"] is True
    assert [(effect["id"], effect["values"]) for effect in control.journal("event")] == [("t1", {"ok": "Y"})]
    for again in (params, {}, {"EVENT_TOKEN": ["t1"]}):
        reply = by(8, "bizproc.event.send", again)
        assert (reply.status_code, reply.json()["error"]) == (403, "ACCESS_DENIED")
