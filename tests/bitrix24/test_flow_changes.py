"""Changes to a flow: which are refused, and how they are merged into the whole that an update must send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.flow_changes import (
    WRITABLE_FIELDS,
    FlowChangesError,
    differences,
    merge,
    parse_changes,
    unmet,
)
from airflow_provider_workflows.bitrix24.models import Flow

# A flow in which no field has the value that an update resets it to.
WHOLE = {
    "id": 517,
    "creatorId": 1,
    "ownerId": 2,
    "groupId": 77,
    "templateId": 5,
    "efficiency": 90,
    "active": False,
    "plannedCompletionTime": 7200,
    "activity": "2026-01-01T00:00:00+00:00",
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
FLOW = Flow.model_validate(WHOLE)

ids = st.integers(1, 10**6)
people = st.tuples(st.just("user"), ids.map(str)).map(list)
departments = st.tuples(st.just("department"), ids.map(str) | ids.map("{}:F".format)).map(list)
names = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20)
counts = st.none() | st.integers(0, 1000)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": names,
    "description": names,
    "groupId": ids,
    "ownerId": ids,
    "templateId": st.integers(0, 1000),
    "plannedCompletionTime": ids,
    "distributionType": st.sampled_from(["queue", "himself"]),
    "responsibleList": st.lists(people | departments, min_size=1, max_size=4),
    "taskCreators": st.lists(people | departments | st.just(["meta-user", "all-users"]), min_size=1, max_size=4),
    "matchWorkTime": st.booleans(),
    "responsibleCanChangeDeadline": st.booleans(),
    "notifyAtHalfTime": st.booleans(),
    "taskControl": st.booleans(),
    "notifyOnQueueOverflow": counts,
    "notifyOnTasksInProgressOverflow": counts,
    "notifyWhenEfficiencyDecreases": st.none() | st.integers(0, 100),
}
changes_of_all_kinds = st.fixed_dictionaries({}, optional=FIELDS).filter(bool)


class TestWhatIsTaken:
    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            ({"name": "Support"}, {"name": "Support"}),
            ({"description": ""}, {"description": ""}),
            ({"groupId": "77"}, {"groupId": 77}),
            ({"templateId": 0}, {"templateId": 0}),
            ({"matchWorkTime": 1, "taskControl": 0}, {"matchWorkTime": True, "taskControl": False}),
            ({"notifyOnQueueOverflow": None}, {"notifyOnQueueOverflow": None}),
            ({"notifyWhenEfficiencyDecreases": 100}, {"notifyWhenEfficiencyDecreases": 100}),
            ({"responsibleList": [["user", 3]]}, {"responsibleList": [["user", "3"]]}),
            ({"responsibleList": {"department": "17:F"}}, {"responsibleList": [["department", "17:F"]]}),
            ({"responsibleList": [{"user": 3}, {"user": 4}]}, {"responsibleList": [["user", "3"], ["user", "4"]]}),
            ({"taskCreators": [("meta-user", "all-users")]}, {"taskCreators": [["meta-user", "all-users"]]}),
        ],
    )
    def test_values_come_in_the_portals_own_form(self, given: dict, taken: dict) -> None:
        assert parse_changes(given) == taken

    @given(changes_of_all_kinds)
    def test_what_was_taken_once_is_taken_again(self, changes: dict) -> None:
        parsed = parse_changes(changes)
        assert parse_changes(parsed) == parsed == changes


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"active": True}, "'active' is not set by an update; use FlowActivateOperator"),
            ({"active": True, "name": "x"}, "use FlowActivateOperator"),
            ({"nmae": "x"}, "no such field to set: 'nmae'; did you mean name?; there are name, "),
            ({"name": "x", "id": 9, "Description": "y"}, "no such field to set: 'id', 'Description'"),
            ({"efficiency": 1}, "no such field to set: 'efficiency'"),
            ({"name": ""}, "name: "),
            ({"name": None}, "name: "),
            ({"name": ["x"]}, "name: "),
            ({"groupId": 0}, "groupId: "),
            ({"groupId": None}, "groupId: "),
            ({"ownerId": -1}, "ownerId: "),
            ({"ownerId": "Ada"}, "ownerId: "),
            ({"templateId": -1}, "templateId: "),
            ({"plannedCompletionTime": 0}, "plannedCompletionTime: "),
            ({"plannedCompletionTime": "2 hours"}, "plannedCompletionTime: "),
            ({"plannedCompletionTime": 1.5}, "plannedCompletionTime: "),
            ({"distributionType": "manual"}, "distributionType: Input should be 'manually', 'queue' or 'himself'"),
            ({"distributionType": "QUEUE"}, "distributionType: "),
            ({"matchWorkTime": 2}, "matchWorkTime: "),
            ({"taskControl": None}, "taskControl: "),
            ({"notifyOnQueueOverflow": -1}, "notifyOnQueueOverflow: "),
            ({"notifyWhenEfficiencyDecreases": 101}, "notifyWhenEfficiencyDecreases: "),
            ({"responsibleList": []}, "responsibleList: "),
            ({"responsibleList": ["user", "3"]}, "responsibleList: "),
            ({"responsibleList": [["user", "3", "4"]]}, "responsibleList: "),
            ({"responsibleList": [["user", "0"]]}, 'should look like ["user", "3"] or ["department", "17:F"]'),
            ({"responsibleList": [["user", "3"], ["user", "all"]]}, "should look like"),
            ({"responsibleList": [["users", "3"]]}, "should look like"),
            ({"responsibleList": [["user", "3:F"]]}, "should look like"),
            ({"responsibleList": [["department", "17:G"]]}, "should look like"),
            ({"responsibleList": [["meta-user", "all-users"]]}, "should look like"),
            ({"taskCreators": [["meta-user", "nobody"]]}, 'or ["meta-user", "all-users"]'),
            ({"taskCreators": None}, "taskCreators: "),
            ({}, "one field at least"),
            (None, "must be a mapping"),
            ("", "must be a mapping"),
            ("None", "must be a mapping"),
            ([("name", "x")], "must be a mapping"),
        ],
    )
    def test_what_the_portal_would_refuse_or_misread(self, changes: Any, why: str) -> None:
        with pytest.raises(FlowChangesError) as refused:
            parse_changes(changes)
        assert why in str(refused.value)

    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(FlowChangesError) as refused:
            parse_changes({"name": "", "groupId": "x", "description": "fine", "taskControl": "perhaps"})
        assert all(f"{field}: " in str(refused.value) for field in ("name", "groupId", "taskControl"))
        assert "description: " not in str(refused.value)

    @given(st.text().filter(lambda name: name not in {*WRITABLE_FIELDS, "active"}))
    def test_any_unknown_field(self, name: str) -> None:
        with pytest.raises(FlowChangesError) as refused:
            parse_changes({"description": "x", name: "y"})
        assert repr(name) in str(refused.value)

    @pytest.mark.parametrize(
        "changes",
        [
            {"distributionType": "manually"},
            {"distributionType": "manually", "responsibleList": [["user", "3"], ["user", "4"]]},
            {"distributionType": "manually", "responsibleList": [["department", "17"]]},
        ],
    )
    def test_manual_distribution_without_exactly_one_user(self, changes: dict) -> None:
        with pytest.raises(FlowChangesError, match="must name the one user who hands out"):
            merge(FLOW, parse_changes(changes))

    def test_more_people_for_a_flow_that_is_distributed_by_hand(self) -> None:
        manual = Flow.model_validate(WHOLE | {"distributionType": "manually", "responsibleList": [["user", "3"]]})
        with pytest.raises(FlowChangesError, match="must name the one user"):
            merge(manual, parse_changes({"responsibleList": [["user", "3"], ["user", "4"]]}))

    def test_a_flow_of_which_the_portal_does_not_tell_all(self) -> None:
        part = {name: value for name, value in WHOLE.items() if name not in {"taskCreators", "groupId"}}
        with pytest.raises(
            FlowChangesError, match="does not return groupId, taskCreators of flow 517; an update would"
        ):
            merge(Flow.model_validate(part), parse_changes({"name": "New"}))
        given = parse_changes({"name": "New", "groupId": 8, "taskCreators": [["user", 1]]})
        sent = merge(Flow.model_validate(part), given)
        assert sent is not None
        assert (sent["groupId"], sent["taskCreators"]) == (8, [["user", "1"]])


class TestWhatIsSent:
    def test_the_whole_flow_with_the_change_in_it(self) -> None:
        sent = merge(FLOW, parse_changes({"description": "Second line"}))
        whole = {name: WHOLE[name] for name in ("id", *WRITABLE_FIELDS)} | {"description": "Second line"}
        assert sent == whole
        assert json.loads(json.dumps(sent)) == whole

    def test_manual_distribution_with_one_user(self) -> None:
        sent = merge(FLOW, parse_changes({"distributionType": "manually", "responsibleList": [["user", 3]]}))
        assert sent is not None
        assert (sent["distributionType"], sent["responsibleList"]) == ("manually", [["user", "3"]])

    def test_a_flow_that_breaks_that_rule_already_can_still_be_renamed(self) -> None:
        odd = Flow.model_validate(WHOLE | {"distributionType": "manually"})
        assert merge(odd, parse_changes({"name": "New"})) is not None

    def test_switches_are_sent_as_numbers(self) -> None:
        sent = merge(FLOW, parse_changes({"taskControl": False}))
        assert sent is not None
        assert [type(sent[name]) for name in ("taskControl", "matchWorkTime", "notifyAtHalfTime")] == [int, int, int]

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "Support"},
            {"name": " Support "},
            {"taskControl": 1, "matchWorkTime": 0, "notifyOnTasksInProgressOverflow": None},
            {"responsibleList": [["department", "17:F"], ["user", 3]]},
        ],
    )
    def test_nothing_if_the_flow_is_so_already(self, changes: dict) -> None:
        assert merge(FLOW, parse_changes(changes)) is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "support"},
            {"responsibleList": [["department", "17:F"]]},
            {"notifyOnQueueOverflow": None},
            {"notifyOnTasksInProgressOverflow": 0},
        ],
    )
    def test_the_flow_if_it_differs_in_the_least(self, changes: dict) -> None:
        assert merge(FLOW, parse_changes(changes)) is not None

    def test_an_escaped_name_is_the_same_name(self) -> None:
        escaped = Flow.model_validate(WHOLE | {"name": "A &amp; B"})
        assert merge(escaped, parse_changes({"name": "A & B"})) is None

    @given(changes_of_all_kinds)
    def test_every_field_goes_out_changed_or_as_it_was(self, given_changes: dict) -> None:
        changes = parse_changes(given_changes)
        sent = merge(FLOW, changes)
        if sent is None:
            assert not unmet(FLOW, changes)
            return
        assert list(sent) == ["id", *WRITABLE_FIELDS]
        assert sent == {name: WHOLE[name] for name in ("id", *WRITABLE_FIELDS)} | changes

    @given(changes_of_all_kinds)
    def test_a_portal_that_obeys_has_nothing_left_to_change(self, given_changes: dict) -> None:
        changes = parse_changes(given_changes)
        after = Flow.model_validate(WHOLE | (merge(FLOW, changes) or {}))
        assert merge(after, changes) is None
        assert set(differences(FLOW, after)) <= set(changes)


def test_differences_name_what_changed_with_both_values() -> None:
    after = Flow.model_validate(
        WHOLE | {"description": "New", "active": True, "responsibleList": [["user", "9"]], "efficiency": 3}
    )
    assert differences(FLOW, after) == {
        "description": {"before": "First line", "after": "New"},
        "responsibleList": {"before": [["user", "3"], ["department", "17:F"]], "after": [["user", "9"]]},
        "active": {"before": False, "after": True},
    }
    assert differences(FLOW, FLOW) == {}
