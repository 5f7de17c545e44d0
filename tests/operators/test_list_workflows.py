"""ListWorkflowsOperator: rows, filters, pages, and what a portal does that does not filter as asked."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import NotAdministratorError
from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.operators.bitrix24 import ListWorkflowsOperator
from airflow_provider_workflows.rest.errors import AuthenticationError, RateLimitError, ServerError
from airflow_provider_workflows.simulator import Control
from tests.operators.remote import VirtualTime, refused, render

LIST = "bizproc.workflow.instances"
FIELDS = [
    "ID",
    "MODIFIED",
    "OWNED_UNTIL",
    "MODULE_ID",
    "ENTITY",
    "DOCUMENT_ID",
    "STARTED",
    "STARTED_BY",
    "TEMPLATE_ID",
]


def listed(context: Any, filters: Any = None, **how: Any) -> list[dict[str, Any]]:
    """Run a task that lists workflows."""
    rows: list[dict[str, Any]] = ListWorkflowsOperator(task_id="list", filters=filters, **how).execute(context)
    return rows


def ids(rows: list[dict[str, Any]]) -> list[str]:
    """Return the ids of rows."""
    return [row["ID"] for row in rows]


class TestRows:
    def test_they_are_json_with_every_field_under_the_portals_names(self, control: Control, context: Any) -> None:
        control.add_workflows(
            [
                {
                    "ID": "66e412fdc9bd44.36306599",
                    "STARTED": "2026-01-01T00:00:00Z",
                    "MODIFIED": "2026-01-02T00:00:00Z",
                    "TEMPLATE_ID": 7,
                    "STARTED_BY": 0,
                    "DOCUMENT_ID": "DEAL_5",
                }
            ]
        )
        (row,) = rows = listed(context)
        assert json.loads(json.dumps(rows)) == rows
        assert list(row) == FIELDS
        assert (row["TEMPLATE_ID"], row["STARTED_BY"], row["DOCUMENT_ID"]) == (7, 0, "DEAL_5")
        assert datetime.fromisoformat(row["STARTED"]) == datetime(2026, 1, 1, tzinfo=UTC)
        assert row["OWNED_UNTIL"] is None

    def test_only_running_workflows_are_listed(self, control: Control, context: Any) -> None:
        first, second = control.add_workflows([{}, {}])
        control.finish_workflows([first])
        assert ids(listed(context)) == [second]

    def test_the_oldest_come_first(self, control: Control, context: Any) -> None:
        control.generate_workflows(200)
        started = [row["STARTED"] for row in listed(context)]
        assert started == sorted(started)

    def test_a_list_without_rows_is_a_result(self, control: Control, context: Any) -> None:
        assert listed(context) == []


class TestPages:
    @pytest.mark.parametrize("count", [0, 1, 50, 51, 100, 2550, 2551, 2600])
    def test_all_are_read_in_the_fewest_requests(self, control: Control, context: Any, count: int) -> None:
        control.generate_workflows(count)
        rows = listed(context)
        assert set(ids(rows)) == set(control.state()["bitrix24"]["workflows"])
        assert len(rows) == count
        pages = max(1, math.ceil(count / 50))
        assert len(control.requests()) == 1 + math.ceil((pages - 1) / 50)

    @pytest.mark.parametrize(("limit", "requests"), [(1, 1), (50, 1), (51, 2), (120, 2)])
    def test_a_limit_gives_the_oldest_and_reads_no_more_than_it_needs(
        self, control: Control, context: Any, limit: int, requests: int
    ) -> None:
        control.generate_workflows(300)
        assert listed(context, limit=limit) == listed(context)[:limit]
        assert len(control.requests()) == requests + 2

    def test_a_limit_above_the_count_gives_all(self, control: Control, context: Any) -> None:
        control.generate_workflows(60)
        assert len(listed(context, limit=1000)) == 60

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_that_asks_for_nothing_is_refused(self, control: Control, context: Any, limit: int) -> None:
        with pytest.raises(ValueError, match=f"limit must be a whole number of 1 or more, not {limit}"):
            listed(context, limit=limit)
        assert control.requests() == []


class TestFilters:
    ROWS: tuple[dict[str, Any], ...] = (
        {"ID": "a.1", "STARTED": "2026-01-01T00:00:00Z", "TEMPLATE_ID": 1, "STARTED_BY": 0, "DOCUMENT_ID": "DEAL_1"},
        {"ID": "b.2", "STARTED": "2026-01-02T00:00:00Z", "TEMPLATE_ID": 2, "STARTED_BY": 5, "DOCUMENT_ID": "DEAL_2"},
        {"ID": "c.3", "STARTED": "2026-01-03T00:00:00Z", "TEMPLATE_ID": 3, "STARTED_BY": 5, "DOCUMENT_ID": "LEAD_1"},
    )
    CASES: tuple[tuple[Any, list[str]], ...] = (
        (None, ["a.1", "b.2", "c.3"]),
        ({"TEMPLATE_ID": 2}, ["b.2"]),
        ({"=TEMPLATE_ID": "2"}, ["b.2"]),
        ({"!TEMPLATE_ID": 2}, ["a.1", "c.3"]),
        ({"!=TEMPLATE_ID": 2}, ["a.1", "c.3"]),
        ({"<TEMPLATE_ID": 2}, ["a.1"]),
        ({"<=TEMPLATE_ID": 2}, ["a.1", "b.2"]),
        ({">TEMPLATE_ID": 2}, ["c.3"]),
        ({">=TEMPLATE_ID": 2}, ["b.2", "c.3"]),
        ({"<STARTED": "2026-01-02T00:00:00Z"}, ["a.1"]),
        ({"<=STARTED": "2026-01-02"}, ["a.1", "b.2"]),
        ({">STARTED": "2026-01-02T01:00:00+01:00"}, ["c.3"]),
        ({">=STARTED": datetime(2026, 1, 2)}, ["b.2", "c.3"]),
        ({"STARTED": "2026-01-02"}, ["b.2"]),
        ({">=started": "2026-01-02", "<started": "2026-01-03", "started_by": 5}, ["b.2"]),
        ({"DOCUMENT_ID": "LEAD_1"}, ["c.3"]),
        ({"ID": "a.1"}, ["a.1"]),
        ({">ID": "a.1"}, ["b.2", "c.3"]),
        ({"TEMPLATE_ID": 9}, []),
        ({"OWNED_UNTIL": "2026-01-01"}, []),
    )

    @pytest.mark.parametrize("dialect", ["classic", "lenient"])
    @pytest.mark.parametrize(("filters", "expected"), CASES)
    def test_every_operator_means_the_same_on_every_portal(
        self, control: Control, context: Any, filters: Any, expected: list[str], dialect: str
    ) -> None:
        control.configure(filter_dialect=dialect, server_offset="-05:00")
        control.add_workflows(list(self.ROWS))
        assert ids(listed(context, filters)) == expected

    def test_stuck_workflows_are_those_whose_lock_ended_that_long_ago(self, control: Control, context: Any) -> None:
        made = control.generate_workflows(80, stuck=7)
        assert len(listed(context, stuck_for=timedelta(minutes=5))) == made["stuck"] == 7
        assert listed(context, {"OWNED_UNTIL": "2020-01-01"}) == []

    def test_a_template_fills_in_the_values(self, control: Control, context: Any) -> None:
        control.add_workflows(list(self.ROWS))
        operator = ListWorkflowsOperator(task_id="list", filters={"<STARTED": "{{ ds }}", "TEMPLATE_ID": "{{ one }}"})
        render(operator, ds="2026-01-02", one=1)
        assert ids(operator.execute(context)) == ["a.1"]

    @pytest.mark.parametrize(
        ("filters", "named"),
        [
            ({"TEMPLATE": 1}, "'TEMPLATE'"),
            ({"<STARTD": "2026-01-01"}, "'<STARTD'"),
            ({"%DOCUMENT_ID": "DEAL"}, "'%DOCUMENT_ID'"),
            ({"<>TEMPLATE_ID": 1}, "'<>TEMPLATE_ID'"),
            ({"TEMPLATE_ID": 1, "template_id": 2}, "'TEMPLATE_ID'"),
            ({"TEMPLATE_ID": [1, 2]}, "'TEMPLATE_ID'"),
            ({"TEMPLATE_ID": None}, "'TEMPLATE_ID'"),
            ({"<STARTED": "None"}, "'<STARTED'"),
            ({"<STARTED": "yesterday"}, "'<STARTED'"),
            ("", "mapping"),
            ("None", "mapping"),
            ([], "mapping"),
        ],
    )
    def test_one_that_would_list_more_is_refused_by_name_and_nothing_is_sent(
        self, control: Control, context: Any, filters: Any, named: str
    ) -> None:
        control.add_workflows(list(self.ROWS))
        with pytest.raises(FilterError) as refused:
            listed(context, filters)
        assert named in str(refused.value)
        assert control.requests() == []

    @pytest.mark.parametrize("limit", [None, 3])
    def test_a_portal_that_ignores_the_filter_does_not_widen_the_result(
        self, control: Control, context: Any, limit: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        control.generate_workflows(170, templates=3)
        wanted = ids([row for row in listed(context) if row["TEMPLATE_ID"] == 2])
        monkeypatch.setattr("airflow_provider_workflows.simulator.bitrix24.listing.conditions", lambda *_, **__: ())
        assert len(wanted) > 3
        assert ids(listed(context, {"TEMPLATE_ID": 2}, limit=limit)) == wanted[:limit]

    def test_a_portal_whose_dates_cannot_be_compared_is_an_error_not_a_longer_list(
        self, control: Control, context: Any
    ) -> None:
        control.configure(started_format="site")
        control.add_workflows(list(self.ROWS))
        assert len(listed(context)) == 3
        with refused(FilterError, match=r"the portal sends STARTED as '01\.01\.2026 02:00:00'"):
            listed(context, {"<STARTED": "2026-01-02"})


class TestFaults:
    @pytest.mark.parametrize("method", [LIST, "batch"])
    @pytest.mark.parametrize(
        ("fault", "options"),
        [
            ("refused", {}),
            ("lost_before", {}),
            ("lost_after", {}),
            ("error_500", {}),
            ("html", {"status": 200}),
            ("html", {"status": 504}),
            ("truncated", {}),
            ("empty_body", {}),
        ],
    )
    def test_whatever_breaks_three_times_the_list_is_whole(
        self, control: Control, context: Any, fault: str, options: dict, method: str
    ) -> None:
        control.generate_workflows(333)
        control.inject(fault, method=method, times=3, **options)
        assert set(ids(listed(context))) == set(control.state()["bitrix24"]["workflows"])
        assert [entry["fault"] for entry in control.requests()].count(fault) == 3

    @pytest.mark.parametrize("fault", ["operating_limit", "missing_key"])
    def test_a_page_that_is_missing_from_a_batch_is_read_again(
        self, control: Control, context: Any, fault: str
    ) -> None:
        control.generate_workflows(333)
        place: dict[str, Any] = {"method": LIST, "skip": 3} if fault == "operating_limit" else {"index": 2}
        control.inject(fault, **place)
        assert len(listed(context)) == 333

    @pytest.mark.parametrize(("fault", "error"), [("refused", RateLimitError), ("error_500", ServerError)])
    def test_a_portal_that_never_answers_is_an_error_not_a_shorter_list(
        self, control: Control, context: Any, fault: str, error: type[Exception]
    ) -> None:
        control.generate_workflows(333)
        control.inject(fault, vendor="bitrix24", skip=1, times=None)
        with pytest.raises(error):
            listed(context)

    @pytest.mark.parametrize(("hours", "borne"), [(None, 1), (0.5, 1), (3, 3)])
    def test_refusals_are_borne_for_an_hour_or_for_as_long_as_the_task_may_run(
        self, control: Control, context: Any, clock: VirtualTime, hours: float | None, borne: float
    ) -> None:
        control.inject("refused", times=None)
        timeout = None if hours is None else timedelta(hours=hours)
        began = clock.time()
        with pytest.raises(RateLimitError):
            ListWorkflowsOperator(task_id="list", execution_timeout=timeout).execute(context)
        assert clock.time() - began >= borne * 3600 - 60
        assert sum(clock.naps) <= borne * 3600 + 140

    @pytest.mark.parametrize(
        ("settings", "error"),
        [({"is_admin": False}, NotAdministratorError), ({"webhook_known": False}, AuthenticationError)],
    )
    def test_a_credential_that_may_not_list_is_told_at_once(
        self, control: Control, context: Any, settings: dict, error: type[Exception]
    ) -> None:
        control.configure(**settings)
        with refused(error):
            listed(context)
        assert len(control.requests()) == 1


class TestRepliesWithoutEnd:
    @pytest.mark.parametrize("total", [10**8, 10**12])
    def test_a_total_beyond_all_rows_costs_a_bounded_number_of_requests(
        self, control: Control, context: Any, total: int
    ) -> None:
        control.generate_workflows(60)
        rows = [{"ID": f"66e412fdc9bd44.{nth:08d}", "STARTED": "2020-01-01T00:00:00Z"} for nth in range(50)]
        reply = json.dumps({"result": rows, "total": total, "next": 50, "time": {"start": time.time()}})
        control.inject("reply", method=LIST, text=reply)
        assert set(ids(listed(context))) >= set(control.state()["bitrix24"]["workflows"])
        # Six hundred pages are planned ahead, fifty to a request.
        assert len(control.requests()) <= 16

    def test_empty_pages_that_go_on_end_the_list(self, control: Control, context: Any) -> None:
        reply = json.dumps({"result": [], "total": 10**7, "next": 50})
        control.inject("reply", method=LIST, text=reply, times=None)
        assert listed(context) == []
        assert len(control.requests()) == 1
