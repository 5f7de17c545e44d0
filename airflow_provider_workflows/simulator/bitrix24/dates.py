"""Dates as the portal writes them, and as PHP reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
UNITS = {
    "sec": "seconds",
    "second": "seconds",
    "min": "minutes",
    "minute": "minutes",
    "hour": "hours",
    "day": "days",
    "week": "weeks",
}
_TIME = (
    r"(?:[T\s]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?(?:[.,][0-9]+)?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})?"
)
_DATES = tuple(
    re.compile(date + _TIME, re.IGNORECASE)
    for date in (
        r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})",
        r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
        r"(?P<year>[0-9]{4})/(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})",
        r"(?P<day>[0-9]{1,2})[.-](?P<month>[0-9]{1,2})[.-](?P<year>[0-9]{4})",
        r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})",  # as in America
        r"(?:[a-z]{3,9},?\s+)?(?P<day>[0-9]{1,2})[\s-](?P<name>[a-z]{3,9})[\s,-]+(?P<year>[0-9]{4})",
        r"(?P<name>[a-z]{3,9})\s+(?P<day>[0-9]{1,2}),?\s+(?P<year>[0-9]{4})",
    )
)
_SHIFTS = re.compile(r"([+-]?)\s*([0-9]{1,6})\s*([a-z]+?)s?(\s+ago)?(?=[\s+-]|$)", re.IGNORECASE)
_WORD = re.compile(r"(now|today|midnight|yesterday|tomorrow)?\s*", re.IGNORECASE)


def iso(seconds: float, offset: str) -> str:
    """
    Write a date in the server's time.

    :param seconds: since 1970
    :param offset: the server's offset, e.g. ``+02:00``
    """
    return datetime.fromtimestamp(int(seconds), _zone(offset)).isoformat()


def timestamp(text: str, offset: str, now: float) -> int | None:
    """
    Read a date as PHP's ``strtotime`` does, in so far as people write it; what has no offset is in the server's time.

    :param text: the date, e.g. ISO 8601, ``31.12.2025 10:00``, ``@1767225600`` or ``-2 days``
    :param offset: the server's offset
    :param now: the time, for what is told from it
    :returns: seconds since 1970, or None if it is no date
    """
    text = text.strip()
    try:
        if re.fullmatch(r"@-?[0-9]{1,12}", text):
            return int(text[1:])
        date = _absolute(text, offset) or _relative(text, datetime.fromtimestamp(now, _zone(offset)))
        return None if date is None else int(date.timestamp())
    except (ValueError, OverflowError):
        return None


def _absolute(text: str, offset: str) -> datetime | None:
    match = next((found for found in (date.fullmatch(text) for date in _DATES) if found), None)
    if match is None:
        return None
    parts = match.groupdict()
    month = MONTHS.index(parts["name"][:3].lower()) + 1 if parts.get("name") else int(parts["month"])
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    zone = _zone(parts["zone"] or offset)
    return datetime(int(parts["year"]), month, int(parts["day"]), hour, minute, second, tzinfo=zone)


def _relative(text: str, date: datetime) -> datetime | None:
    word = _WORD.match(text)
    rest = text[word.end() :] if word else text
    if word and word[1] and word[1].lower() != "now":
        date = date.replace(hour=0, minute=0, second=0)
        date += timedelta(days={"yesterday": -1, "tomorrow": 1}.get(word[1].lower(), 0))
    shifts = _SHIFTS.findall(rest)
    if (_SHIFTS.sub("", rest).strip() or not text) or not (shifts or (word and word[1])):
        return None
    for sign, number, unit, ago in shifts:
        count = int(number) * (-1 if (sign == "-") != bool(ago) else 1)
        if unit.lower() in ("month", "year"):
            months = date.year * 12 + date.month - 1 + count * (12 if unit.lower() == "year" else 1)
            # A day that the month has not goes over into the next one.
            date = date.replace(year=months // 12, month=months % 12 + 1, day=1) + timedelta(days=date.day - 1)
        elif unit.lower() in UNITS:
            date += timedelta(**{UNITS[unit.lower()]: count})
        else:
            return None
    return date


def _zone(text: str) -> timezone:
    if text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    sign, digits = (-1 if text[0] == "-" else 1), text[1:].replace(":", "").ljust(4, "0")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
