"""Clean-up without HTTP: what is ended, what is left, and what the report says of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import Bitrix24Client, Portal, calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.clean_up import CleanUp, CleanUpReport, TooManyWorkflowsError, clean_up
from airflow_provider_workflows.bitrix24.errors import NotAdministratorError
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.selecting import matching
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.simulator import Simulator
from tests.operators.remote import INSTALLED, VirtualTime, install
from tests.plan_runner import run

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = {"TEMPLATE_ID": 7}


class PortalOfRows:
    """A portal that lists its rows, and ends them.

    :param rows: fields of the running workflows.
    :param filters: whether it filters as asked.
    :param on_end: is told each id that a call ends; says whether the workflow really stops.
    """

    def __init__(
        self, rows: list[dict[str, Any]], filters: bool = True, on_end: Callable[[str], bool] = lambda _: True
    ) -> None:
        self.rows = {row["ID"]: row for row in rows}
        self.on_end = on_end
        self.filters = filters
        self.requests: list[Call] = []
        self.error: ApiError | None = None

    def __call__(self, call: Call) -> Reply | ApiError:
        """Answer a request."""
        self.requests.append(call)
        if self.error and any("instances" not in command.method for command in (call.commands or {"": call}).values()):
            return self.error
        if call.commands:
            return Reply({key: self._do(command) for key, command in call.commands.items()})
        return self._do(call)

    def _do(self, call: Call) -> Reply:
        if call.method == "bizproc.workflow.instances":
            wanted = call.params["FILTER"]
            found = [row for row in self.rows.values() if not self.filters or _matches(row, wanted)]
            start = call.params["start"]
            following = start + 50 if start + 50 < len(found) else None
            return Reply(found[start : start + 50], total=len(found), next=following)
        if self.on_end(call.params["ID"]):
            del self.rows[call.params["ID"]]
        return Reply(True)

    def ended(self) -> Counter[str]:
        """Return how often each id was to be ended by a call."""
        commands = [command for call in self.requests for command in (call.commands or {"": call}).values()]
        return Counter(command.params["ID"] for command in commands if "ID" in command.params)


def _matches(row: dict[str, Any], wanted: Any) -> bool:
    return all(str(row[field.lstrip("=")]) == str(value) for field, value in wanted.items())


def rows(count: int, template: int = 7, started: str | None = "2024-01-01T00:00:00+00:00") -> list[dict[str, Any]]:
    """Return so many running workflows."""
    return [
        {"ID": f"{template:x}d.{nth:08d}", "TEMPLATE_ID": str(template), "STARTED": started} for nth in range(count)
    ]


def do(portal: Any, **options: Any) -> CleanUpReport:
    """Terminate the workflows of template 7."""
    return run(
        clean_up(matching(WorkflowFilter.parse(OLD)), calls.terminate_workflow, **options), portal, now=NOW.timestamp
    )


class TestWhatIsEnded:
    @pytest.mark.parametrize("filters", [True, False])
    def test_what_matches_and_nothing_else_even_where_the_portal_ignores_the_filter(self, filters: bool) -> None:
        old, others = rows(120), rows(30, template=8)
        portal = PortalOfRows(others[:15] + old + others[15:], filters=filters)
        report = do(portal)
        assert portal.ended() == {row["ID"]: 1 for row in old}
        assert sorted(report.end.ended) == sorted(row["ID"] for row in old)
        assert list(portal.rows) == [row["ID"] for row in others]

    @pytest.mark.parametrize("count", [0, 1, 130])
    def test_a_dry_run_only_reads(self, count: int) -> None:
        portal = PortalOfRows(rows(count))
        report = do(portal, dry_run=True, max_workflows=1)
        assert (report.found, report.end.dry_run, report.end.ended, report.end.failed) == (count, True, [], {})
        assert portal.ended() == {}
        assert len(portal.rows) == count

    def test_one_too_many_and_none_is_ended(self) -> None:
        portal = PortalOfRows(rows(51))
        with pytest.raises(TooManyWorkflowsError, match="51 workflows match, more than max_workflows=50"):
            do(portal, max_workflows=50)
        assert portal.ended() == {}


class TestAPause:
    def test_what_an_earlier_try_may_have_ended_is_kept_once(self) -> None:
        work = CleanUp(listed=True)
        work.count_earlier([], ["7d.00000001"])
        work = CleanUp.load(work.save())
        work.count_earlier([], ["7d.00000001"])
        assert work.save()["left"] == ["7d.00000001"]

    def test_and_it_is_one_of_those_that_were_to_be_ended(self) -> None:
        work = CleanUp(listed=True, began=NOW.timestamp(), left=["7d.00000001"], was_paused=True)
        work.count_earlier([], ["7d.00000001", "7d.00000002"])
        report = do(PortalOfRows([]), so_far=work)
        assert (report.end.requested, report.end.already_ended) == (2, ["7d.00000001", "7d.00000002"])


class TestTheReport:
    def test_one_that_runs_on_although_the_portal_confirmed_its_end_has_failed(self) -> None:
        stubborn = "7d.00000070"
        portal = PortalOfRows(rows(120), on_end=lambda workflow_id: workflow_id != stubborn)
        report = do(portal)
        assert report.end.failed == {stubborn: "the end was confirmed, but it still runs"}
        assert stubborn not in report.end.ended
        assert len(report.end.ended) == 119
        assert report.appeared == []
        assert portal.ended()[stubborn] == 1

    def test_one_that_starts_meanwhile_is_told_and_left(self) -> None:
        late = {**rows(1, started=(NOW + timedelta(seconds=1)).isoformat())[0], "ID": "ffff.00000001"}

        def and_another_starts(_: str) -> bool:
            portal.rows[late["ID"]] = late
            return True

        portal = PortalOfRows(rows(3), on_end=and_another_starts)
        report = do(portal)
        assert (report.found, len(report.end.ended), report.appeared) == (3, 3, [late["ID"]])
        assert list(portal.rows) == [late["ID"]]
        assert late["ID"] not in portal.ended()

    def test_templates_and_ages_are_counted_the_most_frequent_first(self) -> None:
        starts = {"over a year": 366, "over 90 days": 91, "over 30 days": 31, "over 7 days": 8, "up to 7 days": 7}
        portal = PortalOfRows([])
        for nth, days in enumerate(starts.values()):
            started = (NOW - timedelta(days=days)).isoformat()
            portal.rows |= {f"{nth}.{row['ID']}": {**row, "ID": f"{nth}{row['ID']}"} for row in rows(1, 7, started)}
        portal.rows |= {f"x.{row['ID']}": {**row, "ID": f"a{row['ID']}"} for row in rows(2, 7, None)}
        report = do(portal, dry_run=True)
        assert report.by_age == {"unknown": 2} | dict.fromkeys(starts, 1)
        assert next(iter(report.by_age)) == "unknown"
        assert report.by_template == {"7": 7}

    def test_it_is_json_and_shows_twenty(self) -> None:
        report = do(PortalOfRows(rows(130))).json()
        assert json.loads(json.dumps(report)) == report
        assert [one["id"] for one in report["sample"]] == [f"7d.{nth:08d}" for nth in range(20)]
        assert report["sample"][0]["template_id"] == 7
        assert datetime.fromisoformat(report["sample"][0]["started"]) == datetime(2024, 1, 1, tzinfo=UTC)
        assert (report["requested"], report["ended"]) == (130, 130)

    def test_after_what_stopped_it_nothing_more_is_sent(self) -> None:
        portal = PortalOfRows(rows(130))
        portal.error = NotAdministratorError("batch", code="ACCESS_DENIED")
        report = do(portal)
        assert report.end.stopped_by is portal.error
        assert sorted(report.end.failed) == sorted(portal.rows)
        assert "instances" not in str(portal.requests[-1].commands)


#: What can go wrong with a request. After those that last, the task's next run has to finish.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("refused", {"retry_after": 3}),
    ("slow", {"seconds": 0.02}),
    ("lost_before", {}),
    ("lost_after", {}),
    ("cut_after_commands", {"n": 1}),
    ("cut_after_commands", {"n": 49}),
    ("error_500", {"done": True}),
    ("error_500", {"done": False}),
    ("html", {"status": 200, "done": True}),
    ("truncated", {}),
    ("redirect", {}),
    ("empty_body", {"done": False}),
    ("missing_key", {"index": 49}),
    ("missing_key", {"index": 0, "done": False}),
    ("operating_limit", {"method": "batch"}),
    ("operating_limit", {"method": "bizproc.workflow.terminate"}),
    ("operating_limit", {"method": "bizproc.workflow.kill"}),
    ("error", {"method": "batch", "status": 503, "code": "OVERLOAD_LIMIT"}),
    ("error", {"method": "bizproc.workflow.instances", "status": 403, "code": "ACCESS_DENIED"}),
]
faults = st.tuples(st.sampled_from(FAULTS), st.integers(0, 9), st.integers(1, 3))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(faults, faults, st.sampled_from(["terminate", "kill"]), st.sampled_from([1, 4]))
def test_whatever_two_things_go_wrong_over_http_each_is_ended_once(
    monkeypatch: pytest.MonkeyPatch, one: Any, other: Any, action: str, in_flight: int
) -> None:
    end = {"terminate": calls.terminate_workflow, "kill": calls.kill_workflow}[action]
    with monkeypatch.context() as patch, Simulator(clock=INSTALLED) as simulator:
        install(VirtualTime(), patch)
        control = simulator.control
        ids = control.add_workflows([{"TEMPLATE_ID": 7}] * 300)
        control.add_workflows([{"TEMPLATE_ID": 8}] * 60)
        for (kind, options), skip, times in (one, other):
            control.inject(kind, vendor="bitrix24", skip=skip, times=times, **options)
        portal = Portal.from_webhook_url(f"{control.url}/rest/1/{control.settings()['webhook_code']}/")
        for _ in range(10):
            running = {id for id, row in control.state()["bitrix24"]["workflows"].items() if row["state"] == "running"}
            still = running & set(ids)
            with Bitrix24Client(portal, in_flight=in_flight, clock=Bitrix24Hook.clock) as client:
                try:
                    report = client.run(clean_up(matching(WorkflowFilter.parse(OLD)), end)).end
                except ApiError:
                    continue
            # What the report says is so, whether or not this run was enough.
            told = [*report.ended, *report.already_ended, *report.failed]
            assert Counter(told) == dict.fromkeys(still, 1)
            gone = still - {
                id for id, row in control.state()["bitrix24"]["workflows"].items() if row["state"] == "running"
            }
            assert {*report.ended, *report.already_ended} <= gone
            assert all(report.failed.values())
            if not report.failed:
                break
        else:
            pytest.fail("two passing faults keep it from finishing")
        assert Counter(entry["id"] for entry in control.journal(action)) == dict.fromkeys(ids, 1)
        assert len(control.journal()) == len(ids)
