"""bizproc.workflow.start, terminate and kill, and the lists around them."""

from __future__ import annotations

import re

import pytest
import requests

from airflow_provider_workflows.simulator import Simulator
from airflow_provider_workflows.simulator.bitrix24.workflows import Workflows

TERMINATE, KILL, START = (f"bizproc.workflow.{verb}" for verb in ("terminate", "kill", "start"))
DEAL = ["crm", "CCrmDocumentDeal", "DEAL_5"]


@pytest.fixture
def workflow(control):
    [id] = control.add_workflows([{"ID": "66e412fdc9bd44.36306599"}])
    return id


def state(control, id):
    return control.state()["bitrix24"]["workflows"][id]


def test_terminate_keeps_the_record_with_the_status_text(rest, control, workflow):
    reply = rest(TERMINATE, {"ID": workflow, "STATUS": "Stopped by Airflow"})
    assert (reply.status_code, reply.json()["result"]) == (200, True)
    assert state(control, workflow)["state"] == "terminated"
    assert state(control, workflow)["status_text"] == "Stopped by Airflow"


def test_kill_ends_it_as_well(rest, control, workflow):
    assert rest(KILL, {"ID": workflow}).json()["result"] is True
    assert state(control, workflow)["state"] == "killed"


def test_parameter_names_may_be_in_lower_case(rest, control, workflow):
    assert rest(TERMINATE, {"id": workflow}).json()["result"] is True


@pytest.mark.parametrize("method", [TERMINATE, KILL])
@pytest.mark.parametrize(("language", "word"), [("de", "beendet"), ("ru", "завершён"), ("en", "ended")])
def test_an_ended_id_gets_an_empty_code_and_a_text_in_the_portals_language(
    rest, control, workflow, method, language, word
):
    control.configure(language=language)
    rest(method, {"ID": workflow})
    again, unknown = rest(method, {"ID": workflow}), rest(method, {"ID": "nothing"})
    for reply in (again, unknown):
        assert reply.status_code == 400
        assert reply.json()["error"] == ""
        assert word in reply.json()["error_description"]
    assert len(control.journal()) == 1


@pytest.mark.parametrize(("method", "setting"), [(TERMINATE, "terminate_unknown"), (KILL, "kill_unknown")])
def test_the_answer_to_an_unknown_id_can_be_another(rest, control, method, setting):
    control.configure(**{setting: "coded"})
    assert rest(method, {"ID": "nothing"}).json()["error"] == "ERROR_WRONG_WORKFLOW_ID"
    control.configure(**{setting: "true"})
    assert rest(method, {"ID": "nothing"}).json()["result"] is True
    assert control.journal() == []


@pytest.mark.parametrize("method", [TERMINATE, KILL])
@pytest.mark.parametrize("params", [{}, {"ID": ""}, {"ID": 66}, {"ID": ["66"]}])
def test_an_empty_id_or_one_that_is_no_text_is_an_error_with_a_code(rest, method, params):
    reply = rest(method, params)
    assert reply.status_code == 400
    assert reply.json() == {
        "error": "ERROR_WRONG_WORKFLOW_ID",
        "error_description": "Empty workflow instance ID",
    }


@pytest.mark.parametrize("method", [TERMINATE, KILL, START])
def test_only_an_administrator_may(rest, control, workflow, method):
    control.configure(is_admin=False)
    reply = rest(method, {"ID": workflow, "TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL})
    assert (reply.status_code, reply.json()["error"]) == (403, "ACCESS_DENIED")
    assert control.journal() == []


def test_start_runs_a_workflow_and_returns_its_id(rest, control):
    reply = rest(START, {"TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL, "PARAMETERS": {"Approver": "user_1"}})
    id = reply.json()["result"]
    assert re.fullmatch(r"[0-9a-f]{14}\.\d{8}", id)
    row = state(control, id)
    assert (row["state"], row["TEMPLATE_ID"], row["DOCUMENT_ID"]) == ("running", "3", "DEAL_5")
    assert row["parameters"] == {"Approver": "user_1"}


def test_a_second_start_starts_a_second_workflow(rest, control):
    both = {rest(START, {"TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL}).json()["result"] for _ in range(2)}
    assert len(both) == 2
    assert control.summary()["bitrix24"]["workflows"] == {"running": 2}


@pytest.mark.parametrize(
    ("template", "document", "error", "description"),
    [
        (0, DEAL, "ERROR_WRONG_WORKFLOW_ID", "Empty TEMPLATE_ID"),
        (99, DEAL, "ERROR_WRONG_WORKFLOW_ID", "Template not found"),
        (3, "DEAL_5", "", "Wrong DOCUMENT_ID!"),
        (3, ["crm", "CCrmDocumentDeal", "LEAD_5"], "", "Incorrect document type!"),
        (3, ["crm", "CCrmDocumentLead", "LEAD_5"], "", "Template type and DOCUMENT_ID mismatch!"),
    ],
)
def test_a_start_that_cannot_be(rest, control, template, document, error, description):
    reply = rest(START, {"TEMPLATE_ID": template, "DOCUMENT_ID": document})
    assert reply.status_code == 400
    assert reply.json() == {"error": error, "error_description": description}
    assert control.journal() == []


def test_a_document_type_may_have_backslashes(rest):
    document = ["lists", "Bitrix\\Lists\\BizprocDocumentLists", "17"]
    assert "result" in rest(START, {"TEMPLATE_ID": 2, "DOCUMENT_ID": document}).json()


def test_templates_are_listed_by_id(rest, control):
    control.add_templates([{"ID": 12, "NAME": "Holiday"}])
    reply = rest("bizproc.workflow.template.list", {"SELECT": ["ID", "NAME"]}).json()
    assert [row["ID"] for row in reply["result"]] == ["1", "2", "3", "12"]
    assert reply["result"][-1]["NAME"] == "Holiday"


def test_the_workflows_of_an_employee_are_found_through_their_tasks(rest, control):
    control.add_users([{"ID": 5, "NAME": "Gone", "LAST_NAME": "Long", "ACTIVE": False}])
    control.add_tasks([{"WORKFLOW_ID": "w1", "USER_ID": 5}, {"WORKFLOW_ID": "w2", "USER_ID": 1}])
    [user] = rest("user.get", {"FILTER": {"NAME": "Gone", "LAST_NAME": "Long", "ACTIVE": 0}}).json()["result"]
    params = {"SELECT": ["WORKFLOW_ID"], "FILTER": {"USER_ID": user["ID"], "STATUS": 0}}
    assert rest("bizproc.task.list", params).json()["result"] == [{"WORKFLOW_ID": "w1"}]


def test_who_is_no_administrator_sees_their_own_tasks_only(rest, control):
    control.configure(is_admin=False)
    control.add_tasks([{"WORKFLOW_ID": "w1", "USER_ID": 5}, {"WORKFLOW_ID": "w2", "USER_ID": 1}])
    assert [row["WORKFLOW_ID"] for row in rest("bizproc.task.list").json()["result"]] == ["w2"]


class TestTheLimitOfADocument:
    @pytest.fixture(autouse=True)
    def limit(self, control):
        control.configure(document_limit=2)

    @staticmethod
    def start(rest, document=DEAL):
        return rest(START, {"TEMPLATE_ID": 3, "DOCUMENT_ID": document})

    def test_the_third_is_refused_with_an_empty_code_and_not_started(self, rest, control):
        assert [self.start(rest).status_code for _ in range(3)] == [200, 200, 400]
        assert self.start(rest).json()["error"] == ""
        assert len(control.journal("start")) == 2
        assert self.start(rest, ["crm", "CCrmDocumentDeal", "DEAL_6"]).ok

    def test_it_is_for_what_runs_now(self, rest):
        first = self.start(rest).json()["result"]
        self.start(rest)
        rest(TERMINATE, {"ID": first})
        assert self.start(rest).ok

    def test_what_is_started_by_itself_waits_for_a_place(self, rest, control):
        deal = {"DOCUMENT_ID": "DEAL_5"}
        control.add_workflows([{"ID": "a", **deal}, {"ID": "b", **deal}])
        control.add_workflows([{"ID": "c", "state": "waiting", **deal}, {"ID": "d", "state": "waiting", **deal}])
        listed = rest("bizproc.workflow.instances", {"ORDER": {"ID": "asc"}})
        assert [row["ID"] for row in listed.json()["result"]] == ["a", "b"]
        rest(KILL, {"ID": "a"})
        listed = rest("bizproc.workflow.instances", {"ORDER": {"ID": "asc"}})
        assert [row["ID"] for row in listed.json()["result"]] == ["b", "c"]
        assert state(control, "d")["state"] == "waiting"


OWN = {"PreGeneratedWorkflowId": "mine.1", "IgnoreSimultaneousProcessesLimit": True, "UseForcedTracking": True}
OWN |= {"colour": "red"}


class TestTheRuntimesOwnKeys:
    """Users' values share their array with keys of the runtime, which not every core may read."""

    def test_who_starts_it_is_always_who_calls(self, rest, control):
        given = {"TargetUser": "user_7", "colour": "red"}
        id = rest(START, {"TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL, "PARAMETERS": given}).json()["result"]
        assert (state(control, id)["STARTED_BY"], state(control, id)["parameters"]) == ("1", {"colour": "red"})

    def test_they_can_be_values_like_others(self, rest, control):
        control.configure(obeys_parameters=False)
        id = rest(START, {"TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL, "PARAMETERS": OWN}).json()["result"]
        assert id != "mine.1"
        assert state(control, id)["parameters"] == OWN

    def test_they_choose_the_id_once_and_pass_the_limit(self, rest, control):
        control.configure(document_limit=1)
        control.add_workflows([{"DOCUMENT_ID": "DEAL_5"}])
        start = {"TEMPLATE_ID": 3, "DOCUMENT_ID": DEAL, "PARAMETERS": OWN}
        assert rest(START, start).json()["result"] == "mine.1"
        assert state(control, "mine.1")["parameters"] == {"colour": "red"}
        control.finish_workflows(["mine.1"])
        again = rest(START, start)
        assert (again.status_code, again.json()["error"]) == (400, "")
        assert len(control.journal("start")) == 1


class Stopped:
    """A clock that stands still, some minutes after an hour in Greenwich."""

    def __init__(self, hour):
        self.now = 1_767_225_600.0 + hour * 3600 + 420

    def time(self):
        return self.now

    def monotonic(self):
        return self.now


DAY = 86_400
LONG_AGO = "-8 days"


class TestPausedTooLong:
    """Paused with nothing to wake it, and unchanged for a week: no lock tells of that."""

    @pytest.mark.parametrize(
        ("fields", "too_long"),
        [
            ({}, True),
            ({"OWNED_UNTIL": "-10 minutes"}, True),
            ({"OWNED_UNTIL": "+1 minute"}, False),
            ({"MODIFIED": "-6 days"}, False),
            ({"paused": False}, False),
        ],
    )
    def test_is_told_by_its_pause_its_last_change_and_its_lock(self, control, fields, too_long):
        control.add_workflows([{"STARTED": LONG_AGO, "MODIFIED": LONG_AGO, "paused": True, **fields}])
        assert control.summary()["bitrix24"]["paused_too_long"] == too_long

    def test_many_can_be_made_up(self, rest, control):
        control.generate_workflows(100, stuck=5, paused=7)
        assert control.summary()["bitrix24"]["paused_too_long"] == 7
        assert control.summary()["bitrix24"]["stuck"] == 5
        listed = rest("bizproc.workflow.instances", {"FILTER": {"<MODIFIED": "-7 days", "OWNED_UNTIL": ""}}).json()
        assert listed["total"] >= 7

    @pytest.mark.parametrize("hour", [0, 1, 22, 23])
    def test_a_portal_may_remove_what_it_finds_so_on_two_nights(self, hour):
        with Simulator(clock=Stopped(hour)) as simulator:
            control = simulator.control
            control.configure(sweeps_pauses=True)
            paused = {"STARTED": LONG_AGO, "MODIFIED": LONG_AGO, "paused": True}
            control.add_workflows([{"ID": "lost", **paused}, {"ID": "woken", **paused}, {"ID": "busy"}])
            control.add_tasks([{"ID": 1, "WORKFLOW_ID": "lost", "USER_ID": 1}])
            control.advance(DAY)
            assert control.summary()["bitrix24"]["workflows"] == {"running": 3}
            control.change_workflows(["woken"], MODIFIED="now")
            control.advance(DAY)
            hook = f"{simulator.url}/rest/1/sim0webhook0code"
            listed = requests.get(f"{hook}/bizproc.workflow.instances?ORDER[ID]=asc", timeout=300).json()["result"]
            assert [row["ID"] for row in listed] == ["busy", "woken"]
            assert requests.get(f"{hook}/{KILL}?ID=lost", timeout=300).json()["error"] == ""
            assert requests.get(f"{hook}/bizproc.task.list", timeout=300).json()["result"] == []
            assert [(effect["what"], effect["id"]) for effect in control.journal()] == [("sweep", "lost")]

    def test_what_it_found_before_it_was_told_to_leave_them_alone_does_not_count(self):
        with Simulator(clock=Stopped(12)) as simulator:
            control = simulator.control
            control.add_workflows([{"STARTED": LONG_AGO, "MODIFIED": LONG_AGO, "paused": True}])
            for sweeps in (True, False, True):
                control.configure(sweeps_pauses=sweeps)
                control.advance(DAY)
                assert control.summary()["bitrix24"]["workflows"] == {"running": 1}
            control.advance(DAY)
            assert control.summary()["effects"] == {"sweep": 1}

    def test_of_many_nights_it_looks_at_the_last_two(self, monkeypatch):
        looks, look = [], Workflows.paused_too_long

        def counted(workflows, now):
            looks.append(now)
            return look(workflows, now)

        monkeypatch.setattr(Workflows, "paused_too_long", counted)
        with Simulator(clock=Stopped(12)) as simulator:
            control = simulator.control
            control.configure(sweeps_pauses=True)
            control.add_workflows([{"STARTED": LONG_AGO, "MODIFIED": LONG_AGO, "paused": True}])
            control.advance(1000 * DAY)
            (row,) = control.state()["bitrix24"]["workflows"].values()
        assert row["state"] == "killed"
        assert looks[1] - looks[0] == DAY
        assert len(looks) == 2

    def test_others_leave_them_alone(self, control):
        control.add_workflows([{"STARTED": LONG_AGO, "MODIFIED": LONG_AGO, "paused": True}])
        control.advance(30 * DAY)
        assert control.summary()["bitrix24"]["workflows"] == {"running": 1}
