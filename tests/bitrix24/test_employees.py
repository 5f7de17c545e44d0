"""An employee who has left: who is meant, and which workflows wait for that user."""

from __future__ import annotations

import json
import random
from itertools import count
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import BATCH, Call, Reply
from airflow_provider_workflows.bitrix24.clean_up import clean_up
from airflow_provider_workflows.bitrix24.employees import EmployeeError, User, find_employee, waiting_for
from airflow_provider_workflows.bitrix24.selecting import WorkflowSummary
from airflow_provider_workflows.rest.errors import ApiError, UnreadableReplyError
from tests.plan_runner import run

GONE = {"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}
HERE = {"ID": "10", "NAME": "Eve", "LAST_NAME": "Here", "ACTIVE": True}
NUMBERS = count(1)


class Portal:
    """A portal with users, tasks and running workflows that may ignore a filter, as real ones do.

    :param tasks: rows of ``bizproc.task.list``.
    :param users: rows of ``user.get``.
    :param ignores: whether it gives all tasks and users, whatever is asked for.
    """

    def __init__(
        self, tasks: list[dict[str, Any]], users: list[dict[str, Any]] | None = None, ignores: bool = False
    ) -> None:
        self.tasks = tasks
        self.users = users or []
        self.ignores = ignores
        self.running = dict.fromkeys(task["WORKFLOW_ID"] for task in tasks if task.get("WORKFLOW_ID"))
        self.ended: list[str] = []
        self.requests: list[Call] = []

    def __call__(self, call: Call) -> Reply | ApiError:
        """Answer a request."""
        self.requests.append(call)
        if call.commands:
            assert len(call.commands) <= BATCH
            return Reply({key: self._do(command) for key, command in call.commands.items()})
        return self._do(call)

    def _do(self, call: Call) -> Reply:
        if call.method == "user.get":
            return self._page(call, self.users)
        if call.method == "bizproc.task.list":
            return self._page(call, self.tasks)
        if call.method == "bizproc.workflow.instances":
            workflow_id = call.params["FILTER"]["ID"]
            found = [{"ID": workflow_id, "TEMPLATE_ID": "7", "STARTED": None}] if workflow_id in self.running else []
            return Reply(found, total=len(found))
        self.ended.append(call.params["ID"])
        del self.running[call.params["ID"]]
        return Reply(True)

    def _page(self, call: Call, rows: list[dict[str, Any]]) -> Reply:
        wanted = {} if self.ignores else call.params["FILTER"]
        rows = [row for row in rows if all(int(row[field]) == int(wanted[field]) for field in wanted if field in row)]
        start = call.params["start"]
        return Reply(rows[start : start + 50], len(rows), start + 50 if start + 50 < len(rows) else None)


def task(workflow_id: str, user_id: Any = 9, status: Any = 0, user_status: Any = 0) -> dict[str, Any]:
    """Return a row of ``bizproc.task.list``."""
    return {
        "ID": str(next(NUMBERS)),
        "WORKFLOW_ID": workflow_id,
        "USER_ID": user_id,
        "STATUS": status,
        "USER_STATUS": user_status,
    }


def find(portal: Portal) -> dict[str, WorkflowSummary]:
    """Find what waits for user 9."""
    return run(waiting_for(9)(), portal)


def ids(count: int) -> list[str]:
    """Return so many workflow ids."""
    return [f"66e412fdc9bd44.{number:08d}" for number in range(count)]


class TestTasks:
    @pytest.mark.parametrize(("tasks", "requests"), [(0, 1), (50, 1), (51, 2), (2500, 2), (2550, 4), (5050, 5)])
    def test_are_read_from_all_pages(self, tasks: int, requests: int) -> None:
        portal = Portal([task(one) for one in ids(tasks)])
        assert list(find(portal)) == ids(tasks)
        lists = [call for call in portal.requests if "bizproc.task.list" in map(str, [call, *call.commands.values()])]
        assert len(lists) == requests

    @pytest.mark.parametrize("chance", range(5))
    def test_are_each_counted_once_in_a_list_of_several_parts_whichever_reply_comes_first(
        self, monkeypatch: pytest.MonkeyPatch, chance: int
    ) -> None:
        monkeypatch.setattr("airflow_provider_workflows.bitrix24.clean_up.FIRST_PART", 200)
        portal = Portal([task(one) for one in ids(700)])
        plan = clean_up(waiting_for(9), calls.terminate_workflow, in_parts=True)
        report = run(plan, portal, chance=random.Random(chance))  # noqa: S311
        assert (report.found, report.sample[0]["id"], len(report.end.ended)) == (700, ids(1)[0], 700)

    def test_of_one_workflow_count_once(self) -> None:
        portal = Portal([task(one) for one in ids(60) * 50])
        assert list(find(portal)) == ids(60)
        report = run(clean_up(waiting_for(9), calls.terminate_workflow), portal)
        assert (sorted(portal.ended), report.found) == (ids(60), 60)

    @pytest.mark.parametrize("ignores", [False, True])
    def test_of_others_and_done_ones_end_nothing_even_where_the_portal_lists_them(self, ignores: bool) -> None:
        mine, done, theirs, answered = ids(4)
        tasks = [
            task(done, status="1"),
            task(mine, "9", "0", "0"),
            task(theirs, user_id=10),
            task(answered, user_status="1"),
        ]
        portal = Portal(tasks, ignores=ignores)
        report = run(clean_up(waiting_for(9), calls.terminate_workflow), portal)
        assert (report.end.ended, portal.ended) == ([mine], [mine])
        assert sorted(portal.running) == [done, theirs, answered]

    def test_of_workflows_that_run_no_more_are_left_out(self) -> None:
        portal = Portal([task(one) for one in ids(2)])
        del portal.running[ids(2)[0]]
        assert list(find(portal)) == [ids(2)[1]]

    @pytest.mark.parametrize("field", ["ID", "WORKFLOW_ID", "USER_ID", "STATUS", "USER_STATUS"])
    @pytest.mark.parametrize("lacks", [True, False])
    def test_that_cannot_be_told_end_nothing(self, field: str, lacks: bool) -> None:
        row = task(ids(1)[0])
        if lacks:
            del row[field]
        else:
            row[field] = None
        if field == "WORKFLOW_ID" and not lacks:
            # A task without a workflow is not a sign of another answer than the documented one.
            assert find(Portal([row], ignores=True)) == {}
            return
        portal = Portal([row, task(ids(2)[1])], ignores=True)
        with pytest.raises(UnreadableReplyError, match=field):
            run(clean_up(waiting_for(9), calls.terminate_workflow), portal)
        assert portal.ended == []

    @pytest.mark.parametrize("result", [None, {"tasks": []}, ["text"]])
    def test_in_another_shape_end_nothing(self, result: Any) -> None:
        with pytest.raises(UnreadableReplyError, match="not the documented result"):
            run(waiting_for(9)(), lambda call: Reply(result, total=1))

    def test_are_shown_in_the_report_with_their_workflows(self) -> None:
        report = run(clean_up(waiting_for(9), calls.kill_workflow), Portal([task(one) for one in ids(2)])).json()
        assert json.loads(json.dumps(report)) == report
        assert report["by_template"] == {"7": 2}
        assert report["by_age"] == {"unknown": 2}
        assert report["ended_ids"] == ids(2)


class TestWhoIsMeant:
    @pytest.mark.parametrize("ignores", [False, True])
    @pytest.mark.parametrize("who", [{"user_id": 9}, {"name": "Bob", "last_name": "Gone"}])
    def test_is_found_by_id_or_name_also_where_the_portal_lists_everybody(self, who: Any, ignores: bool) -> None:
        def answer(call: Call) -> Reply:
            users = [HERE, GONE] if ignores else [GONE]
            return Reply(users, total=len(users))

        user = run(find_employee(**who), answer)
        assert (user.id, user.name, user.last_name, user.active) == (9, "Bob", "Gone", False)

    @pytest.mark.parametrize(("active", "is_active"), [("Y", True), ("N", False), (True, True), (False, False)])
    def test_has_left_or_not_in_each_way_that_portals_write_it(self, active: Any, is_active: bool) -> None:
        assert User.model_validate({**GONE, "ACTIVE": active}).active is is_active

    @pytest.mark.parametrize("active", [True, "Y", "1"])
    def test_is_refused_while_active(self, active: Any) -> None:
        with pytest.raises(EmployeeError, match="the user with id 9 is active; only the workflows of dismissed"):
            run(find_employee(user_id=9), lambda call: Reply([{**GONE, "ACTIVE": active}], total=1))

    def test_is_refused_if_the_portal_does_not_tell_whether_the_user_is_active(self) -> None:
        row = {"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone"}
        with pytest.raises(UnreadableReplyError, match="ACTIVE"):
            run(find_employee(user_id=9), lambda call: Reply([row], total=1))

    def test_is_refused_if_two_have_the_name(self) -> None:
        with pytest.raises(EmployeeError, match="2 dismissed employees have the name Bob Gone: 9, 12"):
            run(
                find_employee(name="Bob", last_name="Gone"),
                lambda call: Reply([GONE, {**GONE, "ID": "12"}], total=2),
            )

    def test_is_found_by_name_beside_an_active_namesake(self) -> None:
        users = [{**HERE, "NAME": "Bob", "LAST_NAME": "Gone"}, GONE]
        assert run(find_employee(name="Bob", last_name="Gone"), lambda call: Reply(users, total=2)).id == 9

    def test_is_refused_if_more_users_than_one_page_were_found(self) -> None:
        # A namesake may stand on the next page.
        with pytest.raises(EmployeeError, match="Set user_id"):
            run(find_employee(name="Bob", last_name="Gone"), lambda call: Reply([GONE], total=51, next=50))

    @pytest.mark.parametrize("users", [[], [HERE], [{**GONE, "ID": "90"}]])
    def test_is_refused_if_there_is_no_such_user(self, users: list[Any]) -> None:
        with pytest.raises(EmployeeError, match="0 dismissed employees have the id 9"):
            run(find_employee(user_id=9), lambda call: Reply(users, total=len(users)))

    @pytest.mark.parametrize("name", ["bob", "Bo", ""])
    def test_is_refused_if_the_name_is_only_like_it(self, name: str) -> None:
        with pytest.raises(EmployeeError, match="0 dismissed employees"):
            run(find_employee(name=name, last_name="Gone"), lambda call: Reply([GONE], total=1))
