"""Bitrix24's REST API for workflows and flows, usable without Airflow.

Most functions here return plans, procedures made of the API's calls, and a client runs a plan::

    portal = Portal.from_webhook_url("https://acme.bitrix24.com/rest/1/<code>/")
    with Bitrix24Client(portal) as client:
        old = client.run(list_workflows(WorkflowFilter.parse({"<STARTED": "2026-01-01"})))
        report = client.run(end_workflows([workflow.id for workflow in old], terminate_workflow))
"""

from airflow_provider_workflows.bitrix24.calls import kill_workflow, terminate_workflow
from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.flow_changes import parse_changes
from airflow_provider_workflows.bitrix24.flows import change_flow, read_flow, switch_flow
from airflow_provider_workflows.bitrix24.listing import list_workflows, running_workflows, watch_workflows
from airflow_provider_workflows.bitrix24.portal import Portal

__all__ = [
    "Bitrix24Client",
    "Portal",
    "WorkflowFilter",
    "change_flow",
    "end_workflows",
    "kill_workflow",
    "list_workflows",
    "parse_changes",
    "read_flow",
    "running_workflows",
    "switch_flow",
    "terminate_workflow",
    "watch_workflows",
]
