"""What Domo returns."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_workflows.domo.models import Instance

# The reply in Domo's own example.
REPLY = {
    "id": "2052e10a-d142-4391-a731-2be1ab1c0188",
    "modelId": "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138",
    "modelName": "AddTwoNumbers",
    "modelVersion": "1.1.0",
    "createdBy": "8811501",
    "createdOn": "2024-11-15T15:57:17.082Z",
    "updatedBy": "8811501",
    "updatedOn": "2024-11-15T15:57:17.082Z",
    "status": "IN_PROGRESS",
    "isTestRun": False,
}


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELED", "CANCELLED", "FAILED"])
def test_an_instance_that_does_nothing_more_is_terminal(status: str) -> None:
    assert Instance.model_validate(REPLY | {"status": status}).terminal


@pytest.mark.parametrize("status", [None, "null", "", "IN_PROGRESS", "NOT_STARTED", "PAUSED", "completed"])
def test_any_other_is_not(status: Any) -> None:
    assert not Instance.model_validate(REPLY | {"status": status}).terminal


def test_an_instance_without_a_status_has_not_reported_as_started() -> None:
    reply = {name: value for name, value in REPLY.items() if name != "status"}
    assert Instance.model_validate(reply).status is None


def test_both_spellings_of_canceled_are_one() -> None:
    assert Instance.model_validate(REPLY | {"status": "CANCELLED"}).status == "CANCELED"


def test_an_unknown_status_is_kept_as_it_is() -> None:
    assert Instance.model_validate(REPLY | {"status": "PAUSED"}).status == "PAUSED"


def test_fields_that_are_new_are_kept() -> None:
    assert Instance.model_validate(REPLY | {"colour": "red"}).model_dump()["colour"] == "red"


@pytest.mark.parametrize(
    "reply", [{}, {"id": None}, {"id": ""}, [], None, "IN_PROGRESS", REPLY | {"status": ["COMPLETED"]}]
)
def test_what_is_no_instance_is_refused(reply: Any) -> None:
    with pytest.raises(ValidationError):
        Instance.model_validate(reply)


def test_what_stands_in_logs_reports_and_links_holds_no_control_characters() -> None:
    forged = "x\n[2026-01-01] INFO - done\x1b[2K\u202e"
    instance = Instance.model_validate({"id": forged, "status": forged, "modelId": forged, "modelVersion": forged})
    assert {instance.id, instance.status, instance.model_id, instance.model_version} == {
        r"x\n[2026-01-01] INFO - done\x1b[2K\u202e"
    }
