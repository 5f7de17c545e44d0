"""What a server sends back is read without trust."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.rest.replies import LONGEST_TEXT, LONGEST_WAIT, read_json, read_text, retry_after

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


class TestJson:
    @given(json_values)
    def test_json_is_read_as_it_is(self, value: Any) -> None:
        assert read_json(json.dumps(value).encode()) == value

    @given(st.binary())
    def test_anything_else_is_nothing(self, content: bytes) -> None:
        value = read_json(content)
        assert value is None or json.loads(content) == value

    @pytest.mark.parametrize(
        "content",
        [
            b"[" * 1_000_000,
            b"[" * 5_000 + b"]" * 5_000,
            b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
            b"NaN",
            b'{"time": Infinity}',
            b"9" * 10_000,
            b'"\\ud800"',
        ],
        ids=["unclosed", "nested lists", "nested objects", "NaN", "infinity", "10,000 digits", "half a character"],
    )
    def test_what_python_or_others_choke_on_is_nothing(self, content: bytes) -> None:
        assert read_json(content) is None

    def test_a_byte_order_mark_is_no_fault(self) -> None:
        assert read_json(b'\xef\xbb\xbf{"result": true}') == {"result": True}


class TestText:
    @given(json_values)
    def test_it_is_a_text_or_nothing(self, value: Any) -> None:
        text = read_text(value)
        assert text is None or 0 < len(text) <= LONGEST_TEXT + 1

    def test_what_fills_screens_is_cut(self) -> None:
        assert read_text("x" * 100_000) == "x" * LONGEST_TEXT + "…"
        assert read_text("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("said", "seconds"),
        [("7", 7), ("0", 0), ("1.5", 1.5), ("-3", 0), ("601", 600), ("1e9", 600), ("1e15", 600), ("9" * 300, 600)],
    )
    def test_seconds_are_at_most_ten_minutes(self, said: str, seconds: float) -> None:
        assert retry_after({"Retry-After": said}) == seconds

    @pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=5), timedelta(hours=-5)])
    def test_a_date_counts_from_the_servers_own_time(self, ahead: timedelta) -> None:
        now = datetime.now(UTC) + ahead
        headers = {"Retry-After": format_datetime(now + timedelta(seconds=90)), "Date": format_datetime(now)}
        assert retry_after(headers) == 90

    def test_without_it_from_ours(self) -> None:
        said = format_datetime(datetime.now(UTC) + timedelta(seconds=90))
        assert retry_after({"Retry-After": said}) == pytest.approx(90, abs=60)

    @pytest.mark.parametrize("said", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
    def test_a_date_in_the_far_future_is_ten_minutes_or_nothing(self, said: str) -> None:
        assert retry_after({"Retry-After": said}) in {LONGEST_WAIT, None}

    @given(st.text() | st.from_regex(r"\w+, \d+ \w+ \d+ \d+:\d+:\d+ [+-]\d+") | st.floats().map(str))
    def test_whatever_it_says_it_is_a_wait_that_can_be_borne(self, said: str) -> None:
        for headers in ({"Retry-After": said}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": said}):
            seconds = retry_after(headers)
            assert seconds is None or 0 <= seconds <= LONGEST_WAIT
