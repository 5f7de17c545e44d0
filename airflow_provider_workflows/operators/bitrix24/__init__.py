"""Operators for Bitrix24's workflows and flows."""

from airflow_provider_workflows.operators.bitrix24.clean_up import (
    CleanUpEmployeeWorkflowsOperator,
    CleanUpWorkflowsOperator,
)
from airflow_provider_workflows.operators.bitrix24.ending import KillWorkflowOperator, TerminateWorkflowOperator
from airflow_provider_workflows.operators.bitrix24.flows import FlowActivateOperator, FlowUpdateOperator
from airflow_provider_workflows.operators.bitrix24.listing import ListWorkflowsOperator
from airflow_provider_workflows.operators.bitrix24.starting import StartWorkflowOperator

__all__ = [
    "CleanUpEmployeeWorkflowsOperator",
    "CleanUpWorkflowsOperator",
    "FlowActivateOperator",
    "FlowUpdateOperator",
    "KillWorkflowOperator",
    "ListWorkflowsOperator",
    "StartWorkflowOperator",
    "TerminateWorkflowOperator",
]
