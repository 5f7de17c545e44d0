"""What the portal returns, read and given on as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_workflows.bitrix24.models import Flow, Workflow, WorkflowFields
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from airflow_provider_workflows.rest.plans import read_list

# The sample row of the API page.
ROW = {
    "ID": "66e412fdc9bd44.36306599",
    "STARTED": "2024-09-13T10:25:01+00:00",
    "MODULE_ID": "crm",
    "ENTITY": "CCrmDocumentLead",
    "DOCUMENT_ID": "LEAD_1",
    "OWNED_UNTIL": None,
    "TEMPLATE_ID": "1",
    "STARTED_BY": "0",
}


def workflow_of(row: Any) -> Workflow:
    (workflow,) = map(Workflow, read_list(WorkflowFields, [row], "list"))
    return workflow


class TestWorkflow:
    def test_numbers_and_dates_are_read_from_texts(self) -> None:
        workflow = workflow_of(ROW)
        assert (workflow.template_id, workflow.started_by) == (1, 0)
        assert workflow.started == datetime(2024, 9, 13, 10, 25, 1, tzinfo=UTC)
        assert workflow.owned_until is None

    def test_its_row_is_json_under_the_portals_names(self) -> None:
        row = workflow_of(ROW).row()
        assert json.loads(json.dumps(row)) == row
        assert row["ID"] == "66e412fdc9bd44.36306599"
        assert workflow_of(row).row() == row
        assert (row["TEMPLATE_ID"], row["STARTED_BY"], row["MODIFIED"]) == (1, 0, None)

    @pytest.mark.parametrize("text", ["13.09.2024 10:25:01", "yesterday"])
    def test_a_date_of_an_older_portal_is_kept_as_it_is(self, text: str) -> None:
        workflow = workflow_of(ROW | {"STARTED": text})
        assert workflow.started == text
        assert json.loads(json.dumps(workflow.row()))["STARTED"] == text

    @pytest.mark.parametrize("field", ["STARTED", "OWNED_UNTIL", "TEMPLATE_ID", "STARTED_BY"])
    def test_an_empty_text_is_no_value(self, field: str) -> None:
        assert getattr(workflow_of(ROW | {field: ""}), field.lower()) is None

    def test_fields_that_are_new_are_kept(self) -> None:
        assert workflow_of(ROW | {"PRIORITY": "high"}).row()["PRIORITY"] == "high"

    @pytest.mark.parametrize("row", [{}, ROW | {"ID": ""}, ROW | {"ID": None}, ROW | {"TEMPLATE_ID": "one"}, [], None])
    def test_what_is_no_row_is_refused(self, row: Any) -> None:
        with pytest.raises(UnreadableReplyError):
            workflow_of(row)


class TestFlow:
    @pytest.mark.parametrize(
        "people",
        [
            [["user", "3"], ["department", "17:F"]],
            [["user", 3], ["department", "17:F"]],
            {"user": 3, "department": "17:F"},
            [{"user": "3"}, {"department": "17:F"}],
            (("user", 3), ("department", "17:F")),
        ],
    )
    def test_people_are_read_in_every_shape_that_the_api_pages_show(self, people: Any) -> None:
        flow = Flow.model_validate({"id": 517, "active": True, "responsibleList": people})
        assert flow.responsible_list == [["user", "3"], ["department", "17:F"]]

    @pytest.mark.parametrize("people", ["user", [["user"]], [["user", "3", "4"]], [3], {"user": [3, 4]}])
    def test_people_in_no_known_shape_are_refused(self, people: Any) -> None:
        with pytest.raises(ValidationError):
            Flow.model_validate({"id": 517, "active": True, "responsibleList": people})

    @pytest.mark.parametrize("missing", ["id", "active"])
    def test_a_flow_without_its_id_or_state_is_refused(self, missing: str) -> None:
        answer: dict[str, Any] = {"id": 517, "active": False}
        del answer[missing]
        with pytest.raises(ValidationError, match=missing):
            Flow.model_validate(answer)

    def test_a_state_that_is_no_bool_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="active"):
            Flow.model_validate({"id": 517, "active": None})

    def test_fields_that_are_new_are_kept(self) -> None:
        flow = Flow.model_validate({"id": 517, "active": True, "colour": "red"})
        assert flow.model_dump(by_alias=True)["colour"] == "red"
