"""user.* and department.get: who is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.call import Answer, Call

FIELDS = {"ID", "XML_ID", "ACTIVE", "NAME", "LAST_NAME", "SECOND_NAME", "EMAIL", "WORK_POSITION", "UF_DEPARTMENT"}
DEPARTMENT_FIELDS = {"ID", "NAME", "SORT", "PARENT", "UF_HEAD"}
#: What the smallest of the three scopes hides.
CONTACTS = ("EMAIL", "LAST_LOGIN", "PERSONAL_PHONE", "PERSONAL_MOBILE", "WORK_PHONE")
_KEY = re.compile(r"(!=%|!%=|!%|=%|%=|%|!@|@|!=|!|>=|>|<=|<|=|)([A-Z_0-9]+)")


def users(call: Call) -> Answer:
    """List users, filtered by top-level parameters or FILTER."""
    given = {**call.params, **dict(php.entries(call.upper("FILTER")))}
    rows = _ordered(call, _matching(call.world.directory.users, given, FIELDS))
    return call.page(rows, lambda row: _shown(call, row))


def search(call: Call) -> Answer:
    """List users by a part of their names or position."""
    given = dict(php.entries(call.upper("FILTER")))
    words = str(given.pop("FIND", call.upper("FIND") or "")).lower().split()

    def found(row: dict[str, Any]) -> bool:
        text = " ".join(str(row.get(name, "")) for name in ("NAME", "LAST_NAME", "WORK_POSITION")).lower()
        return all(word in text for word in words)

    parts = {f"%{key}": value for key, value in given.items()}
    rows = filter(found, _matching(call.world.directory.users, parts, FIELDS))
    return call.page(_ordered(call, rows), lambda row: _shown(call, row))


def current(call: Call) -> Answer:
    """Show who calls."""
    return Answer(_shown(call, call.world.directory.user(call.caller.user)))


def departments(call: Call) -> Answer:
    """List departments."""
    # SORT is a field to filter by and, in small letters, the parameter that says how to sort.
    given = {key: value for key, value in call.params.items() if key != "sort"}
    return call.page(_ordered(call, _matching(call.world.directory.departments, given, DEPARTMENT_FIELDS)), dict)


def _shown(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    shown = {**row, "ID": str(row.get("ID"))}
    if not {"user", "user_basic"} & set(call.caller.scopes):
        shown = {name: value for name, value in shown.items() if name not in CONTACTS}
    return shown


def _ordered(call: Call, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    by = str(call.params.get("sort", "ID")).upper()
    descends = str(call.params.get("order", call.params.get("ORDER", ""))).upper() == "DESC"

    def key(row: dict[str, Any]) -> tuple[int, str]:
        value = row.get(by)
        return php.integer(value), "" if value is None else str(value)

    return sorted(rows, key=key, reverse=descends)


def _matching(rows: list[dict[str, Any]], given: dict[str, Any], fields: set[str]) -> list[dict[str, Any]]:
    """Return the rows that meet all conditions on fields that there are."""
    known = fields.union(*rows)
    for key, value in given.items():
        match = _KEY.fullmatch(key.upper())
        if match is not None and match[2] in known:
            rows = list(filter(_test(match[1], match[2], value), rows))
    return rows


def _test(prefix: str, name: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a row meets one condition of a filter of users."""
    denied, operator = prefix.startswith("!"), prefix.lstrip("!")
    wanted = {_text(name, item) for item in php.values(value)} if name != "ACTIVE" else {_text(name, value)}

    def holds(field: str) -> bool:
        if "%" in operator:
            return any(fnmatchcase(field.lower(), _pattern(operator, item)) for item in wanted)
        if operator in ("<", "<=", ">", ">="):
            return any(_compares(operator, field, item) for item in wanted)
        return field in wanted

    def meets(row: dict[str, Any]) -> bool:
        held = row.get(name)
        fields = held if isinstance(held, list) else [held]
        return any(holds(_text(name, field)) for field in fields) != denied

    return meets


def _text(name: str, value: Any) -> str:
    if name == "ACTIVE":
        return "" if value in ("N", "false") or not php.truth(value) else "1"
    return "" if value is None else str(value)


def _pattern(operator: str, item: str) -> str:
    quoted = re.sub(r"([*?\[])", r"[\1]", item.lower())
    return f"*{quoted}*" if operator == "%" else quoted.replace("%", "*")


def _compares(operator: str, field: str, item: str) -> bool:
    numbers = field.isdecimal() and item.isdecimal()
    left: Any = php.integer(field) if numbers else field
    right: Any = php.integer(item) if numbers else item
    return (left == right and "=" in operator) or (left < right if operator[0] == "<" else left > right)
