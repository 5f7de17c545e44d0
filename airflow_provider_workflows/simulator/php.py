"""The habits of PHP that a Bitrix24 portal shows on the wire."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

_NAME = re.compile(r"^([^\[]+)((?:\[[^\]]*\])*)")
_REFERENCE = re.compile(r"\$result((?:\[[^\]]+\])+)")


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
    result: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.match(name)
        if not match:
            continue
        # PHP makes variable names of the outermost keys
        keys = [re.sub(r"[. ]", "_", match[1]), *re.findall(r"\[([^\]]*)\]", match[2])]
        place = result
        for key in keys[:-1]:
            place = _step(place, key)
        place[keys[-1] or _next_index(place)] = value
    return result


def _step(place: dict[str, Any], key: str) -> dict[str, Any]:
    key = key or _next_index(place)
    if not isinstance(place.get(key), dict):
        place[key] = {}
    inner: dict[str, Any] = place[key]
    return inner


def _next_index(place: dict[str, Any]) -> str:
    return str(1 + max((int(key) for key in place if key.isdigit()), default=-1))


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
    if isinstance(value, (bool, int, float)):
        return int(value)
    match = re.match(r"\s*[+-]?\d+", value) if isinstance(value, str) else None
    return int(match[0]) if match else 0


def resolve(value: Any, results: dict[str, Any]) -> Any:
    """
    Put the results of earlier commands in the place of ``$result[key][field]``.

    :param value: parameters of a command
    :param results: the results so far by command
    """
    if isinstance(value, dict):
        return {key: resolve(item, results) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole[1], results)
    return _REFERENCE.sub(lambda match: str(_look_up(match[1], results)), value)


def _look_up(path: str, results: dict[str, Any]) -> Any:
    found: Any = results
    for key in re.findall(r"\[([^\]]+)\]", path):
        found = dict(entries(found)).get(key, "")
    return found
