"""Lists are whole, whatever others do while they are read; and take no more requests than they need."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflow_ids, find_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.bitrix24.paging import PAGES_AHEAD
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from tests.bitrix24.busy_portal import BusyPortal
from tests.plan_runner import run

NOW = datetime(2026, 7, 1, tzinfo=UTC)
FILTERS: list[dict[str, Any]] = [
    {},
    {"TEMPLATE_ID": 1},
    {"<STARTED": (NOW - timedelta(days=30)).isoformat()},
    {"<STARTED": (NOW + timedelta(days=30)).isoformat(), "TEMPLATE_ID": 2},
    {">=STARTED": (NOW - timedelta(days=60)).isoformat()},
    {"<OWNED_UNTIL": (NOW - timedelta(minutes=5)).isoformat()},
    {">MODIFIED": (NOW - timedelta(days=60)).isoformat()},
    {"!OWNED_UNTIL": NOW.isoformat()},
]


def started_at(workflow: Workflow) -> float:
    """Return when a workflow was started."""
    assert isinstance(workflow.started, datetime)
    return workflow.started.timestamp()


class Others:
    """Those who end, start and change workflows.

    :param chance: of what they do.
    :param ends: how many end before a command, on the average.
    :param starts: how many start.
    :param changes: how many change.
    :param oldest: whether it is the oldest that end.
    """

    def __init__(self, chance: random.Random, ends: float, starts: float, changes: float, oldest: bool) -> None:
        self.chance = chance
        self.ends, self.starts, self.changes, self.oldest = ends, starts, changes, oldest

    def __call__(self, portal: BusyPortal) -> None:
        for _ in range(self._times(self.ends)):
            if portal.rows:
                portal.end(0 if self.oldest else self.chance.randrange(len(portal.rows)))
        for _ in range(self._times(self.starts)):
            portal.start()
        for _ in range(self._times(self.changes)):
            if portal.rows:
                portal.change(self.chance.randrange(len(portal.rows)))

    def _times(self, average: float) -> int:
        whole = int(average)
        return whole + (self.chance.random() < average - whole)


RATES = st.sampled_from([0.0, 0.05, 0.5, 1.0, 5.0])


@given(
    st.integers(0, 300) | st.integers(2400, 2700) | st.integers(5000, 5200),
    st.sampled_from(FILTERS),
    RATES | st.just(70.0),
    RATES,
    RATES,
    st.booleans(),
    st.integers(1, 6),
    st.none() | st.integers(1, 3000),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_what_matches_all_the_while_is_listed(
    count: int,
    filters: dict[str, Any],
    ends: float,
    starts: float,
    changes: float,
    oldest: bool,
    in_flight: int,
    limit: int | None,
    lost: float,
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311
    portal = BusyPortal(count, chance, Others(chance, ends, starts, changes, oldest), lost)
    wanted = WorkflowFilter.parse(filters)
    portal.watch(wanted.params())
    found = portal.run(find_workflows(wanted, started_at, limit=limit), in_flight)
    missed = portal.throughout - found.keys()
    if limit is not None:
        # The oldest are given.
        assert len(found) >= min(limit, len(portal.throughout))
        newest = max(found.values(), default=0)
        missed = {row["ID"] for row in portal.rows if row["ID"] in missed and row["STARTED"] < newest}
    assert not missed
    assert list(found.values()) == sorted(found.values())


class TestRequests:
    @staticmethod
    def requests(count: int, filters: dict[str, Any], others: Others | None = None) -> int:
        """Return how many requests a list takes."""
        portal = BusyPortal(count, random.Random(1), others or (lambda portal: None))  # noqa: S311
        portal.watch(filters)
        found = portal.run(find_workflow_ids(WorkflowFilter.parse(filters)))
        assert portal.throughout <= set(found)
        return portal.requests

    @pytest.mark.parametrize(("count", "filters"), zip([50, 51, 2550, 2551, 5050, 20_000], FILTERS[:6], strict=True))
    def test_where_nothing_changes_none_is_more_than_the_pages_need(self, count: int, filters: dict[str, Any]) -> None:
        portal = BusyPortal(count, random.Random(1))  # noqa: S311
        portal.watch(filters)
        pages = max(1, math.ceil(len(portal.throughout) / 50))
        assert self.requests(count, filters) == 1 + math.ceil((pages - 1) / 50)

    @pytest.mark.parametrize("filters", [FILTERS[0], FILTERS[5]])
    @pytest.mark.parametrize(("ends", "starts"), [(0.01, 0), (0.1, 0.1)])
    def test_where_others_are_at_work_few_are(self, filters: dict[str, Any], ends: float, starts: float) -> None:
        # A page takes a tenth of a second: up to ten a second end, and as many start.
        others = Others(random.Random(1), ends, starts, changes=0, oldest=False)  # noqa: S311
        quiet = self.requests(20_000, filters)
        assert quiet <= self.requests(20_000, filters, others) <= quiet + 4

    def test_a_filter_that_a_running_workflow_can_begin_to_match_costs_as_much_as_one_without_that_condition(
        self,
    ) -> None:
        recent = {">MODIFIED": (NOW - timedelta(days=60)).isoformat(), "TEMPLATE_ID": 1}
        assert self.requests(5000, recent) == 1 + self.requests(5000, {"TEMPLATE_ID": 1})


class TestRepliesWithoutEnd:
    """Whatever a portal tells of how many rows there are."""

    @staticmethod
    def read(page: Callable[[int], Reply]) -> tuple[Any, int]:
        """Read a list, and tell what it gave and how many pages were asked for."""
        asked = 0

        def answer(call: Call) -> Reply:
            nonlocal asked
            replies = {}
            for key, command in (call.commands or {"": call}).items():
                asked += 1
                replies[key] = page(command.params["start"])
            assert asked < 3000
            return Reply(replies) if call.commands else replies[""]

        try:
            return run(find_workflow_ids(WorkflowFilter()), answer), asked
        except UnreadableReplyError as error:
            return error, asked

    @pytest.mark.parametrize("total", [10**6, 10**9, 10**12, 10**18])
    def test_a_total_beyond_all_rows_is_not_planned_for(self, total: int) -> None:
        rows = [{"ID": f"a.{nth}", "STARTED": "2026-01-01T00:00:00Z"} for nth in range(120)]
        found, asked = self.read(lambda start: Reply(rows[start : start + 50], total, start + 50, at=NOW))
        assert found == [row["ID"] for row in rows]
        assert asked <= 1 + PAGES_AHEAD + 2

    @pytest.mark.parametrize("total", [None, 0, 10**12])
    def test_empty_pages_that_go_on_end_it(self, total: int | None) -> None:
        found, asked = self.read(lambda start: Reply([], total, start + 50, at=NOW))
        assert (found, asked) == ([], 1)

    @pytest.mark.parametrize("total", [None, 10**12])
    def test_the_same_page_again_and_again_is_an_error(self, total: int | None) -> None:
        rows = [{"ID": f"a.{nth}", "STARTED": "2026-01-01T00:00:00Z"} for nth in range(50)]
        found, asked = self.read(lambda start: Reply(rows, total, start + 50, at=NOW))
        assert "the pages do not go on" in str(found)
        assert asked <= 1 + PAGES_AHEAD

    def test_pages_that_never_fit_together_end_it(self) -> None:
        chance = random.Random(1)  # noqa: S311

        def page(start: int) -> Reply:
            rows = [{"ID": f"a.{chance.random()}", "STARTED": "2026-01-01T00:00:00Z"} for _ in range(50)]
            return Reply(rows, chance.randrange(3000, 6000), start + 50 if start < 4950 else None, at=NOW)

        found, _ = self.read(page)
        assert isinstance(found, list | UnreadableReplyError)
