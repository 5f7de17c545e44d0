"""Methods that only show something: templates, tasks, users, and the caller."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24 import directory, listing
from airflow_provider_workflows.simulator.bitrix24.call import Answer, Call

TASK_DEFAULTS = ("ENTITY", "DOCUMENT_ID", "ID", "WORKFLOW_ID", "DOCUMENT_NAME", "NAME", "DOCUMENT_URL")


def template_list(call: Call) -> Answer:
    """List templates."""
    rows = list(call.world.directory.templates.values())
    return _dictionaries(call, rows, directory.TEMPLATE_FIELDS, ("ID",), ("ID", False))


def task_list(call: Call) -> Answer:
    """List tasks of workflows; who is no administrator sees only their own."""
    world = call.world
    rows = world.directory.tasks
    if not world.settings.is_admin:
        rows = [row for row in rows if php.integer(row.get("USER_ID")) == call.user]
    return _dictionaries(call, rows, directory.TASK_FIELDS, TASK_DEFAULTS, ("ID", True))


def _dictionaries(
    call: Call,
    rows: list[dict[str, Any]],
    fields: dict[str, str],
    default: tuple[str, ...],
    by: tuple[str, bool],
) -> Answer:
    settings = call.world.settings
    columns = directory.columns(fields)
    wanted = listing.conditions(call.upper("FILTER"), columns, settings)
    names = listing.selection(call.upper("SELECT"), columns, default, settings)
    rows = listing.matching(rows, wanted, columns)
    rows = listing.ordered(rows, listing.ordering(call.upper("ORDER"), columns, by), columns)
    return call.page(rows, lambda row: {name: _as_text(row.get(name)) for name in names})


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def users(call: Call) -> Answer:
    """List users, filtered by top-level parameters or FILTER."""
    wanted = {**call.params, **dict(php.entries(call.upper("FILTER")))}
    conditions = {key.upper(): value for key, value in wanted.items() if key.upper() in directory.USER_FIELDS}

    def meets(row: dict[str, Any]) -> bool:
        for name, value in conditions.items():
            if name == "ACTIVE":
                if bool(row.get("ACTIVE", True)) != (value not in ("N", "false") and php.truth(value)):
                    return False
            elif str(row.get(name)) not in [str(item) for item in php.values(value)]:
                return False
        return True

    rows = [row for row in call.world.directory.users if meets(row)]
    return call.page(rows, lambda row: {"ACTIVE": True, **row, "ID": str(row.get("ID"))})


def profile(call: Call) -> Answer:
    """Who calls."""
    admin = call.world.settings.is_admin
    return Answer({"ID": str(call.user), "ADMIN": admin, "NAME": "Ada", "LAST_NAME": "Admin"})


def scope(call: Call) -> Answer:
    """List what the caller may use."""
    return Answer(list(call.world.settings.scopes))


def server_time(call: Call) -> Answer:
    """Tell the time by the portal's clock."""
    return Answer(listing.iso(call.world.portal_time(), call.world.settings.server_offset))
