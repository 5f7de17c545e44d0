"""The habits of PHP that a Bitrix24 portal shows on the wire."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import unquote_plus

from airflow_provider_workflows.simulator import strict_json

#: Levels to which PHP reads the names of form fields.
FORM_DEPTH = 64
LARGEST_INTEGER = 2**63 - 1
_NAME = re.compile(r"^([^\[]+)((?:\[[^\]]*\])*)")
_INTEGER = re.compile(r"\s*[+-]?[0-9]+")
_REFERENCE = re.compile(r"\$(result|error|total|next)((?:\[[^\]]+\])+)")


def decode(text: bytes) -> Any:
    """
    Read JSON as ``json_decode`` does: what it cannot read is None.

    :param text: the JSON
    """
    try:
        return strict_json.loads(text)
    except ValueError:
        return None


class _Array(dict[str, Any]):
    """An array that is filled from a form, and knows its next free number."""

    next = 0

    def put(self, key: str, value: Any) -> None:
        key = key or str(self.next)
        if key.isascii() and key.isdecimal() and len(key) < 19:
            self.next = max(self.next, int(key) + 1)
        self[key] = value


def parse(text: str) -> dict[str, Any]:
    """
    Read a query string, ``a[b][]=c`` becoming nested arrays.

    :param text: a query string or form body
    """
    pairs = [part.partition("=") for part in text.split("&") if part]
    return nested((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs)


def nested(pairs: Any) -> dict[str, Any]:
    """
    Nest the names of form fields.

    :param pairs: names like ``a[b][]`` and their values
    """
    result = _Array()
    for name, value in pairs:
        match = _NAME.match(name)
        # PHP makes variable names of the outermost keys
        keys = [re.sub(r"[. ]", "_", match[1]), *re.findall(r"\[([^\]]*)\]", match[2])] if match else []
        if not keys or len(keys) > FORM_DEPTH:
            continue
        place = result
        for key in keys[:-1]:
            inner = place.get(key) if key else None
            if not isinstance(inner, _Array):
                inner = _Array()
                place.put(key, inner)
            place = inner
        place.put(keys[-1], value)
    return result


def entries(value: Any) -> list[tuple[str, Any]]:
    """
    Return the keys and values of an array, which JSON may give as an object or as a list.

    :param value: anything; what is no array has no entries
    """
    if isinstance(value, dict):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list):
        return [(str(index), item) for index, item in enumerate(value)]
    return []


def values(value: Any) -> list[Any]:
    """
    Return the values of an array; a scalar counts as an array of one, as a cast to array makes it.

    :param value: anything
    """
    if isinstance(value, (dict, list)):
        return [item for _, item in entries(value)]
    return [] if value is None else [value]


def array(mapping: dict[str, Any]) -> dict[str, Any] | list[Any]:
    """
    Return an array as ``json_encode`` writes it: keys 0, 1, 2... make a list, and so does no key at all.

    :param mapping: the array
    """
    if list(mapping) == [str(index) for index in range(len(mapping))]:
        return list(mapping.values())
    return mapping


def truth(value: Any) -> bool:
    """
    Return a cast to bool; the text ``false`` is true.

    :param value: anything
    """
    return value not in (None, False, 0, 0.0, "", "0", [], {})


def integer(value: Any) -> int:
    """
    Return a cast to int; text counts as far as it begins with digits.

    :param value: anything
    """
    number: int | float
    if isinstance(value, int):  # a bool is one, too
        number = value
    elif isinstance(value, float):
        number = value if math.isfinite(value) else 0
    else:
        match = _INTEGER.match(value) if isinstance(value, str) else None
        # As a float, for as many digits as there may be.
        number = float(match[0]) if match and len(match[0]) > 18 else int(match[0]) if match else 0
    return int(max(-LARGEST_INTEGER - 1, min(number, LARGEST_INTEGER)))


def resolve(value: Any, results: dict[str, Any]) -> Any:
    """
    Put what came of earlier commands in the place of ``$result[key][field]``, and likewise for error, total and next.

    :param value: parameters of a command
    :param results: what came of the commands so far: kind, then key
    """
    if isinstance(value, dict):
        return {key: resolve(item, results) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole, results)
    return _REFERENCE.sub(lambda match: str(_look_up(match, results)), value)


def _look_up(match: re.Match[str], results: dict[str, Any]) -> Any:
    path, found = match[2], results[match[1]]
    for key in re.findall(r"\[([^\]]+)\]", path):
        found = dict(entries(found)).get(key, "")
    return found
