"""Methods that list templates and tasks of workflows."""

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
    if not call.caller.admin:
        rows = [row for row in rows if php.integer(row.get("USER_ID")) == call.caller.user]
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
