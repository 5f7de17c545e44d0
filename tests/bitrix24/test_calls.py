"""Each method's call: its exact name, its parameters, and whether a repeat is harmless."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call

ID = "66e412fdc9bd44.36306599"


@pytest.mark.parametrize(
    ("call", "method", "params"),
    [
        (calls.terminate_workflow(ID), "bizproc.workflow.terminate", {"ID": ID}),
        (calls.terminate_workflow(ID, "late"), "bizproc.workflow.terminate", {"ID": ID, "STATUS": "late"}),
        (calls.terminate_workflow(ID, ""), "bizproc.workflow.terminate", {"ID": ID}),
        (calls.kill_workflow(ID), "bizproc.workflow.kill", {"ID": ID}),
        (calls.get_flow(517), "tasks.flow.Flow.get", {"flowId": 517}),
        (calls.activate_flow(517), "tasks.flow.Flow.activate", {"flowId": 517}),
        (calls.update_flow({"id": 517, "name": "n"}), "tasks.flow.Flow.update", {"flowData": {"id": 517, "name": "n"}}),
        (
            calls.list_workflows(select=["ID"], filters={"TEMPLATE_ID": 1}, order={"ID": "asc"}, start=50),
            "bizproc.workflow.instances",
            {"SELECT": ["ID"], "FILTER": {"TEMPLATE_ID": 1}, "ORDER": {"ID": "asc"}, "start": 50},
        ),
    ],
)
def test_a_call_has_the_name_and_parameters_of_the_api_page(call: Call, method: str, params: dict) -> None:
    assert (call.method, call.params, str(call)) == (method, params, method)


def test_only_reads_may_be_repeated_blindly() -> None:
    reads = [calls.list_workflows(), calls.get_flow(1)]
    changes = [calls.terminate_workflow(ID), calls.kill_workflow(ID), calls.activate_flow(1), calls.update_flow({})]
    assert all(call.repeatable for call in reads)
    assert not any(call.repeatable for call in changes)


def test_a_batch_may_be_repeated_if_all_in_it_may() -> None:
    assert calls.batch({"a": calls.get_flow(1), "b": calls.get_flow(2)}).repeatable
    assert not calls.batch({"a": calls.get_flow(1), "b": calls.activate_flow(2)}).repeatable


def test_a_batch_takes_fifty_commands_and_no_more() -> None:
    commands = {f"c{nth}": calls.get_flow(nth) for nth in range(51)}
    with pytest.raises(ValueError, match="at most 50, not 51"):
        calls.batch(commands)
    del commands["c50"]
    assert len(calls.batch(commands).commands) == 50


def test_a_call_cannot_be_changed_after_it_was_made() -> None:
    call = calls.kill_workflow(ID)
    with pytest.raises(FrozenInstanceError):
        call.method = "bizproc.workflow.terminate"  # type: ignore[misc]


def test_a_call_does_not_share_its_parameters_with_the_caller() -> None:
    data = {"id": 517, "name": "before"}
    call = calls.update_flow(data)
    data["name"] = "after"
    assert call.params["flowData"]["name"] == "before"
