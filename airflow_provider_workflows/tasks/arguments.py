"""Arguments as they reach an operator: given, from XCom, or as the text that a template makes of them.

What cannot be right is refused with an ``ArgumentError``, which names the argument.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.spelling import did_you_mean

#: Longer texts are read as JSON only: Python needs 100 times their size in memory, half a second for each million.
LONGEST_LITERAL = 3_000_000
#: What a text that Jinja renders holds.
TEMPLATE_MARKS = ("{{", "{%", "{#")


def is_final(value: Any) -> bool:
    """Return whether a value is the one that the task will see: no template, and nothing from XCom."""
    if isinstance(value, str):
        return not any(mark in value for mark in TEMPLATE_MARKS)
    if isinstance(value, Mapping):
        return all(is_final(one) for one in value.values())  # Airflow does not render the keys
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(is_final(one) for one in value)
    return value is None or isinstance(value, (bool, int, float, date, timedelta))


def final_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are final."""
    return {name: value for name, value in values.items() if is_final(value)}


def check_final(value: Any, argument: str, check: Callable[[Any, str], object]) -> None:
    """Check an argument by one of the functions below, if it is final."""
    if is_final(value):
        check(value, argument)


def check_one_of(value: Any, argument: str, choices: Collection[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        words = " or ".join(map(repr, choices))
        raise ArgumentError(f"{argument} must be {words}, not {value!r}{did_you_mean(str(value), choices)}")


def check_path(value: Any, argument: str) -> None:
    """Refuse what is no path, also the text of a template that rendered nothing."""
    if not isinstance(value, str) or value.strip() in {"", "None"}:
        raise ArgumentError(f"{argument} must be a path, not {value!r} (did a template render nothing?)")


def check_stuck_for(value: Any) -> None:
    """Refuse what is no ``timedelta`` of 0 or more."""
    if value is not None and not (isinstance(value, timedelta) and value >= timedelta(0)):
        raise ArgumentError(f"stuck_for must be a timedelta of 0 or more, e.g. timedelta(minutes=5), not {value!r}")


def as_ids(value: Any, argument: str) -> list[str]:
    """Return a list of ids.

    :param value: an id; a list of ids, or of rows (mappings with ``ID`` or ``id``); or either as the text that
        a template makes of it. An empty list is a list; an empty text or ``None`` is an error, because a template
        that found nothing renders so.
    """
    if isinstance(value, str) and value.strip().startswith(("[", "(", "{")):
        value = _read_text(value.strip(), argument)
    items = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(items, Iterable):
        raise ArgumentError(f"{argument} must be an id or a list of ids, not {value!r}")
    ids = [item.get("ID", item.get("id")) if isinstance(item, Mapping) else item for item in items]
    for one in ids:
        if not isinstance(one, str) or one.strip() in {"", "None"}:
            raise ArgumentError(f"{argument}: {one!r} is not an id (did a template or upstream task return nothing?)")
    return [one.strip() for one in ids]


def _read_text(text: str, argument: str) -> Any:
    """Return what a template made a text of: JSON, or else what Python shows of a list."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > LONGEST_LITERAL:
            raise ArgumentError(
                f"{argument}: a template turned a list into a text of {len(text)} characters. Pass the list itself, "
                f"e.g. {argument}=list_task.output, or end the template in '| tojson', which is read much faster"
            ) from None
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ArgumentError(f"{argument}: this text is not a list of ids: {text[:100]!r}") from None


def as_document_id(value: Any, argument: str) -> tuple[str, str, str]:
    """Return a Bitrix24 document.

    :param value: a list of module, document type and element, or one as the text that a template makes of it.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError):
            value = [value]
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ArgumentError(
            f"{argument} must be a list of module, document type and element, "
            f"e.g. ['crm', 'CCrmDocumentLead', 'LEAD_1'], not {value!r}"
        )
    return parts[0], parts[1], parts[2]


def as_positive_int(value: Any, argument: str) -> int:
    """Return a whole number of 1 or more, given as such or as a text."""
    if isinstance(value, bool) or not re.fullmatch(r"0*[1-9]\d*", str(value).strip()):
        raise ArgumentError(f"{argument} must be a whole number of 1 or more, not {value!r}")
    return int(value)


def as_bool(value: Any, argument: str) -> bool:
    """Return ``True`` or ``False``, given as such or as a text."""
    switch = {"True": True, "False": False}.get(str(value).strip())
    if switch is None:
        raise ArgumentError(f"{argument} must be True or False, not {value!r}")
    return switch
