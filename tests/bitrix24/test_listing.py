"""The portal's lists read by plans: no HTTP, no Airflow, no time passing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.batches import read_all
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids
from airflow_provider_workflows.bitrix24.errors import NotAdministratorError, OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.filters import FilterError, WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import list_workflows, running_workflows, watch_workflows
from airflow_provider_workflows.rest.concurrency import FIRST
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import ATTEMPTS, Pause
from tests.plan_runner import run

T = TypeVar("T")
EVERYTHING = WorkflowFilter()
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
UNREACHABLE = NotConnectedError("x")
BUSY = RateLimitError("bizproc.workflow.instances", code="QUERY_LIMIT_EXCEEDED", http_status=503)
LOST = ReplyLostError("bizproc.workflow.instances")
BLOCKED = OperatingTimeLimitError("bizproc.workflow.instances", code="OPERATION_TIME_LIMIT", retry_after=300.0)


def row(number: int, **fields: Any) -> dict[str, Any]:
    """Return a row of the list of running workflows; a higher number started later."""
    return {
        "ID": f"66e412fdc9bd44.{number:08d}",
        "STARTED": (NEW_YEAR + timedelta(minutes=number)).isoformat(),
        "TEMPLATE_ID": str(1 + number % 3),
        "STARTED_BY": "0",
        "DOCUMENT_ID": f"DEAL_{number}",
        "OWNED_UNTIL": None,
        **fields,
    }


class Listing:
    """A portal that only lists: honest about its pages, deaf to filters.

    :param rows: its rows, the oldest first.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.requests: list[Call] = []
        #: What becomes of the next requests or commands instead of an answer; ``None`` lets one pass.
        self.troubles: list[ApiError | None] = []
        self.command_troubles: list[ApiError | None] = []

    def __call__(self, call: Call) -> Reply | ApiError:
        """Answer a request."""
        self.requests.append(call)
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble:
            return trouble
        if call.method != "batch":
            return self.page(call)
        return Reply({key: self.command(command) for key, command in call.commands.items()})

    def command(self, call: Call) -> Reply | ApiError:
        """Answer a command of a batch."""
        return (self.command_troubles.pop(0) if self.command_troubles else None) or self.page(call)

    def page(self, call: Call) -> Reply:
        """Return a page."""
        assert call.method == "bizproc.workflow.instances"
        start = call.params["start"]
        following = start + 50 if start + 50 < len(self.rows) else None
        return Reply(self.rows[start : start + 50], total=len(self.rows), next=following, at=NOW)


def ids(found: list[Any]) -> list[str]:
    """Return the ids of workflows or rows."""
    return [one["ID"] if isinstance(one, dict) else one.id for one in found]


class TestListWorkflows:
    @pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 101, 2550, 2551, 5050, 5051])
    def test_every_row_comes_once_and_in_order_in_the_fewest_requests(self, count: int) -> None:
        portal = Listing([row(number) for number in range(count)])
        found = run(list_workflows(EVERYTHING), portal)
        assert ids(found) == ids(portal.rows)
        assert len(portal.requests) == 1 + math.ceil(max(math.ceil(count / 50) - 1, 0) / 50)

    @pytest.mark.parametrize(
        "started",
        [
            ["2026-10-25T00:10:00Z", "2026-10-25T01:00:00Z"],
            # The hour that comes twice when summer ends.
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:10:00+01:00"],
            ["2026-10-25T00:10:00Z", "2026-10-25T00:10:00.5Z"],
        ],
    )
    def test_the_oldest_come_first_whatever_the_order_and_the_offsets_that_the_portal_sends(
        self, started: list[str]
    ) -> None:
        rows = [row(number, STARTED=text) for number, text in enumerate(started)]
        assert ids(run(list_workflows(EVERYTHING), Listing(rows[::-1]))) == ids(rows)

    @pytest.mark.parametrize("unknown", [None, "", "02.01.2026 00:00:00", "2026-01-02"])
    def test_rows_whose_start_cannot_be_told_stay_where_they_are(self, unknown: str | None) -> None:
        rows = [row(3, STARTED=unknown), row(2), row(1)]
        assert ids(run(list_workflows(EVERYTHING), Listing(rows))) == ids(rows)

    def test_the_oldest_are_asked_for_first(self) -> None:
        portal = Listing([row(1)])
        run(list_workflows(WorkflowFilter.parse({"=template_id": "2"})), portal)
        (sent,) = portal.requests
        assert sent.params["ORDER"] == {"STARTED": "asc", "ID": "asc"}
        assert sent.params["FILTER"] == {"TEMPLATE_ID": 2}

    @pytest.mark.parametrize(("limit", "requests"), [(1, 1), (50, 1), (51, 2), (120, 2), (2550, 2), (2551, 3)])
    def test_a_limit_reads_no_more_pages_than_it_needs(self, limit: int, requests: int) -> None:
        portal = Listing([row(number) for number in range(6000)])
        found = run(list_workflows(EVERYTHING, limit=limit), portal)
        assert ids(found) == ids(portal.rows[:limit])
        commands = sum(len(call.commands) or 1 for call in portal.requests)
        assert (len(portal.requests), commands) == (requests, math.ceil(limit / 50))

    @pytest.mark.parametrize("limit", [None, 60])
    def test_a_portal_that_ignores_the_filter_does_not_widen_the_result(self, limit: int | None) -> None:
        portal = Listing([row(number) for number in range(500)])
        found = run(list_workflows(WorkflowFilter.parse({"TEMPLATE_ID": 2}), limit=limit), portal)
        assert {workflow.template_id for workflow in found} == {2}
        assert len(found) == (limit or 167)

    def test_rows_that_come_twice_because_others_were_inserted_before_them_count_once(self) -> None:
        portal = Listing([row(number) for number in range(100, 220)])
        plan = list_workflows(EVERYTHING)

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            if len(portal.requests) == 1:
                portal.rows[:0] = [row(number) for number in range(7)]
            return reply

        found = run(plan, answer)
        assert len(ids(found)) == len(set(ids(found)))
        assert set(ids(found)) >= {row(number)["ID"] for number in range(100, 220)}

    def test_rows_that_vanish_between_pages_do_not_stop_it(self) -> None:
        portal = Listing([row(number) for number in range(2600)])

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            del portal.rows[100:]
            return reply

        assert ids(run(list_workflows(EVERYTHING), answer)) == [row(number)["ID"] for number in range(100)]

    def test_rows_that_are_added_meanwhile_at_the_end_are_read_too(self) -> None:
        portal = Listing([row(number) for number in range(60)])

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            if len(portal.requests) == 1:
                portal.rows += [row(number) for number in range(60, 170)]
            return reply

        assert ids(run(list_workflows(EVERYTHING), answer)) == [row(number)["ID"] for number in range(170)]

    @pytest.mark.parametrize("stuck_at", [0, 50])
    def test_pages_that_do_not_go_on_are_an_error_not_an_endless_loop(self, stuck_at: int) -> None:
        portal = Listing([row(number) for number in range(80)])

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            assert len(portal.requests) < 10
            assert isinstance(reply, Reply)
            return reply if call.method == "batch" else Reply(reply.result, total=None, next=stuck_at, at=NOW)

        with pytest.raises(UnreadableReplyError, match="the pages do not go on"):
            run(list_workflows(EVERYTHING), answer)

    def test_a_portal_that_gives_no_total_is_read_page_by_page(self) -> None:
        portal = Listing([row(number) for number in range(170)])

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            assert isinstance(reply, Reply)
            return Reply(reply.result, next=reply.next)

        assert ids(run(list_workflows(EVERYTHING), answer)) == ids(portal.rows)
        assert len(portal.requests) == 4

    @pytest.mark.parametrize("result", [{"a": 1}, None, True, [1], [{"STARTED": None}], [{"ID": ""}]])
    def test_what_is_no_list_of_rows_is_an_error(self, result: Any) -> None:
        with pytest.raises(UnreadableReplyError):
            run(list_workflows(EVERYTHING), lambda call: Reply(result, total=1))

    def test_a_date_that_cannot_be_checked_ends_it(self) -> None:
        portal = Listing([row(1, STARTED="01.01.2026 00:00:00")])
        with pytest.raises(FilterError, match="the portal sends STARTED as"):
            run(list_workflows(WorkflowFilter.parse({"<STARTED": "2027-01-01"})), portal)

    @pytest.mark.parametrize(
        "trouble", [BUSY, LOST, ServerError("x"), NotConnectedError("x"), UnreadableReplyError("x")]
    )
    def test_a_page_that_fails_in_passing_is_read_again(self, trouble: ApiError) -> None:
        portal = Listing([row(number) for number in range(120)])
        portal.troubles = [trouble, None, trouble]
        pauses: list[Pause] = []
        assert ids(run(list_workflows(EVERYTHING), portal, pauses)) == ids(portal.rows)
        assert 4 <= len(portal.requests) <= 5
        assert all(pause.seconds > 0 for pause in pauses)
        assert len(pauses) == 2

    def test_only_the_commands_of_a_batch_that_failed_are_sent_again(self) -> None:
        portal = Listing([row(number) for number in range(300)])
        portal.command_troubles = [None, BLOCKED, None, ServerError("x")]
        assert ids(run(list_workflows(EVERYTHING), portal)) == ids(portal.rows)
        assert [len(call.commands) for call in portal.requests] == [0, 5, 2]

    @pytest.mark.parametrize("where", ["troubles", "command_troubles"])
    @pytest.mark.parametrize("refusal", [AuthenticationError("x"), NotAdministratorError("x", code="ACCESS_DENIED")])
    def test_a_refusal_that_is_final_ends_it_at_once(self, refusal: ApiError, where: str) -> None:
        portal = Listing([row(number) for number in range(300)])
        setattr(portal, where, [refusal] if where == "command_troubles" else [None, refusal])
        pauses: list[Pause] = []
        with pytest.raises(type(refusal)):
            run(list_workflows(EVERYTHING), portal, pauses)
        assert (len(portal.requests), pauses) == (2, [])

    @pytest.mark.parametrize("first", [[], [None]], ids=["first page", "later pages"])
    @pytest.mark.parametrize("trouble", [UNREACHABLE, LOST])
    def test_a_portal_that_never_answers_is_given_up_after_eight_attempts_without_an_answer(
        self, trouble: ApiError, first: list[None]
    ) -> None:
        portal = Listing([row(number) for number in range(300)])
        portal.troubles = [*first, *[trouble] * 100]
        with pytest.raises(type(trouble)):
            run(list_workflows(EVERYTHING), portal)
        # Each attempt has several requests under way.
        assert len(first) + ATTEMPTS <= len(portal.requests) <= len(first) + ATTEMPTS * FIRST


class TestReadAll:
    def test_it_gives_the_replies_in_the_order_of_the_calls(self) -> None:
        reads = [calls.get_flow(nth) for nth in range(50)]
        fates: Iterator[ApiError | None] = iter([BUSY, None, LOST] * 30)

        def answer(call: Call) -> Reply | ApiError:
            if call.method != "batch":
                return Reply(call.params["flowId"])
            return Reply({key: next(fates, None) or Reply(one.params["flowId"]) for key, one in call.commands.items()})

        assert [reply.result for reply in run(read_all(reads), answer)] == list(range(50))

    def test_it_goes_on_for_as_long_as_some_are_answered(self) -> None:
        reads = [calls.get_flow(nth) for nth in range(20)]

        def answer(call: Call) -> Reply:
            commands = getattr(call, "commands", None) or {"": call}
            (first, reply), *others = ((key, Reply(one.params["flowId"])) for key, one in commands.items())
            return Reply({first: reply} | dict.fromkeys((key for key, _ in others), LOST)) if others else reply

        assert len(run(read_all(reads), answer)) == 20

    def test_one_final_error_among_passing_ones_is_the_one_raised(self) -> None:
        reads = [calls.get_flow(nth) for nth in range(3)]
        outcomes = [BUSY, NotAdministratorError("x"), LOST]
        with pytest.raises(NotAdministratorError):
            run(read_all(reads), lambda call: Reply(dict(zip(call.commands, outcomes, strict=True))))


class TestWatchWorkflows:
    def watch(self, portal: Listing, low: int, high: int | None = None, filters: Any = None) -> tuple[int, Any]:
        counted = run(watch_workflows(WorkflowFilter.parse(filters), min_count=low, max_count=high), portal)
        return counted.count, counted.ids

    @pytest.mark.parametrize(
        ("count", "low", "high", "met"),
        [
            (0, 1, None, False),
            (1, 1, None, True),
            (3, 1, 2, False),
            (2, 1, 2, True),
            (0, 0, 0, True),
            (1, 0, 0, False),
            (99, 100, None, False),
            (100, 100, None, True),
        ],
    )
    def test_it_is_met_when_the_count_is_in_the_range(self, count: int, low: int, high: int | None, met: bool) -> None:
        portal = Listing([row(number) for number in range(count)])
        assert self.watch(portal, low, high) == (count, ids(portal.rows) if met else None)

    def test_counting_takes_one_request_of_one_small_page(self) -> None:
        portal = Listing([row(number) for number in range(5000)])
        assert self.watch(portal, 0, 10) == (5000, None)
        (sent,) = portal.requests
        assert sent.params["SELECT"] == ["ID", "STARTED"]

    def test_the_fields_that_are_filtered_by_are_read_so_that_they_can_be_checked(self) -> None:
        portal = Listing([])
        self.watch(portal, 1, None, {"<STARTED": "2026-01-01", "TEMPLATE_ID": 1})
        assert portal.requests[0].params["SELECT"] == ["ID", "STARTED", "TEMPLATE_ID"]

    def test_no_more_than_the_thousand_oldest_ids_are_read(self) -> None:
        portal = Listing([row(number) for number in range(5000)])
        assert self.watch(portal, 1) == (5000, ids(portal.rows[:1000]))
        assert len(portal.requests) == 2

    def test_a_portal_that_ignores_the_filter_does_not_widen_the_count(self) -> None:
        portal = Listing([row(number) for number in range(300)])
        assert self.watch(portal, 101, None, {"TEMPLATE_ID": 2}) == (100, None)
        assert self.watch(portal, 100, 100, {"TEMPLATE_ID": 2}) == (100, ids(portal.rows[1::3]))

    def test_nor_does_one_whose_oldest_rows_happen_to_match(self) -> None:
        portal = Listing([row(number) for number in range(300)])
        middle = {"<STARTED": row(60)["STARTED"]}
        assert self.watch(portal, 100, None, middle) == (60, None)
        assert self.watch(portal, 1, None, middle) == (60, ids(portal.rows[:60]))

    def test_workflows_that_end_between_the_pages_are_not_counted(self) -> None:
        portal = Listing([row(number) for number in range(120)])

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            del portal.rows[80:]
            return reply

        counted = run(watch_workflows(EVERYTHING, min_count=100, max_count=None), answer)
        assert (counted.count, counted.ids) == (80, None)

    @pytest.mark.parametrize("reply", [Reply([]), Reply("x", total=1), Reply([{}], total=1)])
    def test_a_reply_that_does_not_tell_the_count_is_an_error(self, reply: Reply) -> None:
        with pytest.raises(UnreadableReplyError):
            run(watch_workflows(EVERYTHING, min_count=0, max_count=0), lambda call: reply)


class TestStuckFor:
    """The portal's clock is ahead of the machine's by so many seconds; a request takes some, too."""

    @staticmethod
    def cutoffs(ahead: float | None, takes: float = 0.0) -> list[float]:
        """Return of each request how long ago a lock must have ended, by the portal's clock."""
        begun = datetime.now(UTC)
        now, asked = begun.timestamp(), []

        def answer(call: Call) -> Reply:
            nonlocal now
            at = None if ahead is None else datetime.fromtimestamp(now + ahead, UTC)
            cutoff = datetime.fromisoformat(call.params["FILTER"]["<OWNED_UNTIL"])
            asked.append((begun + timedelta(seconds=ahead or 0) - cutoff).total_seconds())
            now += takes
            return Reply([], 0, at=at)

        wanted = WorkflowFilter.parse(stuck_for=timedelta(minutes=5))
        assert run(list_workflows(wanted), answer, now=lambda: now) == []
        return asked

    @pytest.mark.parametrize(("ahead", "takes"), [(0.0, 0.0), (4.0, 0.0), (-4.0, 0.0), (0.0, 60.0)])
    def test_clocks_that_agree_take_one_request(self, ahead: float, takes: float) -> None:
        assert len(self.cutoffs(ahead, takes)) == 1

    @pytest.mark.parametrize("takes", [0.0, 3.0, 60.0])
    @pytest.mark.parametrize("ahead", [-200_000.0, -3600.0, -90.0, 90.0, 3600.0, 80_000.0])
    def test_where_they_differ_the_portals_counts(self, ahead: float, takes: float) -> None:
        cutoffs = self.cutoffs(ahead, takes)
        assert len(cutoffs) == 2
        assert 299 <= cutoffs[1] <= 312 + takes

    def test_a_portal_that_does_not_tell_its_time_is_an_error(self) -> None:
        with pytest.raises(UnreadableReplyError, match="lacks the portal's time"):
            self.cutoffs(None)

    def test_so_is_one_that_is_days_ahead(self) -> None:
        with pytest.raises(UnreadableReplyError, match="the portal's clock"):
            self.cutoffs(200_000.0)

    def test_of_other_filters_no_time_is_asked(self) -> None:
        wanted = WorkflowFilter.parse({"<OWNED_UNTIL": "2026-01-01"})
        assert run(list_workflows(wanted), lambda call: Reply([], 0)) == []

    def test_a_moment_by_the_portals_clock_is_taken_as_it_is(self) -> None:
        wanted = WorkflowFilter.parse(stuck_for=timedelta(minutes=5), now=NEW_YEAR)
        assert run(list_workflows(wanted), lambda call: Reply([], 0)) == []


class TestRunningWorkflows:
    def test_it_tells_which_run_in_one_request_for_fifty(self) -> None:
        wanted = [row(number)["ID"] for number in range(120)]
        running = set(wanted[::2])
        requests = []

        def one(call: Call) -> Reply:
            workflow_id = call.params["FILTER"]["ID"]
            rows = [{"ID": workflow_id}] if workflow_id in running else []
            return Reply(rows, total=len(rows))

        def answer(call: Call) -> Reply:
            requests.append(call)
            return Reply({key: one(command) for key, command in call.commands.items()})

        assert run(running_workflows(wanted), answer) == running
        assert [len(call.commands) for call in requests] == [50, 50, 20]

    def test_of_no_ids_none_runs_and_nothing_is_sent(self) -> None:
        assert run(running_workflows([]), Listing([row(1)])) == set()

    def test_a_portal_that_ignores_the_filter_by_id_is_an_error(self) -> None:
        with pytest.raises(UnreadableReplyError, match="does not filter workflows by ID"):
            run(running_workflows([row(7)["ID"]]), Listing([row(number) for number in range(3)]))


class TestCheckWorkflowIds:
    def test_repetitions_are_left_out_and_the_order_is_kept(self) -> None:
        assert check_workflow_ids(["b.2", "a.1", "b.2", "a.1"]) == ["b.2", "a.1"]

    @pytest.mark.parametrize("bad", ["", " ", "a b", "a/b", "../x", "a&b", "ü", "a\n", "x" * 33, None, 7, 1.5, ["a"]])
    def test_what_cannot_be_an_id_is_refused(self, bad: Any) -> None:
        with pytest.raises((ValueError, TypeError)):
            check_workflow_ids(["66e412fdc9bd44.36306599", bad])

    @given(st.text(alphabet="0123456789abcdef.", min_size=1, max_size=32))
    def test_whatever_looks_like_one_is_taken(self, workflow_id: str) -> None:
        assert check_workflow_ids([workflow_id]) == [workflow_id]
