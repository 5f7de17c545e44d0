"""Checking a connection by its id, whichever vendor's it is."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.rest.findings import Finding


def check_connection(conn_id: str, model_id: str | None = None) -> list[Finding]:
    """Check a connection.

    :param conn_id: its id.
    :param model_id: Domo: a workflow model whose rights are looked at too.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        where = "in the environment, the secrets backend or the database that this process can reach"
        return [
            Finding("connection", "defect", f"there is none with id {conn_id!r} {where}. Create it, or correct the id.")
        ]
    # A webhook's URL may also come as a connection of type http or https.
    hook = DomoHook(conn_id) if connection.conn_type == DomoHook.conn_type else Bitrix24Hook(conn_id)
    return hook.check(model_id, connection)
