"""JSON as its standard has it: no NaN, nothing endless, no depths that nobody can use."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

DEPTH = 512


def loads(text: bytes) -> Any:
    """
    Read JSON.

    :param text: the JSON
    :raises ValueError: if it cannot be read
    """
    try:
        value = json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    level, depth = [value], 0
    while level:
        if depth > DEPTH:
            raise ValueError("JSON that is nested too deeply")
        level = [item for outer in level for item in _items(outer)]
        depth += 1
    return value


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _finite(text: str) -> float:
    number = float(text)
    return math.copysign(sys.float_info.max, number) if math.isinf(number) else number
