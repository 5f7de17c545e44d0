"""Who calls, what they may do, and what the portal tells them of themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import requests

LIST, KILL = "bizproc.workflow.instances", "bizproc.workflow.kill"


@pytest.fixture
def hook(simulator, control):
    """Make a webhook, and call methods through it."""

    def make(user, code, **rights):
        control.add_webhooks([{"user": user, "code": code, **rights}])

        def call(method, params=None):
            return requests.post(f"{simulator.url}/rest/{user}/{code}/{method}", json=params or {}, timeout=300)

        return call

    return make


@pytest.fixture
def application(simulator, control):
    """Call methods as an application."""

    def call(method, params=None):
        body = {"auth": "sim0access0token", **(params or {})}
        return requests.post(f"{simulator.url}/rest/{method}", json=body, timeout=300)

    return call


class TestSeveralWebhooks:
    def test_each_acts_for_its_user_with_its_rights(self, hook, control):
        control.add_users([{"ID": 7, "NAME": "Emil", "LAST_NAME": "Employee"}])
        employee = hook(7, "seven", admin=False, scopes=["bizproc", "task"])
        assert employee("profile").json()["result"]["ADMIN"] is False
        assert employee("profile").json()["result"]["NAME"] == "Emil"
        assert employee(LIST).json()["error"] == "ACCESS_DENIED"
        assert employee("user.get").json()["error"] == "insufficient_scope"
        assert employee("scope").json()["result"] == ["bizproc", "task"]

    def test_two_of_one_user_have_running_time_of_their_own(self, hook, rest, control):
        control.configure(operating_model="documented", operating_limit=10.0, operating_per_command=11.0)
        second = hook(1, "another")
        assert [call(LIST).status_code for call in (rest, second, rest, second)] == [200, 200, 429, 429]

    def test_the_code_belongs_to_its_user(self, hook, simulator):
        hook(7, "seven")
        reply = requests.post(f"{simulator.url}/rest/8/seven/{LIST}", timeout=300)
        assert (reply.status_code, reply.json()["error"]) == (401, "NO_AUTH_FOUND")

    def test_what_is_started_and_who_sees_which_tasks_follows_from_the_user(self, hook, control):
        control.add_tasks([{"USER_ID": 7, "NAME": "mine"}, {"USER_ID": 8, "NAME": "theirs"}])
        boss, employee = hook(9, "nine"), hook(7, "seven", admin=False)
        assert [row["NAME"] for row in employee("bizproc.task.list").json()["result"]] == ["mine"]
        document = {"TEMPLATE_ID": 3, "DOCUMENT_ID": ["crm", "CCrmDocumentDeal", "DEAL_4"]}
        id = boss("bizproc.workflow.start", document).json()["result"]
        assert control.state()["bitrix24"]["workflows"][id]["STARTED_BY"] == "9"


class TestTheApplication:
    def test_it_learns_its_plan(self, application, control):
        assert application("app.info").json()["result"]["LICENSE_FAMILY"] == "pro"
        control.configure(license="de_ent250")
        info = application("app.info").json()["result"]
        assert (info["CODE"], info["LICENSE"], info["LICENSE_FAMILY"]) == ("local.sim0client", "de_ent250", "ent")

    def test_a_webhook_is_none(self, rest):
        assert (rest("app.info").status_code, rest("app.info").json()["error"]) == (400, "ACCESS_DENIED")


class TestMethods:
    def test_there_is_one_and_it_may_be_called(self, rest, hook):
        assert rest("method.get", {"name": KILL}).json()["result"] == {"isExisting": True, "isAvailable": True}
        small = hook(7, "seven", scopes=["user"])
        assert small("method.get", {"name": KILL}).json()["result"] == {"isExisting": True, "isAvailable": False}

    @pytest.mark.parametrize("name", ["bizproc.workflow.pause", "", None, ["a"]])
    def test_there_is_none(self, rest, name):
        assert rest("method.get", {"name": name}).json()["result"] == {"isExisting": False, "isAvailable": False}

    def test_a_plan_without_workflows_has_no_methods_for_them(self, rest, control):
        control.configure(has_bizproc=False)
        assert rest("method.get", {"name": KILL}).json()["result"]["isExisting"] is False
        assert rest("method.get", {"name": "bizproc.event.send"}).json()["result"]["isExisting"] is True
        control.configure(has_automation=False)
        assert rest("bizproc.event.send").status_code == 404

    def test_they_are_listed(self, hook):
        call = hook(7, "seven", scopes=["department"])
        mine = call("methods").json()["result"]
        assert "department.get" in mine
        assert "profile" in mine
        assert KILL not in mine
        assert KILL in call("methods", {"full": True}).json()["result"]
        assert call("methods", {"scope": "department"}).json()["result"] == ["department.get"]

    def test_so_are_the_scopes_there_are(self, rest):
        assert {"bizproc", "task", "user", "department", "im"} == set(rest("scope", {"full": 1}).json()["result"])


def test_the_portal_tells_its_time(rest, control):
    reply = rest("server.time").json()
    assert reply["result"] == reply["time"]["date_start"]
    control.configure(clock_ahead=3600, server_offset="+05:30")
    later = datetime.fromisoformat(rest("server.time").json()["result"])
    assert later.utcoffset() == timedelta(hours=5.5)
    assert 3590 < later.timestamp() - reply["time"]["start"] < 3900


class TestUsers:
    @pytest.fixture(autouse=True)
    def people(self, control):
        control.add_users(
            [
                {"ID": 5, "NAME": "Gone", "ACTIVE": False, "UF_DEPARTMENT": [2]},
                {"ID": 12, "NAME": "Zoe", "EMAIL": "zoe@portal.example", "UF_DEPARTMENT": [1, 2]},
            ]
        )

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({"NAME": "Gone"}, ["5"]),
            ({"FILTER": {"ACTIVE": True}}, ["1", "12"]),
            ({"ACTIVE": "false"}, ["5"]),
            ({"FILTER": {"@ID": [12, 5]}}, ["5", "12"]),
            ({"FILTER": {"!@ID": [12, 5]}}, ["1"]),
            ({"FILTER": {">ID": 5}}, ["12"]),
            ({"FILTER": {">=ID": 5, "<ID": 12}}, ["5"]),
            ({"FILTER": {"%EMAIL": "PORTAL.EX"}}, ["1", "12"]),
            ({"FILTER": {"=%NAME": "z%"}}, ["12"]),
            ({"FILTER": {"!%NAME": "o"}}, ["1"]),
            ({"UF_DEPARTMENT": 2}, ["5", "12"]),
            ({"FILTER": {"!=NAME": "Zoe"}}, ["1", "5"]),
            ({"sort": "NAME", "order": "desc"}, ["12", "5", "1"]),
            ({"sort": "ID", "order": "DESC"}, ["12", "5", "1"]),
            ({"ADMIN_MODE": True}, ["1", "5", "12"]),
            ({"FILTER": {"NMAE": "Zoe"}}, ["1", "5", "12"]),
        ],
    )
    def test_are_found(self, rest, params, expected):
        assert [row["ID"] for row in rest("user.get", params).json()["result"]] == expected

    def test_are_searched_for(self, rest):
        assert [row["ID"] for row in rest("user.search", {"FIND": "adm"}).json()["result"]] == ["1"]
        assert [row["ID"] for row in rest("user.search", {"FILTER": {"NAME": "zo"}}).json()["result"]] == ["12"]

    def test_one_sees_oneself(self, hook):
        assert hook(12, "twelve")("user.current").json()["result"]["NAME"] == "Zoe"

    def test_who_has_the_smallest_scope_sees_no_addresses(self, hook):
        assert "EMAIL" not in hook(12, "twelve", scopes=["user_brief"])("user.current").json()["result"]
        assert "EMAIL" in hook(12, "other", scopes=["user_basic"])("user.current").json()["result"]


def test_departments_are_listed_with_their_heads(rest, control):
    control.add_departments([{"ID": 4, "NAME": "Sales", "PARENT": "1", "UF_HEAD": "12"}, {"NAME": "Legal"}])
    assert [row["NAME"] for row in rest("department.get").json()["result"]] == ["Portal", "Sales", "Legal"]
    assert rest("department.get", {"PARENT": 1}).json()["result"][0]["UF_HEAD"] == "12"
    assert [row["ID"] for row in rest("department.get", {"sort": "NAME", "order": "ASC"}).json()["result"]] == [
        "5",
        "1",
        "4",
    ]
    control.configure(scopes=["user"])
    assert rest("department.get").json()["error"] == "insufficient_scope"
