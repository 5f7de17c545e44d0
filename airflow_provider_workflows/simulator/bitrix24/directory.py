"""Users, departments, tasks and templates."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.dates import timestamp
from airflow_provider_workflows.simulator.bitrix24.listing import Column

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
            "PARAMETERS",
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
    **dict.fromkeys(("DESCRIPTION", "TEMPLATE", "PARAMETERS", "VARIABLES", "CONSTANTS"), "text"),
}


def columns(fields: dict[str, str]) -> dict[str, Column]:
    """
    Columns of rows that are dictionaries.

    :param fields: name to kind
    """
    return {name: Column(kind, partial(_field, name, kind)) for name, kind in fields.items()}


def _field(name: str, kind: str, row: dict[str, Any]) -> Any:
    value = row.get(name)
    if value is None:
        return None
    if kind == "int":
        return php.integer(value)
    return timestamp(str(value), "+00:00", 0) if kind == "date" else str(value)


class Directory:
    """The lists; three templates, a department and the webhook's owner are there from the start."""

    def __init__(self) -> None:
        self.users: list[dict[str, Any]] = []
        self.add_user({"ID": 1, "NAME": "Ada", "LAST_NAME": "Admin", "EMAIL": "ada@portal.example"})
        self.departments: list[dict[str, Any]] = []
        self.add_department({"ID": 1, "NAME": "Portal", "UF_HEAD": "1"})
        self.event_tokens: set[str] = set()
        self.tasks: list[dict[str, Any]] = []
        self.templates: dict[int, dict[str, Any]] = {}
        #: Seconds after which workflows that are started from a template finish by themselves.
        self.lifetimes: dict[int, float] = {}
        for id, module, entity, kind in (
            (1, "crm", "CCrmDocumentLead", "LEAD"),
            (2, "lists", "Bitrix\\Lists\\BizprocDocumentLists", "iblock_1"),
            (3, "crm", "CCrmDocumentDeal", "DEAL"),
        ):
            self.add_template({"ID": id, "MODULE_ID": module, "ENTITY": entity, "DOCUMENT_TYPE": kind})

    def add_user(self, fields: dict[str, Any]) -> None:
        """
        Put a user into the portal.

        :param fields: fields of ``user.get``
        """
        id = fields.get("ID", 1 + max((php.integer(user["ID"]) for user in self.users), default=0))
        self.users.append({"ACTIVE": True, "NAME": "", "LAST_NAME": "", "EMAIL": "", **fields, "ID": str(id)})

    def user(self, id: int) -> dict[str, Any]:
        """
        Return a user; one whom nobody has put there is active and has no name.

        :param id: the user's ID
        """
        found = next((user for user in self.users if user["ID"] == str(id)), None)
        return found or {"ID": str(id), "ACTIVE": True, "NAME": "", "LAST_NAME": "", "EMAIL": ""}

    def knows(self, id: int) -> bool:
        """
        Whether there is a user.

        :param id: the user's ID
        """
        return any(user["ID"] == str(id) for user in self.users)

    def dismiss(self, ids: set[int]) -> None:
        """
        Let employees leave.

        :param ids: their IDs
        """
        for id in ids:
            if not self.knows(id):
                self.add_user({"ID": id})
            self.user(id)["ACTIVE"] = False

    def team(self, head: int) -> set[int]:
        """
        Return a user and those in the departments that the user heads.

        :param head: the user's ID
        """
        headed = {row["ID"] for row in self.departments if php.integer(row.get("UF_HEAD")) == head}
        return {head} | {
            php.integer(user["ID"])
            for user in self.users
            if headed & {str(id) for id in php.values(user.get("UF_DEPARTMENT"))}
        }

    def add_task(self, fields: dict[str, Any]) -> None:
        """
        Put a task into the portal.

        :param fields: fields of ``bizproc.task.list``
        :raises ValueError: for an unknown field
        """
        if fields.keys() - TASK_FIELDS.keys():
            raise ValueError(f"A task has no field {', '.join(sorted(fields.keys() - TASK_FIELDS.keys()))}")
        self.tasks.append({"ID": 1 + len(self.tasks), "STATUS": 0, "USER_STATUS": 0, **fields})

    def task(self, id: int) -> dict[str, Any] | None:
        """
        Return a task, if there is one.

        :param id: its ID
        """
        return next((task for task in self.tasks if php.integer(task.get("ID")) == id), None)

    def add_department(self, fields: dict[str, Any]) -> None:
        """
        Put a department into the portal.

        :param fields: fields of ``department.get``
        """
        id = str(fields.get("ID", 1 + max((php.integer(row["ID"]) for row in self.departments), default=0)))
        self.departments.append({"NAME": f"Department {id}", "SORT": 500, **fields, "ID": id})

    def add_template(self, fields: dict[str, Any]) -> None:
        """
        Put a template into the portal.

        :param fields: fields of ``bizproc.workflow.template.list``; without ENTITY it suits any document. And
            ``ends_after``: seconds after which workflows that are started from it finish by themselves
        """
        id = int(fields.get("ID", 1 + max(self.templates, default=0)))
        if "ends_after" in fields:
            self.lifetimes[id] = float(fields["ends_after"])
            fields = {name: value for name, value in fields.items() if name != "ends_after"}
        self.templates[id] = {"NAME": f"Template {id}", "AUTO_EXECUTE": 0, "USER_ID": 1, **fields, "ID": id}

    def ensure_template(self, id: int) -> None:
        """
        Make sure that there is a template for a workflow.

        :param id: the template's ID
        """
        if id not in self.templates:
            self.add_template({"ID": id})
