"""Operators for Domo's workflows."""

from airflow_provider_workflows.operators.domo.cancelling import DomoCancelOperator
from airflow_provider_workflows.operators.domo.starting import DomoStartOperator

__all__ = ["DomoCancelOperator", "DomoStartOperator"]
