"""Lists of rows that are dictionaries, templates among them."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows.simulator.bitrix24 import directory, listing
from airflow_provider_workflows.simulator.bitrix24.call import Answer, Call


def template_list(call: Call) -> Answer:
    """List templates."""
    rows = list(call.world.directory.templates.values())
    return dictionaries(call, rows, directory.TEMPLATE_FIELDS, ("ID",), ("ID", False))


def dictionaries(
    call: Call,
    rows: list[dict[str, Any]],
    fields: dict[str, str],
    default: tuple[str, ...],
    by: tuple[str, bool],
) -> Answer:
    """
    Return a page of rows.

    :param call: with FILTER, ORDER, SELECT and start
    :param rows: the rows
    :param fields: name to kind
    :param default: the fields to show if none is selected
    :param by: the field to sort by if none is said, and whether it descends
    """
    settings = call.world.settings
    columns = directory.columns(fields)
    wanted = listing.conditions(call.upper("FILTER"), columns, settings, call.world.portal_time())
    names = listing.selection(call.upper("SELECT"), columns, default)
    rows = listing.matching(rows, wanted, columns)
    rows = listing.ordered(rows, listing.ordering(call.upper("ORDER"), columns, by), columns)
    return call.page(rows, lambda row: {name: _as_text(row.get(name)) for name in names})


def _as_text(value: Any) -> Any:
    return value if value is None or isinstance(value, dict | list) else str(value)
