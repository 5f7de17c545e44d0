"""FlowActivateOperator and FlowUpdateOperator, against a portal that toggles, and resets what it is not given."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import FlowError, FlowNotReachedError, ScopeError
from airflow_provider_workflows.bitrix24.flow_changes import FlowChangesError
from airflow_provider_workflows.bitrix24.flows import switch_flow
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.operators.bitrix24 import FlowActivateOperator, FlowUpdateOperator
from airflow_provider_workflows.rest.errors import ArgumentError, AuthenticationError, RateLimitError, ReplyLostError
from airflow_provider_workflows.simulator import Control
from tests.operators.remote import TaskInstance, VirtualTime, refused, render

GET, ACTIVATE, UPDATE = "tasks.flow.Flow.get", "tasks.flow.Flow.activate", "tasks.flow.Flow.update"
# A flow in which no field has the value that an update resets it to.
FIELDS = {
    "id": 517,
    "ownerId": 2,
    "groupId": 77,
    "templateId": 5,
    "plannedCompletionTime": 7200,
    "name": "Support",
    "description": "First line",
    "distributionType": "queue",
    "responsibleList": [["user", "3"], ["department", "17:F"]],
    "taskCreators": [["department", "4"]],
    "matchWorkTime": False,
    "responsibleCanChangeDeadline": True,
    "notifyAtHalfTime": True,
    "taskControl": True,
    "notifyOnQueueOverflow": 10,
    "notifyOnTasksInProgressOverflow": None,
    "notifyWhenEfficiencyDecreases": 70,
}
#: Faults after which the call was done, and faults after which it was not.
DONE: tuple[tuple[str, dict], ...] = (
    ("lost_after", {}),
    ("error_500", {"done": True}),
    ("html", {"status": 200, "done": True}),
    ("html", {"status": 504, "done": True}),
    ("truncated", {}),
    ("empty_body", {"done": True}),
)
NOT_DONE: tuple[tuple[str, dict], ...] = (
    ("lost_before", {}),
    ("error_500", {"done": False}),
    ("html", {"status": 500, "done": False}),
    ("empty_body", {"done": False}),
)
nowhere = pytest.mark.parametrize("flow_id", [0, -1, "", None, "None", "seventeen", 517.5, True, [517]])


@pytest.fixture
def flow(control: Control) -> int:
    """Return a flow that is off."""
    return control.add_flow(active=False, **FIELDS)


def state(control: Control, flow_id: int = 517) -> dict[str, Any]:
    """Return a flow as it is."""
    found: dict[str, Any] = control.state()["bitrix24"]["flows"][str(flow_id)]
    return found


def switch(context: Any, flow_id: Any = 517, active: Any = True) -> Any:
    """Run a task that switches a flow."""
    return FlowActivateOperator(task_id="switch", flow_id=flow_id, active=active).execute(context)


def update(context: Any, changes: Any, flow_id: Any = 517) -> Any:
    """Run a task that changes a flow."""
    return FlowUpdateOperator(task_id="update", flow_id=flow_id, changes=changes).execute(context)


class TestActivate:
    def test_it_switches_and_tells_the_state_before_and_after(self, control: Control, flow: int, context: Any) -> None:
        assert switch(context) == {"flow_id": 517, "before": False, "after": True}
        assert state(control)["active"] is True
        assert switch(context, active=False) == {"flow_id": 517, "before": True, "after": False}
        assert state(control)["active"] is False

    @pytest.mark.parametrize("active", [True, False])
    def test_a_flow_that_is_so_already_is_only_read(self, control: Control, context: Any, active: bool) -> None:
        control.add_flow(id=517, active=active)
        assert switch(context, active=active) == {"flow_id": 517, "before": active, "after": active}
        assert [entry["method"] for entry in control.requests()] == [GET]
        assert control.journal("activate") == []

    def test_it_switches_on_unless_told_otherwise(self, control: Control, flow: int, context: Any) -> None:
        FlowActivateOperator(task_id="switch", flow_id=517).execute(context)
        assert state(control)["active"] is True

    def test_nothing_else_of_the_flow_changes(self, control: Control, flow: int, context: Any) -> None:
        before = state(control)
        switch(context)
        assert state(control) == before | {"active": True}

    @pytest.mark.parametrize("wanted", [True, False])
    def test_id_and_state_may_come_from_a_template(self, control: Control, context: Any, wanted: bool) -> None:
        flow = control.add_flow(active=not wanted)
        operator = FlowActivateOperator(task_id="switch", flow_id="{{ flow }}", active="{{ open }}")
        render(operator, flow=flow, open=wanted)
        assert operator.execute(context)["after"] is wanted
        assert state(control, flow)["active"] is wanted

    @pytest.mark.parametrize(("fault", "options"), DONE)
    def test_ten_lost_replies_in_a_row_toggle_it_once_each_time(
        self, control: Control, flow: int, context: Any, fault: str, options: dict
    ) -> None:
        control.inject(fault, method=ACTIVATE, times=10, **options)
        for nth in range(10):
            wanted = nth % 2 == 0
            assert switch(context, active=wanted)["after"] is wanted
            assert state(control)["active"] is wanted
        assert [effect["active"] for effect in control.journal("activate")] == [True, False] * 5
        assert [entry["fault"] for entry in control.requests(method=ACTIVATE)] == [fault] * 10

    def test_the_try_after_one_that_could_not_see_what_it_did_does_not_toggle_it_back(
        self, control: Control, flow: int, context: Any
    ) -> None:
        control.inject("lost_after", method=ACTIVATE)
        control.inject("lost_before", method=GET, skip=1, times=8)
        with pytest.raises(ReplyLostError):
            switch(context)
        assert state(control)["active"] is True
        assert switch(context) == {"flow_id": 517, "before": True, "after": True}
        assert len(control.journal("activate")) == 1

    @pytest.mark.parametrize(("fault", "options"), NOT_DONE)
    @pytest.mark.parametrize("times", [1, 4])
    def test_after_a_lost_reply_it_waits_out_the_portals_limit_before_it_toggles_again(
        self, control: Control, flow: int, context: Any, fault: str, options: dict, times: int
    ) -> None:
        control.inject(fault, method=ACTIVATE, times=times, **options)
        assert switch(context) == {"flow_id": 517, "before": False, "after": True}
        assert len(control.journal("activate")) == 1
        moments = [entry["at"] for entry in control.requests(method=ACTIVATE)]
        assert len(moments) == times + 1
        assert all(later - earlier >= 60 for earlier, later in pairwise(moments))

    def test_a_portal_that_is_slow_to_do_what_it_was_asked_is_not_asked_again(
        self, control: Control, flow: int, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        control.inject("lost_before", method=ACTIVATE)
        nap = clock.sleep

        def meanwhile(seconds: float, until: Any) -> None:
            nap(seconds)
            if sum(clock.naps) >= 50 and not state(control)["active"]:
                Bitrix24Hook().run(switch_flow(517, True))

        monkeypatch.setattr(clock, "sleep", meanwhile)
        assert switch(context)["after"] is True
        # One that was lost, and the one that the portal did fifty seconds later.
        assert len(control.requests(method=ACTIVATE)) == 2
        assert len(control.journal("activate")) == 1

    @pytest.mark.parametrize("late", [True, False])
    def test_a_retry_does_not_toggle_back_what_a_try_that_died_has_asked_for_a_moment_ago(
        self, control: Control, flow: int, context: Any, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch, late: bool
    ) -> None:
        nap = clock.sleep

        def meanwhile(seconds: float, until: Any) -> None:
            nap(seconds)
            if late and sum(clock.naps) >= 50 and not state(control)["active"]:
                Bitrix24Hook().run(switch_flow(517, True))

        monkeypatch.setattr(clock, "sleep", meanwhile)
        context["ti"].try_number = 2
        operator = FlowActivateOperator(task_id="switch", flow_id=517, retries=1)
        assert operator.execute(context) == {"flow_id": 517, "before": False, "after": True}
        assert (state(control)["active"], len(control.journal("activate"))) == (True, 1)
        assert 50 <= sum(clock.naps) <= 61
        # What is as wanted is not waited for.
        assert operator.execute(context)["before"] is True
        assert sum(clock.naps) <= 61

    def test_if_the_portal_never_does_it_it_gives_up_and_tells_the_state(
        self, control: Control, flow: int, context: Any
    ) -> None:
        control.inject("lost_before", method=ACTIVATE, times=None)
        with pytest.raises(FlowNotReachedError, match="flow 517 is off after 5 attempts to switch it on"):
            switch(context)
        assert len(control.requests(method=ACTIVATE)) == 5
        assert control.journal("activate") == []

    @pytest.mark.parametrize("fault", ["refused", "lost_before", "lost_after", "error_500", "truncated", "empty_body"])
    def test_reads_that_break_in_passing_are_repeated(
        self, control: Control, flow: int, context: Any, fault: str
    ) -> None:
        control.inject(fault, method=GET, times=4)
        assert switch(context)["after"] is True
        assert len(control.journal("activate")) == 1

    def test_a_refused_toggle_is_sent_again_and_done_once(self, control: Control, flow: int, context: Any) -> None:
        control.inject("refused", method=ACTIVATE, times=5)
        assert switch(context)["after"] is True
        assert len(control.journal("activate")) == 1

    def test_a_portal_that_refuses_for_ever_is_an_error(self, control: Control, flow: int, context: Any) -> None:
        control.inject("refused", method=ACTIVATE, times=None)
        with pytest.raises(RateLimitError):
            switch(context)
        assert state(control)["active"] is False

    @pytest.mark.parametrize("language", ["de", "ru", "en"])
    @pytest.mark.parametrize("unknown", ["access_denied", "not_found"])
    def test_a_flow_that_is_not_there_is_an_error_that_tells_what_it_can_mean(
        self, control: Control, context: Any, language: str, unknown: str
    ) -> None:
        control.configure(language=language, flow_unknown=unknown)
        with refused(FlowError, match="The flow may not exist, the credential's user may be neither"):
            switch(context, flow_id=999)
        assert [entry["method"] for entry in control.requests()] == [GET]

    @pytest.mark.parametrize(
        ("settings", "error"),
        [
            ({"webhook_known": False}, AuthenticationError),
            ({"scopes": ["bizproc"]}, ScopeError),
            ({"has_flows": False}, FlowError),
        ],
    )
    def test_a_portal_that_does_not_let_it_in_is_an_error(
        self, control: Control, flow: int, context: Any, settings: dict, error: type[Exception]
    ) -> None:
        control.configure(**settings)
        with refused(error):
            switch(context)
        assert state(control)["active"] is False

    def test_a_user_who_may_read_but_not_switch_is_told_so(self, control: Control, context: Any) -> None:
        control.add_flow(id=517, active=False, creatorId=8, ownerId=9)
        control.configure(is_admin=False)
        with refused(FlowError, match=r"Flow\.activate: "):
            switch(context)
        assert state(control)["active"] is False

    @nowhere
    def test_what_is_no_flow_id_is_refused_before_anything_is_sent(
        self, control: Control, flow: int, context: Any, flow_id: Any
    ) -> None:
        with pytest.raises(ValueError, match="flow_id must be a whole number of 1 or more"):
            switch(context, flow_id=flow_id)
        assert control.requests() == []

    @pytest.mark.parametrize("active", ["false", "on", "", "None", None, 0, 1, "{{ on }}"])
    def test_a_state_that_is_neither_true_nor_false_is_refused_before_anything_is_sent(
        self, control: Control, flow: int, context: Any, active: Any
    ) -> None:
        with refused(ArgumentError, match="active must be True or False"):
            switch(context, active=active)
        assert control.requests() == []

    def test_the_flow_is_linked_to(self, control: Control, flow: int, context: Any, ti: TaskInstance) -> None:
        switch(context)
        assert "/company/personal/user/2/tasks/flow/?" in ti.xcoms["_link_FlowLink"]


class TestUpdate:
    def test_it_changes_what_is_given_and_nothing_else(self, control: Control, flow: int, context: Any) -> None:
        before = state(control)
        result = update(context, {"description": "Second line", "taskControl": 0})
        assert state(control) == before | {"description": "Second line", "taskControl": False}
        assert result == {
            "flow_id": 517,
            "changed": {
                "description": {"before": "First line", "after": "Second line"},
                "taskControl": {"before": True, "after": False},
            },
        }
        assert json.loads(json.dumps(result)) == result

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "Sales & Söhne"),
            ("description", ""),
            ("groupId", 78),
            ("ownerId", 9),
            ("templateId", 0),
            ("plannedCompletionTime", 60),
            ("distributionType", "himself"),
            ("responsibleList", [["department", "17:F"]]),
            ("taskCreators", [["meta-user", "all-users"]]),
            ("matchWorkTime", True),
            ("responsibleCanChangeDeadline", False),
            ("notifyAtHalfTime", False),
            ("taskControl", False),
            ("notifyOnQueueOverflow", None),
            ("notifyOnTasksInProgressOverflow", 5),
            ("notifyWhenEfficiencyDecreases", None),
        ],
    )
    def test_every_field_can_be_changed_alone(
        self, control: Control, flow: int, context: Any, field: str, value: Any
    ) -> None:
        before = state(control)
        changed = update(context, {field: value})["changed"]
        after = state(control)
        assert after[field] == value
        assert list(changed) == [field]
        # The people of a flow are its team as well.
        assert {name for name in after if after[name] != before[name]} <= {field, "team"}

    def test_manual_distribution_needs_exactly_one_user(self, control: Control, flow: int, context: Any) -> None:
        before = state(control)
        for people in ({}, {"responsibleList": [["user", 3], ["user", 4]]}, {"responsibleList": [["department", 4]]}):
            with refused(FlowChangesError, match="must name the one user who hands out the tasks"):
                update(context, {"distributionType": "manually"} | people)
        assert (state(control), control.requests(method=UPDATE)) == (before, [])
        update(context, {"distributionType": "manually", "responsibleList": [["user", 3]]})
        assert state(control)["distributionType"] == "manually"

    @pytest.mark.parametrize("changes", [{"name": "Support"}, {"taskControl": 1, "notifyOnQueueOverflow": 10}])
    def test_a_flow_that_is_so_already_is_only_read(
        self, control: Control, flow: int, context: Any, changes: dict
    ) -> None:
        assert update(context, changes) == {"flow_id": 517, "changed": {}}
        assert [entry["method"] for entry in control.requests()] == [GET]

    def test_a_second_run_of_the_same_task_changes_nothing(self, control: Control, flow: int, context: Any) -> None:
        assert update(context, {"name": "Sales"})["changed"]
        assert update(context, {"name": "Sales"})["changed"] == {}
        assert len(control.journal("update")) == 1

    def test_a_flow_that_is_off_stays_off(self, control: Control, flow: int, context: Any) -> None:
        control.configure(flow_update_active=True)
        update(context, {"name": "Sales"})
        assert state(control)["active"] is False

    def test_changes_may_come_from_a_template(self, control: Control, flow: int, context: Any) -> None:
        operator = FlowUpdateOperator(
            task_id="update", flow_id="{{ flow }}", changes={"name": "{{ name }}", "groupId": "{{ group }}"}
        )
        render(operator, flow=flow, name="Sales", group=78)
        operator.execute(context)
        assert (state(control)["name"], state(control)["groupId"]) == ("Sales", 78)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"active": True}, "use FlowActivateOperator"),
            ({"nmae": "x"}, "'nmae'"),
            ({"id": 5}, "'id'"),
            ({"name": ""}, "name: "),
            ({"groupId": 0}, "groupId: "),
            ({"plannedCompletionTime": "2 h"}, "plannedCompletionTime: "),
            ({"distributionType": "auto"}, "distributionType: "),
            ({"responsibleList": []}, "responsibleList: "),
            ({"responsibleList": [["user", "all"]]}, "responsibleList: "),
            ({"taskCreators": [["team", "3"]]}, "taskCreators: "),
            ({"notifyWhenEfficiencyDecreases": 101}, "notifyWhenEfficiencyDecreases: "),
            ({"taskControl": "perhaps"}, "taskControl: "),
            ({"description": "fine", "matchWorkTime": None}, "matchWorkTime: "),
            ({}, "one field at least"),
            ("", "must be a mapping"),
            (None, "must be a mapping"),
        ],
    )
    def test_what_the_portal_would_misread_is_refused_before_anything_is_sent(
        self, control: Control, flow: int, context: Any, changes: Any, named: str
    ) -> None:
        with pytest.raises(FlowChangesError) as refused:
            update(context, changes)
        assert named in str(refused.value)
        assert control.requests() == []

    @nowhere
    def test_what_is_no_flow_id_is_refused_before_anything_is_sent(
        self, control: Control, flow: int, context: Any, flow_id: Any
    ) -> None:
        with pytest.raises(ValueError, match="flow_id must be a whole number of 1 or more"):
            update(context, {"name": "x"}, flow_id=flow_id)
        assert control.requests() == []

    @pytest.mark.parametrize(("fault", "options"), DONE)
    def test_an_update_whose_reply_was_lost_is_done_once(
        self, control: Control, flow: int, context: Any, fault: str, options: dict
    ) -> None:
        control.inject(fault, method=UPDATE, times=None, **options)
        before = state(control)
        assert update(context, {"name": "Sales"})["changed"] == {"name": {"before": "Support", "after": "Sales"}}
        assert state(control) == before | {"name": "Sales"}
        assert len(control.requests(method=UPDATE)) == 1

    @pytest.mark.parametrize(("fault", "options"), [*NOT_DONE, ("refused", {})])
    def test_an_update_that_was_lost_on_the_way_is_sent_again(
        self, control: Control, flow: int, context: Any, fault: str, options: dict
    ) -> None:
        control.inject(fault, method=UPDATE, times=2, **options)
        assert list(update(context, {"name": "Sales"})["changed"]) == ["name"]
        assert len(control.journal("update")) == 1

    def test_if_the_portal_never_does_it_it_gives_up_and_names_the_field(
        self, control: Control, flow: int, context: Any
    ) -> None:
        control.inject("lost_before", method=UPDATE, times=None)
        with pytest.raises(FlowNotReachedError, match="flow 517 keeps its name after an update"):
            update(context, {"name": "Sales"})
        assert state(control)["name"] == "Support"

    @pytest.mark.parametrize("language", ["de", "ru"])
    def test_a_name_that_is_taken_is_the_portals_own_error(
        self, control: Control, flow: int, context: Any, language: str
    ) -> None:
        control.configure(language=language)
        control.add_flow(name="Sales")
        with refused(FlowError, match="HTTP 400"):
            update(context, {"name": "Sales"})
        assert len(control.requests(method=UPDATE)) == 1
        assert state(control)["name"] == "Support"

    def test_the_flow_is_linked_to(self, control: Control, flow: int, context: Any, ti: TaskInstance) -> None:
        update(context, {"ownerId": 9})
        assert "/company/personal/user/9/tasks/flow/?" in ti.xcoms["_link_FlowLink"]
