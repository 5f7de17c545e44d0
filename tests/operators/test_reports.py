"""The account of what was ended: kept however the task ends, in XCom, in the record, and for the retry's report."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpWorkflowsOperator,
    KillWorkflowOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.rest.ending import PERHAPS_ENDED, EndReport
from airflow_provider_workflows.rest.errors import ApiError, ArgumentError
from airflow_provider_workflows.rest.plans import ATTEMPTS
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks import earlier_tries
from airflow_provider_workflows.tasks.earlier_tries import IDS_PER_KEY
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from tests.operators.remote import TaskInstance, refused

try:
    from airflow.sdk.io import attach
except ImportError:
    from airflow.io.store import attach  # type: ignore[import-not-found,no-redef,unused-ignore]

UNKNOWN = "66e412fdc9bd44.99999999"


def add(control: Control, count: int, **fields: Any) -> list[str]:
    """Put running workflows into the portal."""
    return control.add_workflows([{"ID": f"66e412fdc9bd44.{number:08d}", **fields} for number in range(count)])


def running(control: Control) -> set[str]:
    """Return the ids of the workflows that run."""
    return {id for id, row in control.state()["bitrix24"]["workflows"].items() if row["state"] == "running"}


def kill(context: Any, ids: Any, **how: Any) -> Any:
    """Run a task that kills workflows."""
    return KillWorkflowOperator(task_id="kill", workflow_id=ids, **how).execute(context)


def lines(path: Any) -> list[dict[str, Any]]:
    """Read a record."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Store(dict[str, Any]):
    """Airflow's task state store."""

    broken = False

    def set(self, key: str, value: Any) -> None:
        """Keep a value that is small enough for Airflow."""
        if self.broken:
            raise RuntimeError("no API server")
        text = json.dumps(value)
        assert len(text) < 65_535
        self[key] = json.loads(text)


@pytest.fixture
def store(context: Any) -> Store:
    """Give the context a task state store."""
    context["task_state_store"] = Store()
    return context["task_state_store"]  # type: ignore[no-any-return]


class TestTheRecord:
    def test_it_tells_before_anything_is_ended_what_is_and_afterwards_what_became_of_it(
        self, control: Control, context: Any, tmp_path: Path
    ) -> None:
        ids = add(control, 2, TEMPLATE_ID=7, STARTED="2025-06-01T00:00:00Z", STARTED_BY=3, DOCUMENT_ID="DEAL_1")
        path = tmp_path / "records" / "kill.jsonl"
        kill(context, [*ids, UNKNOWN], record_path=str(path))
        task = {"dag": "dag", "run": "run", "task": "task", "map_index": -1, "try": 1}
        told = [{name: value for name, value in line.items() if name != "time"} for line in lines(path)]
        row = {"template": 7, "document": "DEAL_1", "started": "2025-06-01T02:00:00+02:00", "started_by": 3}
        assert told == [
            *({**task, "event": "about to end", "id": one, **row} for one in ids),
            {**task, "event": "about to end", "id": UNKNOWN},
            *({**task, "event": "ended", "id": one} for one in ids),
            {**task, "event": "already_ended", "id": UNKNOWN},
        ]

    def test_if_it_cannot_be_written_nothing_is_ended(
        self, control: Control, context: Any, ti: TaskInstance, tmp_path: Path
    ) -> None:
        ids = add(control, 2)
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            kill(context, ids, record_path=str(tmp_path / "file" / "kill.jsonl"))
        assert running(control) == set(ids)
        assert (ti.xcoms["return_value"]["ended"], ti.xcoms["return_value"]["failed"]) == (0, 2)

    def test_a_retry_adds_to_it(self, control: Control, context: Any, tmp_path: Path) -> None:
        ids = add(control, 2)
        path = tmp_path / "kill.jsonl"
        control.inject("error", method="bizproc.workflow.kill", id=ids[1], code="ERROR_CORE_X", description="Nein")
        for _ in range(2):
            try:
                kill(context, ids, record_path=str(path))
            except AirflowFailException:
                continue
        events = [(line["event"], line["id"]) for line in lines(path)]
        about = [("about to end", one) for one in ids]
        assert events == [
            *about, ("ended", ids[0]), ("failed", ids[1]), *about, ("ended", ids[1]), ("already_ended", ids[0]),
        ]  # fmt: skip
        assert "Nein" in next(line["reason"] for line in lines(path) if line["event"] == "failed")

    def test_what_it_adds_is_whole_though_a_full_disk_has_left_half_a_line(
        self, control: Control, context: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "kill.jsonl"
        path.write_text('{"time": "2026')
        kill(context, add(control, 1), record_path=str(path))
        half, *whole = path.read_text().splitlines()
        assert half == '{"time": "2026'
        assert [json.loads(line)["event"] for line in whole] == ["about to end", "ended"]

    def test_in_an_object_store_too(self, control: Control, context: Any) -> None:
        ids = add(control, 2)
        # Airflow 2 knows no objects in memory by itself.
        attach("memory", fs=MemoryFileSystem())
        for nth in range(2):
            kill(context, ids[nth], record_path="memory://bucket/kill.jsonl")
        events = [(line["event"], line["id"]) for line in lines(ObjectStoragePath("memory://bucket/kill.jsonl"))]
        assert events == [(event, one) for one in ids for event in ("about to end", "ended")]

    def test_whatever_ends_the_task_the_outcomes_are_in_it(
        self, control: Control, context: Any, tmp_path: Path, strike: Callable[..., None]
    ) -> None:
        ids = add(control, 60)
        strike(AirflowTaskTimeout("timeout"), after=1)
        with pytest.raises(AirflowTaskTimeout):
            kill(context, ids, record_path=str(tmp_path / "kill.jsonl"))
        outcomes = {line["id"]: line["event"] for line in lines(tmp_path / "kill.jsonl")}
        assert list(outcomes.values()).count("ended") == 1
        assert set(outcomes) == set(ids)

    def test_of_domo_instances(self, control: Control, context: Any, tmp_path: Path) -> None:
        (one,) = control.add_domo_instances([{"status": "IN_PROGRESS"}])
        path = tmp_path / "cancel.jsonl"
        with refused(NotAllEndedError):
            DomoCancelOperator(task_id="cancel", instance_id=[one, "no-such"], record_path=str(path)).execute(context)
        about, unreadable, *outcomes = lines(path)
        assert (about["id"], about["status"]) == (one, "IN_PROGRESS")
        assert {"modelId", "createdOn"} <= about.keys()
        assert "HTTP 404" in unreadable["unreadable"]
        assert [(line["event"], line["id"]) for line in outcomes] == [("ended", one), ("failed", "no-such")]


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what has an exception strike the task after so many were noted as ended."""

    def strike(error: BaseException, after: int) -> None:
        end = EndReport.end

        def and_strike(self: EndReport, id: str) -> None:
            end(self, id)
            if len(self.ended) >= after:
                raise error

        monkeypatch.setattr(EndReport, "end", and_strike)

    return strike


class TestHoweverTheTaskEnds:
    @pytest.mark.parametrize("error", [AirflowTaskTimeout("timeout"), KeyboardInterrupt(), RuntimeError("bug")])
    def test_the_report_is_pushed_and_counts_what_is_known(
        self, control: Control, context: Any, ti: TaskInstance, strike: Callable[..., None], error: BaseException
    ) -> None:
        ids = add(control, 3)
        strike(error, after=2)
        with pytest.raises(type(error)):
            kill(context, ids)
        report = ti.xcoms["return_value"]
        assert (report["requested"], report["ended_ids"], report["failed"]) == (3, ids[:2], 1)

    def test_an_xcom_that_cannot_be_pushed_hides_no_error(
        self, control: Control, context: Any, strike: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = add(control, 1)
        strike(AirflowTaskTimeout("timeout"), after=1)

        def refuse(key: str, value: Any) -> None:
            if key == "return_value":
                raise RuntimeError("no API server")

        context["ti"].xcom_push = refuse
        with caplog.at_level(logging.INFO), pytest.raises(AirflowTaskTimeout):
            kill(context, ids)
        assert "The task was stopped by AirflowTaskTimeout before it was done. Of 1 requested: 1 ended" in caplog.text
        assert ids[0] in caplog.text


class TestTheReportOfARetry:
    """From Airflow 3.3 on it holds what earlier tries of the same run have ended; before, the log does."""

    def die(self, control: Control, context: Any, ids: list[str]) -> None:
        """Run a try that ends all but the last."""
        control.inject("error", method="bizproc.workflow.kill", id=ids[-1], code="ERROR_CORE_X")
        with pytest.raises((AirflowFailException, NotAllEndedError, ApiError)):
            kill(context, ids)

    @pytest.mark.parametrize("count", [3, 2 * IDS_PER_KEY + 1])
    def test_holds_what_the_first_try_ended(self, control: Control, context: Any, store: Store, count: int) -> None:
        ids = add(control, count)
        control.finish_workflows(ids[:1])
        self.die(control, context, ids)
        report = kill(context, ids)
        assert (report["ended"], report["already_ended_ids"]) == (count - 1, ids[:1])
        assert len(control.journal("kill")) == count - 1

    def test_and_what_the_second_did(self, control: Control, context: Any, store: Store) -> None:
        ids = add(control, 4)
        self.die(control, context, ids[:3])
        self.die(control, context, ids)
        report = kill(context, ids)
        assert (report["ended"], report["already_ended"]) == (4, 0)

    def test_of_a_cleared_task_holds_its_own_only(self, control: Control, context: Any, store: Store) -> None:
        ids = add(control, 3)
        self.die(control, context, ids)
        # That is what Airflow does to a task that is cleared.
        context["ti"].max_tries += 1
        report = kill(context, ids)
        assert (report["ended_ids"], sorted(report["already_ended_ids"])) == (ids[2:], ids[:2])

    def test_a_store_that_fails_costs_the_note_not_the_work(self, control: Control, context: Any, store: Store) -> None:
        ids = add(control, 3)
        store.broken = True
        assert kill(context, ids)["ended_ids"] == ids

    def test_without_a_store_the_log_tells(
        self, control: Control, context: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids = add(control, 3)
        with caplog.at_level(logging.INFO):
            kill(context, ids)
        assert f"Ended: {' '.join(ids)}" in caplog.text

    def test_of_domo_holds_what_the_first_cancelled(self, control: Control, context: Any, store: Store) -> None:
        ids = control.add_domo_instances([{"status": "IN_PROGRESS"}] * 3)
        control.inject("error", vendor="domo", method="cancel", skip=2, status=403)
        with refused(NotAllEndedError):
            DomoCancelOperator(task_id="cancel", instance_id=ids).execute(context)
        report = DomoCancelOperator(task_id="cancel", instance_id=ids).execute(context)
        assert (sorted(report["ended_ids"]), report["already_ended"]) == (sorted(ids), 0)

    def test_of_domo_holds_what_the_first_cancelled_and_did_not_see_end(
        self, control: Control, context: Any, store: Store
    ) -> None:
        ids = control.add_domo_instances([{"status": "IN_PROGRESS"}] * 3)
        control.configure(cancel_delay=1000.0)
        task = DomoCancelOperator(task_id="cancel", instance_id=ids, wait_for_completion=True, wait_timeout=30)
        with pytest.raises(NotAllEndedError, match="cancelled, but still IN_PROGRESS"):
            task.execute(context)
        control.advance(1000)
        report = task.execute(context)
        assert (sorted(report["ended_ids"]), report["already_ended"]) == (sorted(ids), 0)

    @pytest.mark.parametrize("trouble", ["redirect", "error"])
    def test_of_domo_holds_what_was_cancelled_with_a_reply_that_was_lost_before_nothing_could_be_read(
        self, control: Control, context: Any, store: Store, trouble: str
    ) -> None:
        ids = control.add_domo_instances([{"status": "IN_PROGRESS"}] * 2)
        control.inject("empty_body", vendor="domo", method="cancel", id=ids[1])
        if trouble == "redirect":
            control.inject("redirect", vendor="domo", method="cancel", id=ids[0])
        else:
            control.inject("error", vendor="domo", method="get", id=ids[1], status=403)
        task = DomoCancelOperator(task_id="cancel", instance_id=ids)
        with pytest.raises((AirflowFailException, NotAllEndedError)):
            task.execute(context)
        reasons = {id: one["reason"] for one in context["ti"].xcoms["return_value"]["failures"] for id in one["ids"]}
        assert [id for id in reasons if reasons[id].startswith(PERHAPS_ENDED)] == ids[1:]
        report = task.execute(context)
        assert (report["ended"], report["already_ended"]) == (2, 0)

    @pytest.mark.parametrize(
        "task",
        [
            lambda ids: TerminateWorkflowOperator(task_id="end", workflow_id=ids),
            lambda ids: CleanUpWorkflowsOperator(task_id="end", filters={"TEMPLATE_ID": 7}),
        ],
        ids=["terminate", "clean up"],
    )
    def test_holds_what_was_ended_with_replies_that_were_lost(
        self, control: Control, context: Any, store: Store, task: Callable[[list[str]], Any]
    ) -> None:
        ids = add(control, 6, TEMPLATE_ID=7)
        control.inject("cut_after_commands", containing="bizproc.workflow.terminate", n=4)
        control.inject("lost_before", containing="bizproc.workflow.instances", times=ATTEMPTS)
        with pytest.raises(ApiError):
            task(ids).execute(context)
        assert context["ti"].xcoms["return_value"]["failed"] == 6
        ended = {entry["id"] for entry in control.journal("terminate")}
        control.finish_workflows([(set(ids) - ended).pop()])
        report = task(ids).execute(context)
        # Who ended the fifth nobody knows.
        assert (report["requested"], report["ended"], report["already_ended"]) == (6, 6, 0)
        assert sorted(report["ended_ids"]) == sorted(ids)
        assert len(control.journal("terminate")) == 5

    def test_of_a_clean_up_tells_once_of_what_was_confirmed_and_runs_all_the_same(
        self, control: Control, context: Any, store: Store
    ) -> None:
        ids = add(control, 3, TEMPLATE_ID=7)
        task = CleanUpWorkflowsOperator(task_id="end", filters={"TEMPLATE_ID": 7})
        control.inject("error", method="bizproc.workflow.terminate", id=ids[2], code="ERROR_CORE_X")
        with pytest.raises((AirflowFailException, NotAllEndedError)):
            task.execute(context)
        store["ended_0"]["value"].append(ids[2])
        report = task.execute(context)
        assert (report["requested"], report["ended"], sorted(report["ended_ids"])) == (3, 3, ids)

    def test_is_whole_again_when_the_store_is(
        self, control: Control, context: Any, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(earlier_tries, "IDS_PER_KEY", 10)
        ids = add(control, 31)
        keep = store.set
        failing = iter([True])

        def set_later(key: str, value: Any) -> None:
            if next(failing, False):
                raise RuntimeError("no API server")
            keep(key, value)

        store.set = set_later  # type: ignore[method-assign]
        self.die(control, context, ids)
        assert kill(context, ids)["ended"] == len(ids)


class TestOnlyWhatStillMatches:
    @pytest.mark.parametrize("operator", [TerminateWorkflowOperator, KillWorkflowOperator])
    def test_what_is_stuck_no_more_is_left_alone(self, control: Control, context: Any, operator: Any) -> None:
        stuck = control.add_workflows([{"OWNED_UNTIL": "2026-01-01T00:00:00Z"}] * 3)
        alive = control.add_workflows([{"OWNED_UNTIL": "2036-01-01T00:00:00Z"}] * 2)
        task = operator(task_id="end", workflow_id=[*stuck, *alive, UNKNOWN], stuck_for=timedelta(hours=1))
        report = task.execute(context)
        assert (sorted(report["ended_ids"]), report["moved_on"]) == (sorted(stuck), 2)
        assert report["already_ended_ids"] == [UNKNOWN]
        assert running(control) == set(alive)

    def test_what_does_not_match_the_filter_is_left_alone(self, control: Control, context: Any) -> None:
        mine = control.add_workflows([{"TEMPLATE_ID": 7}])
        foreign = control.add_workflows([{"TEMPLATE_ID": 8}])
        report = kill(context, [*mine, *foreign], filters={"TEMPLATE_ID": 7})
        assert (report["ended_ids"], report["moved_on"], running(control)) == (mine, 1, set(foreign))

    @pytest.mark.parametrize("nothing", [None, {}])
    def test_a_filter_that_an_upstream_task_left_empty_ends_nothing(
        self, control: Control, context: Any, nothing: Any
    ) -> None:
        ids = add(control, 2)
        task = KillWorkflowOperator(task_id="kill", workflow_id=ids, filters="{{ found }}")  # type: ignore[arg-type]
        task.filters = nothing
        with refused(FilterError, match="filters is empty"):
            task.execute(context)
        assert running(control) == set(ids)

    @pytest.mark.parametrize("nothing", [None, {}])
    def test_nor_does_it_widen_a_clean_up_of_what_is_stuck(self, control: Control, context: Any, nothing: Any) -> None:
        stuck = control.add_workflows([{"OWNED_UNTIL": "2026-01-01T00:00:00Z"}] * 2)
        task = CleanUpWorkflowsOperator(
            task_id="clean_up",
            filters="{{ found }}",  # type: ignore[arg-type]
            stuck_for=timedelta(hours=1),
        )
        task.filters = nothing
        with refused(FilterError, match="filters is empty"):
            task.execute(context)
        assert running(control) == set(stuck)

    @pytest.mark.parametrize("guard", ["max_workflows", "record_path"])
    def test_nor_does_a_guard_that_was_given_turn_out_to_be_none(
        self, control: Control, context: Any, guard: str
    ) -> None:
        ids = add(control, 2, TEMPLATE_ID=7)
        given: dict[str, Any] = {"filters": {"TEMPLATE_ID": 7}, "action": "kill", guard: "{{ found }}"}
        task = CleanUpWorkflowsOperator(task_id="clean_up", **given)
        setattr(task, guard, None)
        with refused(ArgumentError, match=f"{guard} was given, but is None"):
            task.execute(context)
        assert running(control) == set(ids)

    def test_it_costs_one_request_for_each_fifty(self, control: Control, context: Any) -> None:
        ids = add(control, 100, TEMPLATE_ID=7)
        kill(context, ids, filters={"TEMPLATE_ID": 7})
        assert len(control.requests()) == 4
