"""FILTER and ORDER as the portal reads them: what it does not understand, it drops without a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.dates import timestamp
from airflow_provider_workflows.simulator.settings import Settings

PAGE = 50
Row = Any
Condition = tuple[str, str, Any]  # column, operator, value: hashable, so that views can be cached

_CLASSIC = re.compile(r"(!|<=|<|>=|>|)([A-Z_]+)")
_LENIENT = re.compile(r"(!=|=|!|<=|<|>=|>|)([A-Za-z_]+)")


@dataclass(frozen=True)
class Column:
    """
    A field of a list.

    :param kind: ``text``, ``int`` or ``date`` (seconds since 1970)
    :param get: reads the field of a row
    """

    kind: str
    get: Callable[[Row], Any]


def conditions(given: Any, columns: dict[str, Column], settings: Settings, now: float) -> tuple[Condition, ...]:
    """
    Return the conditions of a FILTER that the portal understands.

    :param given: the FILTER parameter
    :param columns: the fields there are
    :param settings: which dialect is spoken
    :param now: the portal's time
    """
    dialect = _CLASSIC if settings.filter_dialect == "classic" else _LENIENT
    understood: list[Condition] = []
    for key, value in php.entries(given):
        match = dialect.fullmatch(key)
        name = match[2].upper() if match else ""
        if not match or name not in columns:
            continue
        operator = {"=": "", "!=": "!"}.get(match[1], match[1])
        if isinstance(value, (list, dict)):
            if settings.filter_lists == "ignored" or operator not in ("", "!"):
                continue
            wanted = frozenset(_value(columns[name].kind, item, settings, now) for item in php.values(value))
            understood.append((name, operator + "in", wanted))
            continue
        wanted = _value(columns[name].kind, value, settings, now)
        if wanted is _UNREADABLE:
            if settings.unreadable_dates == "dropped":
                continue
            wanted, operator = frozenset(), "in"
        understood.append((name, operator, wanted))
    return tuple(understood)


_UNREADABLE = object()


def _value(kind: str, value: Any, settings: Settings, now: float) -> Any:
    if value is None or value == "":
        return None
    if kind == "int":
        return php.integer(value)
    if kind == "date":
        seconds = timestamp(str(value), settings.server_offset, now)
        return _UNREADABLE if seconds is None else seconds
    return str(value)


def matching(rows: list[Row], wanted: tuple[Condition, ...], columns: dict[str, Column]) -> list[Row]:
    """
    Return the rows that meet all conditions.

    :param rows: the rows
    :param wanted: the conditions
    :param columns: the fields there are
    """
    for name, operator, value in wanted:
        get = columns[name].get
        test = _TESTS[operator]
        rows = [row for row in rows if test(get(row), value)]
    return rows


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda field, value: field == value,
    "!": lambda field, value: field != value,
    "in": lambda field, value: field in value,
    "!in": lambda field, value: field not in value,
    "<": lambda field, value: field is not None and value is not None and field < value,
    "<=": lambda field, value: field is not None and value is not None and field <= value,
    # an empty lower bound bounds nothing, as it would in SQL
    ">": lambda field, value: field is not None and (value is None or field > value),
    ">=": lambda field, value: field is not None and (value is None or field >= value),
}


def ordering(given: Any, columns: dict[str, Column], default: tuple[str, bool]) -> tuple[tuple[str, bool], ...]:
    """
    Return the fields to sort by, each with whether it descends.

    :param given: the ORDER parameter
    :param columns: the fields there are
    :param default: used if nothing in ORDER is understood
    """
    # Whatever is not said to descend, ascends.
    understood = tuple(
        (key.upper(), str(value).lower() == "desc") for key, value in php.entries(given) if key.upper() in columns
    )
    return understood or (default,)


def ordered(rows: list[Row], by: tuple[tuple[str, bool], ...], columns: dict[str, Column]) -> list[Row]:
    """
    Return the rows sorted, the empty fields first.

    :param rows: the rows
    :param by: the fields and whether each descends
    :param columns: the fields there are
    """
    for name, descending in reversed(by):
        rows = sorted(rows, key=_sort_key(columns[name]), reverse=descending)
    return rows


def _sort_key(column: Column) -> Callable[[Row], Any]:
    empty: Any = "" if column.kind == "text" else float("-inf")
    get = column.get

    def key(row: Row) -> Any:
        value = get(row)
        return empty if value is None else value

    return key


def selection(given: Any, columns: dict[str, Column], default: tuple[str, ...]) -> list[str]:
    """
    Return the fields to show.

    :param given: the SELECT parameter
    :param columns: the fields there are
    :param default: used if nothing in SELECT is understood
    """
    names = [str(name).upper() for _, name in php.entries(given)]
    return [name for name in dict.fromkeys(names) if name in columns] or list(default)
