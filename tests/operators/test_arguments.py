"""What is wrong in a Dag file is an import error, as far as it can be known then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpEmployeeWorkflowsOperator,
    CleanUpWorkflowsOperator,
    FlowActivateOperator,
    FlowUpdateOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    StartWorkflowOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor

START = {"template_id": 1, "document_id": ["crm", "CCrmDocumentLead", "LEAD_1"]}
DOMO_START = {"model_id": "a8afdc89", "version": "1.0.0", "message_name": "Start Orders"}

WRONG: tuple[tuple[type[BaseOperator], dict[str, Any], str], ...] = (
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "action": "delete"}, "action must be 'terminate' or 'kill'"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "action": "kil"}, "did you mean kill?"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "action": "kill", "status": "x"}, "status goes with"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "max_workflows": 0}, "max_workflows must be"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "dry_run": "yes"}, "dry_run must be True or False"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "stuck_for": 300}, "stuck_for must be a timedelta"),
    (CleanUpWorkflowsOperator, {}, "filters is empty"),
    (CleanUpWorkflowsOperator, {"filters": {}}, "filters is empty"),
    (CleanUpWorkflowsOperator, {"filters": {}, "stuck_for": timedelta(hours=1)}, "filters is empty"),
    (CleanUpWorkflowsOperator, {"filters": {"ID": "a"}, "record_path": ""}, "record_path must be a path"),
    (CleanUpWorkflowsOperator, {"filters": {"!ID": "{{ x }}"}, "action": "kill"}, "filters must name"),
    (CleanUpEmployeeWorkflowsOperator, {}, "give either user_id, or name and last_name"),
    (CleanUpEmployeeWorkflowsOperator, {"user_id": "Bob"}, "user_id must be a whole number"),
    (CleanUpEmployeeWorkflowsOperator, {"user_id": 3, "action": "delete"}, "action must be"),
    (ListWorkflowsOperator, {"filters": {"<STARTD": "2026-01-01"}}, "did you mean STARTED?"),
    (ListWorkflowsOperator, {"filters": {"<STARTD": "{{ ds }}"}}, "did you mean STARTED?"),
    (ListWorkflowsOperator, {"filters": {"%STARTED": "{{ ds }}"}}, "unknown field '%STARTED'"),
    (ListWorkflowsOperator, {"filters": {"STARTED": "today", "ID": "{{ x }}"}}, "must be an ISO 8601 date"),
    (ListWorkflowsOperator, {"filters": ["ID"]}, "filters must be a mapping"),
    (ListWorkflowsOperator, {"filters": {}}, "filters is empty"),
    (
        ListWorkflowsOperator,
        {"filters": {"<OWNED_UNTIL": "2026-01-01"}, "stuck_for": timedelta(hours=1)},
        "'<OWNED_UNTIL' is given twice",
    ),
    (ListWorkflowsOperator, {"limit": 0}, "limit must be a whole number of 1 or more"),
    (ListWorkflowsOperator, {"stuck_for": timedelta(-1)}, "stuck_for must be a timedelta of 0 or more"),
    (TerminateWorkflowOperator, {"workflow_id": "not an id"}, "is not a workflow id"),
    (TerminateWorkflowOperator, {"workflow_id": None}, "workflow_id must be an id or a list"),
    (
        KillWorkflowOperator,
        {"workflow_id": "a" * 14 + ".12345678", "record_path": "None"},
        "record_path must be a path",
    ),
    (KillWorkflowOperator, {"workflow_id": [""]}, "workflow_id: '' is not an id"),
    (FlowActivateOperator, {"flow_id": "sales"}, "flow_id must be a whole number"),
    (FlowActivateOperator, {"flow_id": 1, "active": "off"}, "active must be True or False"),
    (FlowUpdateOperator, {"flow_id": 1, "changes": {"nmae": "{{ x }}"}}, "did you mean name?"),
    (FlowUpdateOperator, {"flow_id": 1, "changes": {"name": "{{ x }}", "ownerId": "Bob"}}, "changes: ownerId"),
    (FlowUpdateOperator, {"flow_id": 1, "changes": {}}, "one field at least"),
    (StartWorkflowOperator, START | {"template_id": "x"}, "template_id must be a whole number"),
    (StartWorkflowOperator, START | {"document_id": "LEAD_1"}, "document_id must be a list"),
    (StartWorkflowOperator, START | {"parameters": "a=1"}, "parameters must be a mapping"),
    (StartWorkflowOperator, START | {"poll_interval": 0}, "poll_interval must be more than 0"),
    (StartWorkflowOperator, START | {"wait_timeout": -1}, "wait_timeout must be a number of seconds"),
    (DomoStartOperator, DOMO_START | {"version": "latest"}, "version must be a deployed version"),
    (DomoStartOperator, DOMO_START | {"model_id": "../x"}, "model_id: '../x' is not"),
    (DomoStartOperator, DOMO_START | {"message_name": " "}, "message_name must be"),
    (DomoStartOperator, DOMO_START | {"data": [1]}, "data must be a mapping"),
    (DomoStartOperator, DOMO_START | {"poll_interval": "5"}, "poll_interval must be a number of seconds"),
    (DomoCancelOperator, {"instance_id": "a", "record_path": " "}, "record_path must be a path"),
    (DomoCancelOperator, {"instance_id": "../x"}, "is not an instance id"),
    (DomoCancelOperator, {"instance_id": "a", "poll_interval": 0}, "poll_interval must be more than 0"),
    (DomoCancelOperator, {"instance_id": "a", "wait_timeout": None}, "wait_timeout must be a number of seconds"),
    (RunningWorkflowsSensor, {"min_count": 5, "max_count": 1}, "max_count (1) must be min_count (5) or more"),
    (RunningWorkflowsSensor, {"filters": {"STARTD": "{{ ds }}"}}, "did you mean STARTED?"),
    (RunningWorkflowsSensor, {"deferrable": True, "poke_interval": 0}, "poke_interval must be more than 0"),
    (DomoWorkflowSensor, {"instance_id": ["a", "b"]}, "instance_id must be one id, not 2"),
    (DomoWorkflowSensor, {"instance_id": "a", "wanted_statuses": ["COMPLETE"]}, "did you mean COMPLETED?"),
    (DomoWorkflowSensor, {"instance_id": "a", "wanted_statuses": "COMPLETED"}, "wanted_statuses must be a list"),
)


@pytest.mark.parametrize(("operator", "arguments", "told"), WRONG)
def test_what_cannot_be_right_is_refused_when_the_task_is_made(
    operator: type[BaseOperator], arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ArgumentError) as refused:
        operator(task_id="task", **arguments)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (CleanUpWorkflowsOperator, {"filters": {"<STARTED": "{{ ds }}"}, "action": "kill"}),
        (CleanUpWorkflowsOperator, {"filters": "{{ params.filters }}", "max_workflows": "{{ params.most }}"}),
        (CleanUpEmployeeWorkflowsOperator, {"user_id": "{{ x }}", "name": "{{ y }}", "last_name": "{{ z }}"}),
        (FlowUpdateOperator, {"flow_id": "{{ x }}", "changes": {"ownerId": "{% if x %}1{% endif %}"}}),
        (TerminateWorkflowOperator, {"workflow_id": ["{{ x }}", "66e412fdc9bd44.36306599"]}),
        (DomoWorkflowSensor, {"instance_id": "{{ x }}"}),
    ],
)
def test_a_template_is_checked_when_the_task_runs(operator: type[BaseOperator], arguments: dict[str, Any]) -> None:
    operator(task_id="task", **arguments)


def test_what_comes_from_another_task_is_checked_when_the_task_runs() -> None:
    with DAG("chained", schedule=None, start_date=datetime(2026, 1, 1)):
        first: Any = ListWorkflowsOperator(task_id="first")
        KillWorkflowOperator(task_id="end", workflow_id=first.output)
        KillWorkflowOperator(task_id="one", workflow_id=[first.output])
        FlowUpdateOperator(task_id="update", flow_id=first.output["flow"], changes={"name": first.output["name"]})
        CleanUpWorkflowsOperator(task_id="clean_up", filters=first.output, max_workflows=first.output["most"])


def test_a_map_index_is_checked_in_its_task_where_it_fails_for_good() -> None:
    with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
        mapped: Any = ListWorkflowsOperator.partial(task_id="task").expand(filters=[{"STARTD": "x"}])
    mapped.unmap({"filters": {"STARTD": "x"}})
