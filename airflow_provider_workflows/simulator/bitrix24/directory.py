"""Users, tasks and templates: lists that the portal only shows."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow_provider_workflows.simulator.bitrix24.listing import Column

USER_FIELDS = ("ID", "ACTIVE", "NAME", "LAST_NAME", "EMAIL", "WORK_POSITION")
TASK_FIELDS = {
    **dict.fromkeys(
        (
            "ENTITY",
            "DOCUMENT_ID",
            "WORKFLOW_ID",
            "DOCUMENT_NAME",
            "NAME",
            "DOCUMENT_URL",
            "DESCRIPTION",
            "WORKFLOW_TEMPLATE_NAME",
            "WORKFLOW_STATE",
            "MODULE_ID",
            "ACTIVITY",
            "ACTIVITY_NAME",
        ),
        "text",
    ),
    **dict.fromkeys(
        ("ID", "WORKFLOW_STARTED_BY", "WORKFLOW_TEMPLATE_ID", "STATUS", "USER_ID", "USER_STATUS"),
        "int",
    ),
    **dict.fromkeys(("MODIFIED", "WORKFLOW_STARTED", "OVERDUE_DATE"), "date"),
}
TEMPLATE_FIELDS = {
    "ID": "int",
    "MODULE_ID": "text",
    "ENTITY": "text",
    "DOCUMENT_TYPE": "text",
    "AUTO_EXECUTE": "int",
    "NAME": "text",
    "MODIFIED": "date",
    "IS_MODIFIED": "text",
    "USER_ID": "int",
    "SYSTEM_CODE": "text",
}


def columns(fields: dict[str, str]) -> dict[str, Column]:
    """
    Columns of rows that are dictionaries.

    :param fields: name to kind
    """
    return {name: Column(kind, partial(_field, name)) for name, kind in fields.items()}


def _field(name: str, row: dict[str, Any]) -> Any:
    return row.get(name)


class Directory:
    """The lists; three templates and the webhook's owner are there from the start."""

    def __init__(self) -> None:
        self.users: list[dict[str, Any]] = [
            {"ID": "1", "ACTIVE": True, "NAME": "Ada", "LAST_NAME": "Admin", "EMAIL": "ada@portal.example"}
        ]
        self.tasks: list[dict[str, Any]] = []
        self.templates: dict[int, dict[str, Any]] = {}
        for id, module, entity, kind in (
            (1, "crm", "CCrmDocumentLead", "LEAD"),
            (2, "lists", "Bitrix\\Lists\\BizprocDocumentLists", "iblock_1"),
            (3, "crm", "CCrmDocumentDeal", "DEAL"),
        ):
            self.add_template({"ID": id, "MODULE_ID": module, "ENTITY": entity, "DOCUMENT_TYPE": kind})

    def add_template(self, fields: dict[str, Any]) -> None:
        """
        Put a template into the portal.

        :param fields: fields of ``bizproc.workflow.template.list``; without ENTITY it suits any document
        """
        id = int(fields.get("ID", 1 + max(self.templates, default=0)))
        self.templates[id] = {"NAME": f"Template {id}", "AUTO_EXECUTE": 0, "USER_ID": 1, **fields, "ID": id}

    def ensure_template(self, id: int) -> None:
        """
        Make sure that there is a template for a workflow.

        :param id: the template's ID
        """
        if id not in self.templates:
            self.add_template({"ID": id})
