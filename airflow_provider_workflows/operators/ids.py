"""Ids as they reach an operator: given, from XCom, or out of a template."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any


def as_ids(value: Any, argument: str) -> list[str]:
    """Give a list of ids.

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
