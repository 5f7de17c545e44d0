"""Filters: what may be sent, and which rows meet them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.calls import WORKFLOW_FIELDS
from airflow_provider_workflows.bitrix24.filters import NUMBER_FIELDS, FilterError, WorkflowFilter
from airflow_provider_workflows.bitrix24.models import DATE_FIELDS, Workflow

SIGNS = ["", "=", "!", "!=", "<", "<=", ">", ">="]
ID = "66e412fdc9bd44.36306599"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=zones)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    # What a template makes of nothing is refused.
    lambda text: text.strip() not in {"", "None"}
)
numbers = st.integers(0, 10**9)


def values(field: str) -> st.SearchStrategy[Any]:
    """Return values that a field may be compared with."""
    if field in DATE_FIELDS:
        return moments | moments.map(datetime.isoformat) | moments.map(lambda moment: moment.replace(tzinfo=None))
    return numbers | numbers.map(str) if field in NUMBER_FIELDS else texts


conditions = st.sampled_from(WORKFLOW_FIELDS).flatmap(
    lambda field: st.tuples(st.sampled_from(SIGNS).map(lambda sign: sign + field), values(field))
)


def workflow_of(row: Any) -> Workflow:
    return Workflow(row)


dates = moments.map(datetime.isoformat)
workflows = st.fixed_dictionaries(
    {
        "ID": texts,
        "MODIFIED": dates,
        "OWNED_UNTIL": st.none() | dates,
        "MODULE_ID": texts,
        "ENTITY": texts,
        "DOCUMENT_ID": texts,
        "STARTED": dates,
        "STARTED_BY": numbers,
        "TEMPLATE_ID": numbers,
    }
).map(workflow_of)


class TestWhatIsSent:
    @pytest.mark.parametrize(
        ("filters", "sent"),
        [
            (None, {}),
            ({}, {}),
            ({"TEMPLATE_ID": 12}, {"TEMPLATE_ID": 12}),
            ({"=TEMPLATE_ID": "12"}, {"TEMPLATE_ID": 12}),
            ({"!=TEMPLATE_ID": " 12 "}, {"!TEMPLATE_ID": 12}),
            ({"!TEMPLATE_ID": 12}, {"!TEMPLATE_ID": 12}),
            ({"started_by": 0}, {"STARTED_BY": 0}),
            ({">=Id": ID}, {">=ID": ID}),
            ({"DOCUMENT_ID": 7}, {"DOCUMENT_ID": "7"}),
            ({"<STARTED": "2026-01-01"}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            ({"<STARTED": "2026-01-01T00:00:00Z"}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            ({"<STARTED": "2026-01-01 02:00+02:00"}, {"<STARTED": "2026-01-01T02:00:00+02:00"}),
            ({"<STARTED": NEW_YEAR}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            ({"<STARTED": NEW_YEAR.replace(microsecond=9)}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            ({"<STARTED": datetime(2026, 1, 1)}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            ({"<STARTED": date(2026, 1, 1)}, {"<STARTED": "2026-01-01T00:00:00+00:00"}),
            (
                {">=STARTED": date(2026, 1, 1), "<STARTED": date(2026, 2, 1)},
                {">=STARTED": "2026-01-01T00:00:00+00:00", "<STARTED": "2026-02-01T00:00:00+00:00"},
            ),
        ],
    )
    def test_it_is_in_the_spelling_that_every_portal_understands(self, filters: Any, sent: dict) -> None:
        assert WorkflowFilter.parse(filters).params() == sent

    def test_stuck_means_that_the_lock_ended_that_long_ago(self) -> None:
        stuck = WorkflowFilter.parse({"TEMPLATE_ID": 1}, stuck_for=timedelta(minutes=5), now=NEW_YEAR)
        assert stuck.params() == {"TEMPLATE_ID": 1, "<OWNED_UNTIL": "2025-12-31T23:55:00+00:00"}

    @given(conditions)
    def test_parsing_what_is_sent_gives_the_same_filter(self, condition: tuple[str, Any]) -> None:
        parsed = WorkflowFilter.parse(dict([condition]))
        assert WorkflowFilter.parse(parsed.params()) == parsed

    @given(conditions)
    def test_only_the_old_portals_operators_and_fields_are_sent(self, condition: tuple[str, Any]) -> None:
        (key,) = WorkflowFilter.parse(dict([condition])).params()
        name = key.lstrip("!<>=")
        assert name in WORKFLOW_FIELDS
        assert key.removesuffix(name) in {"", "!", "<", "<=", ">", ">="}

    @given(st.sampled_from(WORKFLOW_FIELDS), st.data())
    def test_both_spellings_of_equality_are_one(self, field: str, data: st.DataObject) -> None:
        value = data.draw(values(field))
        assert WorkflowFilter.parse({f"={field}": value}) == WorkflowFilter.parse({field: value})
        assert WorkflowFilter.parse({f"!={field}": value}) == WorkflowFilter.parse({f"!{field}": value})

    @given(st.sampled_from(sorted(DATE_FIELDS)), moments)
    def test_a_date_without_a_zone_is_utc(self, field: str, moment: datetime) -> None:
        naive = moment.replace(tzinfo=None)
        expected = WorkflowFilter.parse({field: naive.replace(tzinfo=UTC)})
        assert WorkflowFilter.parse({field: naive}) == expected
        assert WorkflowFilter.parse({field: naive.isoformat()}) == expected

    def test_nor_does_the_workers_own_zone_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        try:
            with monkeypatch.context() as elsewhere:
                elsewhere.setenv("TZ", "Asia/Tokyo")
                time.tzset()
                assert WorkflowFilter.parse({"<STARTED": "2026-01-01"}).params() == {
                    "<STARTED": "2026-01-01T00:00:00+00:00"
                }
        finally:
            time.tzset()


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("filters", "why"),
        [
            ({"TEMPLATE": 1}, "unknown field 'TEMPLATE'; did you mean TEMPLATE_ID?; known fields are ID, "),
            ({"<STARTD": "2026-01-01"}, "unknown field '<STARTD'"),
            ({"": 1}, "unknown field ''"),
            ({"ID ": ID}, "unknown field 'ID '"),
            ({"ID\n": ID}, "unknown field"),
            ({7: 1}, "unknown field 7"),
            ({None: 1}, "unknown field None"),
            ({"%DOCUMENT_ID": "DEAL"}, "unknown field '%DOCUMENT_ID'"),
            ({"@ID": [ID]}, "unknown field '@ID'"),
            ({"<>STARTED": "2026-01-01"}, "unknown operator in '<>STARTED'"),
            ({"==ID": ID}, "unknown operator in '==ID'"),
            ({"=<STARTED": "2026-01-01"}, "unknown operator"),
            ({"ID": [ID]}, "must be one text or number"),
            ({"ID": None}, "must be one text or number"),
            ({"ID": ""}, "must be one text or number"),
            ({"ID": "  "}, "must be one text or number"),
            ({"!ID": "None"}, "must be one text or number"),
            ({"ID": True}, "must be one text or number"),
            ({"TEMPLATE_ID": "twelve"}, "'TEMPLATE_ID' must be a whole number, not 'twelve'"),
            ({"TEMPLATE_ID": "1.5"}, "must be a whole number"),
            ({"TEMPLATE_ID": 1.5}, "must be one text or number"),
            ({"TEMPLATE_ID": -1}, "must be a whole number"),
            ({"<STARTED": "last week"}, "'<STARTED' must be an ISO 8601 date, not 'last week'"),
            ({"<STARTED": "None"}, "must be an ISO 8601 date"),
            ({"<STARTED": ""}, "must be an ISO 8601 date"),
            ({"<STARTED": None}, "must be an ISO 8601 date"),
            ({"<STARTED": 1767225600}, "must be an ISO 8601 date"),
            ({"TEMPLATE_ID": 1, "=TEMPLATE_ID": 2}, "'TEMPLATE_ID' is given twice"),
            ({"TEMPLATE_ID": 1, "template_id": 1}, "'TEMPLATE_ID' is given twice"),
            ("", "must be a mapping of field to value, not str"),
            ("None", "must be a mapping"),
            ([], "must be a mapping"),
            (["ID"], "must be a mapping"),
            (False, "must be a mapping"),
            (0, "must be a mapping"),
        ],
    )
    def test_what_the_portal_would_read_as_a_wider_filter(self, filters: Any, why: str) -> None:
        with pytest.raises(FilterError) as refused:
            WorkflowFilter.parse(filters)
        assert why in str(refused.value)

    @given(st.text(), st.sampled_from(SIGNS))
    def test_any_unknown_field(self, name: str, sign: str) -> None:
        if name.lstrip("!<>=").upper() not in WORKFLOW_FIELDS:
            with pytest.raises(FilterError, match="unknown field"):
                WorkflowFilter.parse({sign + name: "1"})

    @given(st.text("!<>=", min_size=1, max_size=4), st.sampled_from(WORKFLOW_FIELDS))
    def test_any_unknown_operator(self, sign: str, name: str) -> None:
        if sign not in SIGNS:
            with pytest.raises(FilterError, match="unknown operator"):
                WorkflowFilter.parse({sign + name: "1"})

    def test_a_stuck_time_below_zero(self) -> None:
        with pytest.raises(FilterError, match="must not be negative"):
            WorkflowFilter.parse(stuck_for=timedelta(seconds=-1))

    def test_a_stuck_time_beside_the_same_condition(self) -> None:
        with pytest.raises(FilterError, match="'<OWNED_UNTIL' is given twice"):
            WorkflowFilter.parse({"<OWNED_UNTIL": "2026-01-01"}, stuck_for=timedelta(minutes=5))


class TestWhichRowsMatch:
    ROW = Workflow(
        {
            "ID": ID,
            "STARTED": NEW_YEAR.isoformat(),
            "TEMPLATE_ID": 12,
            "STARTED_BY": 0,
            "DOCUMENT_ID": "DEAL_1",
            "ENTITY": "E",
        }
    )

    @pytest.mark.parametrize(
        "filters",
        [
            {},
            {"ID": ID},
            {"!ID": "another"},
            {"TEMPLATE_ID": "12", "STARTED_BY": 0},
            {"<TEMPLATE_ID": 13, ">TEMPLATE_ID": 11, "<=TEMPLATE_ID": 12, ">=TEMPLATE_ID": 12},
            {"STARTED": "2026-01-01T02:00:00+02:00"},
            {"<=STARTED": "2026-01-01", ">=STARTED": "2026-01-01", "<STARTED": "2026-01-01T00:00:01Z"},
            {"!OWNED_UNTIL": "2026-01-01"},
            {"!MODULE_ID": "crm"},
        ],
    )
    def test_a_row_that_meets_every_condition(self, filters: dict) -> None:
        assert WorkflowFilter.parse(filters).matches(self.ROW)

    @pytest.mark.parametrize(
        "filters",
        [
            {"ID": "another"},
            {"!ID": ID},
            {"TEMPLATE_ID": 120},
            {"<TEMPLATE_ID": 12},
            {">TEMPLATE_ID": 12},
            {"TEMPLATE_ID": 12, "STARTED_BY": 1},
            {"<STARTED": "2026-01-01"},
            {">STARTED": "2026-01-01T01:00:00+01:00"},
            {"<OWNED_UNTIL": "2030-01-01"},
            {">=OWNED_UNTIL": "2000-01-01"},
            {"MODULE_ID": "crm"},
        ],
    )
    def test_a_row_that_misses_one(self, filters: dict) -> None:
        assert not WorkflowFilter.parse(filters).matches(self.ROW)

    def test_a_row_is_stuck_only_if_it_was_locked(self) -> None:
        stuck = WorkflowFilter.parse(stuck_for=timedelta(minutes=5), now=NEW_YEAR)
        for minutes, expected in ((4, False), (5, False), (6, True), (None, False)):
            until = None if minutes is None else (NEW_YEAR - timedelta(minutes=minutes)).isoformat()
            assert stuck.matches(Workflow({"ID": ID, "OWNED_UNTIL": until})) is expected

    @pytest.mark.parametrize("started", ["31.12.2025 23:00:00", "2025-12-31T00:00:00"])
    def test_a_date_that_cannot_be_compared_is_an_error_not_a_match(self, started: str) -> None:
        with pytest.raises(FilterError, match=r"the portal sends STARTED as .* cannot be checked against '<STARTED'"):
            WorkflowFilter.parse({"<STARTED": "2026-01-01"}).matches(Workflow({"ID": ID, "STARTED": started}))

    @given(conditions, workflows)
    def test_a_row_that_matches_still_does_once_the_filter_was_sent(
        self, condition: tuple[str, Any], workflow: Workflow
    ) -> None:
        parsed = WorkflowFilter.parse(dict([condition]))
        again = WorkflowFilter.parse(parsed.params())
        assert again.matches(workflow) is parsed.matches(workflow)

    @given(st.sampled_from(WORKFLOW_FIELDS), workflows, workflows)
    def test_each_operator_and_its_opposite_split_the_rows(self, field: str, one: Workflow, other: Workflow) -> None:
        value = other.get(field)
        if value is None or one.get(field) is None:
            return

        def meets(sign: str) -> bool:
            return WorkflowFilter.parse({sign + field: value}).matches(one)

        assert meets("") is not meets("!")
        assert meets("<") is not meets(">=")
        assert meets(">") is not meets("<=")
