"""Dates in filters are read as PHP reads them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.simulator.bitrix24.dates import iso, timestamp

NOW = datetime.fromisoformat("2026-03-31T10:20:30+02:00").timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-02T03:04:05+01:00", "2025-01-02T04:04:05+02:00"),
        ("2025-01-02T03:04:05.678Z", "2025-01-02T05:04:05+02:00"),
        ("2025-01-02 03:04", "2025-01-02T03:04:00+02:00"),
        ("2025-1-2", "2025-01-02T00:00:00+02:00"),
        ("20250102", "2025-01-02T00:00:00+02:00"),
        ("02.01.2025 03:04:05", "2025-01-02T03:04:05+02:00"),
        ("02-01-2025", "2025-01-02T00:00:00+02:00"),
        ("01/02/2025", "2025-01-02T00:00:00+02:00"),
        ("2025/01/02", "2025-01-02T00:00:00+02:00"),
        ("2 January 2025", "2025-01-02T00:00:00+02:00"),
        ("Thu, 02 Jan 2025 03:04:05 +0000", "2025-01-02T05:04:05+02:00"),
        ("Jan 2, 2025", "2025-01-02T00:00:00+02:00"),
        ("@1767225600", "2026-01-01T02:00:00+02:00"),
        ("now", "2026-03-31T10:20:30+02:00"),
        ("today", "2026-03-31T00:00:00+02:00"),
        ("yesterday", "2026-03-30T00:00:00+02:00"),
        ("-2 days", "2026-03-29T10:20:30+02:00"),
        ("+1 week 2 hours", "2026-04-07T12:20:30+02:00"),
        ("3 days ago", "2026-03-28T10:20:30+02:00"),
        ("today -1 month", "2026-03-03T00:00:00+02:00"),
        ("-1 year", "2025-03-31T10:20:30+02:00"),
        ("2025-13-45", None),
        ("yesteryear", None),
        ("2 fortnights", None),
        ("", None),
        ("-", None),
    ],
)
def test_a_date_is_read(text, expected):
    seconds = timestamp(text, "+02:00", NOW)
    assert (None if seconds is None else iso(seconds, "+02:00")) == expected


@given(st.datetimes(datetime(1, 1, 3), datetime(9998, 1, 1)), st.sampled_from(["+02:00", "-11:30", "+00:00"]))
def test_what_the_portal_writes_it_reads(date, offset):
    seconds = int(datetime.fromisoformat(f"{date.isoformat()}+00:00").timestamp())
    assert timestamp(iso(seconds, offset), "+05:00", NOW) == seconds


@given(st.text(max_size=30))
def test_anything_else_is_no_date(text):
    assert isinstance(timestamp(text, "+02:00", NOW), int | None)
