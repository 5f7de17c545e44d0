"""Arguments as they reach an operator: given, from XCom, or as the text that a template makes of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any


def as_ids(value: Any, argument: str) -> list[str]:
    """Return a list of ids.

    :param value: an id; a list of ids, or of rows (mappings with ``ID`` or ``id``); or either as the text that
        a template makes of it. An empty list is a list; an empty text or ``None`` is an error, because a template
        that found nothing renders so.
    :param argument: the operator's argument, for the error.
    :raises ValueError: if it is none of these.
    """
    if isinstance(value, str) and value.strip().startswith(("[", "(", "{")):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError):
            raise ValueError(f"{argument}: this text is not a list of ids: {value[:100]!r}") from None
    items = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(items, Iterable):
        raise ValueError(f"{argument} must be an id or a list of ids, not {value!r}")
    ids = [item.get("ID", item.get("id")) if isinstance(item, Mapping) else item for item in items]
    for one in ids:
        if not isinstance(one, str) or one.strip() in {"", "None"}:
            raise ValueError(f"{argument}: {one!r} is not an id (did a template or an upstream task give nothing?)")
    return [one.strip() for one in ids]


def as_document_id(value: Any, argument: str) -> tuple[str, str, str]:
    """Return a Bitrix24 document.

    :param value: a list of module, document type and element, or one as the text that a template makes of it.
    :param argument: the operator's argument, for the error.
    :raises ValueError: if it is none.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError):
            value = [value]
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ValueError(
            f"{argument} must be a list of module, document type and element, "
            f"e.g. ['crm', 'CCrmDocumentLead', 'LEAD_1'], not {value!r}"
        )
    return parts[0], parts[1], parts[2]


def as_positive_int(value: Any, argument: str) -> int:
    """Return a whole number of 1 or more.

    :param value: a number, or one as a text.
    :param argument: the operator's argument, for the error.
    :raises ValueError: if it is none.
    """
    if isinstance(value, bool) or not re.fullmatch(r"0*[1-9]\d*", str(value).strip()):
        raise ValueError(f"{argument} must be a whole number of 1 or more, not {value!r}")
    return int(value)


def as_bool(value: Any, argument: str) -> bool:
    """Return a truth value.

    :param value: ``True`` or ``False``, or one as a text.
    :param argument: the operator's argument, for the error.
    :raises ValueError: if it is neither.
    """
    switch = {"True": True, "False": False}.get(str(value).strip())
    if switch is None:
        raise ValueError(f"{argument} must be True or False, not {value!r}")
    return switch
