"""A nightly clean-up from the first list to the last look, with everything that can happen on the way."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import TokenExpiredError
from airflow_provider_workflows.operators.bitrix24 import (
    KillWorkflowOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.simulator.bitrix24 import listing
from airflow_provider_workflows.simulator.faults import KINDS
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from tests.operators.remote import TaskInstance, VirtualTime, failed_ids, refused

OLD = {"<STARTED": "2026-01-01"}
#: Faults that a task gets over by itself, with the options that make each of them hurt.
PASSING: list[tuple[str, dict[str, Any]]] = [
    ("refused", {}),
    ("slow", {"seconds": 0.4, "done": False}),
    ("slow", {"seconds": 0.4, "done": True}),
    ("lost_before", {}),
    ("lost_after", {}),
    ("cut_after_commands", {"n": 1}),
    ("error_500", {"done": True}),
    ("error_500", {"code": "ERROR_UNEXPECTED_ANSWER"}),
    ("html", {"status": 502, "done": True}),
    ("html", {"status": 200}),
    ("truncated", {}),
    ("empty_body", {}),
    ("missing_key", {"index": 1}),
    ("missing_key", {"index": 1, "done": False}),
    ("operating_limit", {}),
]
#: Faults that somebody has to look at; "blocked" is Domo's.
LASTING: list[tuple[str, dict[str, Any]]] = [("redirect", {}), ("error", {"status": 403, "code": "ACCESS_DENIED"})]


def running(control: Control) -> set[str]:
    """Return the ids of the workflows that run."""
    rows = control.state()["bitrix24"]["workflows"]
    return {id for id, row in rows.items() if row["state"] == "running"}


def add(control: Control, old: int, new: int) -> tuple[set[str], set[str]]:
    """Put old and new workflows into the portal."""
    rows = [
        {"ID": f"0ld.{nth:08d}", "STARTED": "2025-06-01T00:00:00Z", "TEMPLATE_ID": 1 + nth % 3} for nth in range(old)
    ]
    rows += [{"ID": f"ae3.{nth:08d}", "STARTED": "2026-06-01T00:00:00Z"} for nth in range(new)]
    ids = control.add_workflows(rows)
    return set(ids[:old]), set(ids[old:])


def listed(context: Any) -> Any:
    """Run the task that lists what is old."""
    return ListWorkflowsOperator(task_id="list", filters=OLD).execute(context)


def clean_up(context: Any, filters: Any = None) -> tuple[Any, Any, bool]:
    """List, terminate what was listed, look again; give what each step returned."""
    filters = filters or OLD
    rows = ListWorkflowsOperator(task_id="list", filters=filters).execute(context)
    report = TerminateWorkflowOperator(task_id="end", workflow_id=rows, status="cleaned up").execute(context)
    look = RunningWorkflowsSensor(task_id="gone", filters=filters, min_count=0, max_count=0).poke(context)
    return rows, report, look.is_done


def with_retries(task: Callable[[], Any], tries: int = 3) -> Any:
    """Run a task as Airflow does, again after it failed."""
    for _ in range(tries - 1):
        try:
            return task()
        except Exception:  # noqa: S110
            pass
    return task()


class TestInPeace:
    def test_what_is_old_is_gone_and_what_is_new_runs_on(self, control: Control, context: Any) -> None:
        old, new = add(control, 130, 70)
        rows, report, gone = clean_up(context)
        assert {row["ID"] for row in rows} == set(report["ended_ids"]) == old
        assert (gone, running(control)) == (True, new)
        texts = Counter(row["status_text"] for row in control.state()["bitrix24"]["workflows"].values())
        assert texts == {"cleaned up": 130, None: 70}

    def test_the_next_night_there_is_nothing_to_do(self, control: Control, context: Any) -> None:
        add(control, 60, 5)
        clean_up(context)
        rows, report, gone = clean_up(context)
        assert (rows, report["requested"], gone) == ([], 0, True)
        assert len(control.journal("terminate")) == 60

    def test_what_ends_between_list_and_end_is_no_failure(self, control: Control, context: Any) -> None:
        old, _ = add(control, 60, 0)
        rows = listed(context)
        by_itself = sorted(old)[::3]
        control.finish_workflows(by_itself)
        report = KillWorkflowOperator(task_id="end", workflow_id=rows).execute(context)
        assert sorted(report["already_ended_ids"]) == by_itself
        assert sorted(report["ended_ids"]) == sorted(old - set(by_itself))

    def test_what_starts_between_list_and_end_runs_on(self, control: Control, context: Any) -> None:
        add(control, 3, 0)
        rows = listed(context)
        control.add_workflows([{"ID": "late.1", "STARTED": "2025-06-01T00:00:00Z"}])
        KillWorkflowOperator(task_id="end", workflow_id=rows).execute(context)
        assert running(control) == {"late.1"}

    def test_only_the_stuck_ones_of_a_template_are_ended(self, control: Control, context: Any) -> None:
        control.generate_workflows(300, stuck=40, templates=2)
        stuck = ListWorkflowsOperator(
            task_id="list", filters={"TEMPLATE_ID": 1}, stuck_for=timedelta(minutes=5)
        ).execute(context)
        assert 0 < len(stuck) < 40
        TerminateWorkflowOperator(task_id="end", workflow_id=stuck).execute(context)
        rows = control.state()["bitrix24"]["workflows"].values()
        ended = [row for row in rows if row["state"] == "terminated"]
        assert all(row["TEMPLATE_ID"] == "1" and row["OWNED_UNTIL"] for row in ended)
        assert (len(ended), control.summary()["bitrix24"]["stuck"]) == (len(stuck), 40 - len(stuck))

    def test_a_misspelt_filter_ends_nothing(self, control: Control, context: Any) -> None:
        old, new = add(control, 60, 5)
        with pytest.raises(ValueError, match="'<STARTD'"):
            clean_up(context, {"<STARTD": "2026-01-01"})
        assert (running(control), control.requests()) == (old | new, [])

    def test_a_portal_that_ignores_the_filter_loses_nothing_that_is_new(
        self, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, new = add(control, 60, 60)
        understood = listing.conditions

        def deaf_to_dates(given: Any, *rest: Any) -> Any:
            return understood({key: value for key, value in given.items() if key == "ID"}, *rest)

        monkeypatch.setattr(listing, "conditions", deaf_to_dates)
        _, report, _ = clean_up(context)
        assert len(report["ended_ids"]) == 60
        assert running(control) == new


class TestWithFaults:
    def test_there_is_a_case_for_every_kind_of_fault(self) -> None:
        assert {kind for kind, _ in PASSING + LASTING} | {"blocked", "others", "reply", "strange_time"} == set(KINDS)

    @pytest.mark.parametrize(("fault", "options"), PASSING)
    def test_it_gets_over_a_passing_one_by_itself(
        self, control: Control, connect: Any, context: Any, fault: str, options: dict
    ) -> None:
        if fault == "slow":
            code = control.settings()["webhook_code"]
            connect("BITRIX24_DEFAULT", login="1", password=code, extra=json.dumps({"read_timeout": 0.15}))
        old, new = add(control, 120, 70)
        for skip in (0, 1):
            control.inject(fault, skip=skip, times=2, **options)
        rows, report, gone = clean_up(context)
        assert any(entry["fault"] == fault for entry in control.requests())
        assert {row["ID"] for row in rows} == old
        assert (gone, report["failed"], running(control)) == (True, 0, new)
        assert Counter(effect["id"] for effect in control.journal("terminate")) == Counter(old)

    @pytest.mark.parametrize(("fault", "options"), LASTING)
    def test_a_lasting_one_ends_it_with_a_report_and_the_next_night_goes_on(
        self, control: Control, context: Any, ti: TaskInstance, fault: str, options: dict
    ) -> None:
        old, new = add(control, 120, 5)
        rows = listed(context)
        place: dict[str, Any] = {"method": "batch", "skip": 1}
        control.inject(fault, **place, times=1, **options)
        with refused(NotAllEndedError):
            TerminateWorkflowOperator(task_id="end", workflow_id=rows).execute(context)
        report = ti.xcoms["return_value"]
        assert set(failed_ids(report)) | new == running(control)
        assert set(report["ended_ids"]) == old - set(failed_ids(report))
        clean_up(context)
        assert running(control) == new
        assert Counter(effect["id"] for effect in control.journal("terminate")) == Counter(old)

    def test_a_task_that_fails_altogether_is_done_by_its_next_try(self, control: Control, context: Any) -> None:
        old, new = add(control, 120, 5)
        rows = listed(context)
        control.inject("lost_after", method="batch", skip=1)
        control.inject("lost_before", containing="bizproc.workflow.instances", times=10)
        operator = TerminateWorkflowOperator(task_id="end", workflow_id=rows)
        report = with_retries(lambda: operator.execute(context))
        assert sorted([*report["ended_ids"], *report["already_ended_ids"]]) == sorted(old)
        assert running(control) == new
        assert Counter(effect["id"] for effect in control.journal("terminate")) == Counter(old)


class TestAtTheLimit:
    def test_a_portal_that_takes_few_requests_is_waited_for(
        self, control: Control, context: Any, clock: VirtualTime
    ) -> None:
        control.configure(bucket_capacity=2, bucket_drain=0.5)
        old, new = add(control, 600, 5)
        began = clock.time()
        _, report, gone = clean_up(context)
        assert (set(report["ended_ids"]), gone, running(control)) == (old, True, new)
        # Fifteen requests at the least, of which two may go at once and the others one each two seconds.
        assert clock.time() - began >= 2 * (15 - 2) - 1

    @pytest.mark.parametrize("model", ["documented", "ban"])
    def test_a_method_whose_time_is_used_up_is_waited_for(
        self, control: Control, context: Any, clock: VirtualTime, model: str
    ) -> None:
        control.configure(operating_model=model, operating_limit=480.0, operating_per_command=12.0)
        old, new = add(control, 180, 5)
        began = clock.time()
        rows = listed(context)
        report = TerminateWorkflowOperator(task_id="end", workflow_id=rows).execute(context)
        assert (set(report["ended_ids"]), running(control)) == (old, new)
        assert clock.time() - began >= 290


class TestWithAccessToken:
    @pytest.fixture
    def control(self, control: Control, connect: Any) -> Control:
        """Return the control of a portal to which an access token leads, instead of a webhook."""
        connect("BITRIX24_DEFAULT", extra=json.dumps({"access_token": "sim0access0token"}))
        return control

    def test_it_is_as_good_as_a_webhook(self, control: Control, context: Any) -> None:
        control.configure(webhook_known=False)
        old, new = add(control, 130, 70)
        _, report, gone = clean_up(context)
        assert (set(report["ended_ids"]), gone, running(control)) == (old, True, new)

    def test_one_that_expires_on_the_way_ends_the_task_and_a_fresh_one_finishes_it(
        self, control: Control, connect: Any, context: Any, ti: TaskInstance
    ) -> None:
        old, new = add(control, 130, 70)
        rows = listed(context)
        control.expire_tokens()
        operator = TerminateWorkflowOperator(task_id="end", workflow_id=rows)
        with refused(TokenExpiredError, match="Put a fresh access token into the connection") as expired:
            operator.execute(context)
        assert "sim0access0token" not in str(expired.value) + str(ti.xcoms)
        assert ti.xcoms["return_value"]["failed"] == len(old)
        assert running(control) == old | new

        settings = control.settings()
        query = {
            "grant_type": "refresh_token",
            "client_id": settings["client_id"],
            "client_secret": settings["client_secret"],
            "refresh_token": "sim0refresh0token",
        }
        with urllib.request.urlopen(f"{control.url}/oauth/token/?{urllib.parse.urlencode(query)}") as reply:  # noqa: S310
            connect("BITRIX24_DEFAULT", extra=json.dumps({"access_token": json.load(reply)["access_token"]}))
        again = TerminateWorkflowOperator(task_id="end", workflow_id=rows)
        assert set(again.execute(context)["ended_ids"]) == old
        assert running(control) == new
