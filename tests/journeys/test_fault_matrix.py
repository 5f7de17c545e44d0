"""Every fault, at every request of a clean-up of 250 workflows: each is ended once, and no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator
from airflow_provider_workflows.rest.concurrency import FIRST
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.thread_runtime import ThreadRuntime
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.simulator.control import SimulatorError
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from tests.operators.remote import TaskInstance, failed_ids

MATCHING, OTHERS = 250, 60
#: Two for the list, five to end them, one to look again; a fault may add some.
REQUESTS = 8
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("refused", {}),
    ("slow", {"seconds": 0.02, "done": True}),
    ("lost_before", {}),
    ("lost_after", {}),
    ("cut_after_commands", {"n": 17}),
    ("error_500", {"done": False}),
    ("error_500", {"done": True}),
    ("html", {"status": 502, "done": True}),
    ("html", {"status": 200, "done": False}),
    ("truncated", {}),
    ("redirect", {}),
    ("empty_body", {"done": True}),
    ("missing_key", {"index": 3}),
    ("missing_key", {"index": 3, "done": False}),
    ("operating_limit", {"method": "batch"}),
    ("error", {"status": 403, "code": "ACCESS_DENIED"}),
    ("error", {"status": 503, "code": "OVERLOAD_LIMIT"}),
]
#: Those that somebody has to look at; a task gets over the others by itself.
LASTING = {"redirect", "error"}


@pytest.fixture
def ids(control: Control) -> set[str]:
    """Fill the portal, and give the ids of the workflows that match."""
    old = [{"ID": f"a1d.{nth:08d}", "STARTED": "2025-06-01T00:00:00Z", "TEMPLATE_ID": 7} for nth in range(MATCHING)]
    new = [{"ID": f"0e3.{nth:08d}", "STARTED": "2025-06-01T00:00:00Z", "TEMPLATE_ID": 8} for nth in range(OTHERS)]
    control.add_workflows(new[:30] + old + new[30:])
    return {f"a1d.{nth:08d}" for nth in range(MATCHING)}


def clean_up(context: Any, action: Any = "terminate") -> dict[str, Any]:
    """Run the task once."""
    task = CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 7}, action=action)
    report: dict[str, Any] = task.execute(context)
    return report


def assert_ended_once(control: Control, ids: set[str]) -> None:
    """Look at what really happened in the portal."""
    effects = Counter(entry["id"] for entry in control.journal())
    assert effects == dict.fromkeys(ids, 1)
    states = {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}
    assert {id for id, state in states.items() if state == "running"} == states.keys() - ids
    assert len(states) == MATCHING + OTHERS


def assert_true(report: dict[str, Any], ids: set[str]) -> None:
    """Check that the report tells of each workflow once, and what is so."""
    told = [*report["ended_ids"], *report["already_ended_ids"], *failed_ids(report)]
    assert len(told) == len(set(told))
    assert set(told) <= ids
    assert report["requested"] == len(ids) == report["ended"] + report["already_ended"] + report["failed"]


def run_until_done(control: Control, context: Any, ti: TaskInstance, ids: set[str], action: str = "terminate") -> bool:
    """Run the task, and once more if it failed, as Airflow does; check every report on the way.

    :returns: whether the first run was enough.
    """
    try:
        report = clean_up(context, action)
    except (AirflowFailException, ApiError, NotAllEndedError):
        first_failed = True
    else:
        first_failed = False
        assert_true(report, ids)
        assert set(report["ended_ids"]) == ids
    if first_failed:
        ended = {entry["id"] for entry in control.journal()}
        if "return_value" in ti.xcoms:
            first = ti.xcoms.pop("return_value")
            assert_true(first, ids)
            assert set(first["ended_ids"]) <= ended
            assert set(failed_ids(first)) <= ids
            assert first["failed"] >= len(ids - ended)
        report = clean_up(context, action)
        assert_true(report, ids - ended)
    assert not report["failed"]
    assert_ended_once(control, ids)
    return not first_failed


def test_without_a_fault_it_takes_eight_requests(control: Control, context: Any, ids: set[str]) -> None:
    report = clean_up(context)
    assert_true(report, ids)
    assert (len(control.requests()), report["requests"]) == (REQUESTS, REQUESTS)
    assert json.loads(json.dumps(report)) == report
    assert_ended_once(control, ids)


# The first and the last of the list, of those that end, and the one that looks again.
@pytest.mark.parametrize("index", [0, 1, 2, 6, 7])
@pytest.mark.parametrize(("fault", "options"), FAULTS, ids=lambda value: str(value))
def test_whatever_fails_at_whichever_request_each_is_ended_once(
    control: Control, context: Any, ti: TaskInstance, ids: set[str], fault: str, options: dict[str, Any], index: int
) -> None:
    control.inject(fault, vendor="bitrix24", skip=index, **options)
    first_was_enough = run_until_done(control, context, ti, ids, action="kill" if index % 2 else "terminate")
    assert first_was_enough or fault in LASTING


@pytest.mark.parametrize("index", [0, 1, 49, 50, 120, 299])
@pytest.mark.parametrize("method", ["bizproc.workflow.terminate", "bizproc.workflow.instances"])
def test_a_command_that_the_portal_blocks_for_its_running_time_is_done_later(
    control: Control, context: Any, ti: TaskInstance, ids: set[str], method: str, index: int
) -> None:
    control.inject("operating_limit", method=method, skip=index % 7 if "instances" in method else index)
    assert run_until_done(control, context, ti, ids)


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("seed", range(12))
def test_two_faults_at_once_change_nothing_about_that(
    control: Control, connect: Any, context: Any, ti: TaskInstance, ids: set[str], seed: int, in_flight: int
) -> None:
    code = control.settings()["webhook_code"]
    connect("BITRIX24_DEFAULT", login="1", password=code, extra={"in_flight": in_flight})
    passing = [fault for fault in FAULTS if fault[0] not in LASTING]
    for nth in (seed, seed * 5 + 3):
        fault, options = passing[nth % len(passing)]
        control.inject(fault, vendor="bitrix24", skip=nth % REQUESTS, times=2, **options)
    assert run_until_done(control, context, ti, ids)


@pytest.fixture
def at_request(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Return what has something done right before a request is sent: the task's first, second and so on."""

    def at_request(index: int, do: Callable[[], object]) -> None:
        exchange, numbers = ThreadRuntime.exchange, count()

        async def disturbed(self: ThreadRuntime, *given: Any) -> Any:
            if next(numbers) == index:
                do()
            return await exchange(self, *given)

        monkeypatch.setattr(ThreadRuntime, "exchange", disturbed)

    return at_request


@pytest.mark.parametrize("index", range(REQUESTS))
@pytest.mark.parametrize("which", [slice(0, 20), slice(115, 135), slice(230, 250)], ids=["first", "middle", "last"])
def test_whichever_another_actor_ends_at_whichever_request_the_others_are_ended_once(
    control: Control, context: Any, ids: set[str], at_request: Any, which: slice, index: int
) -> None:
    def end_some() -> None:
        for one in sorted(ids)[which]:
            with suppress(SimulatorError):  # it was ended here
                control.finish_workflows([one])

    at_request(index, end_some)
    report = clean_up(context, "kill" if index % 2 else "terminate")
    ended = Counter(entry["id"] for entry in control.journal())
    states = {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}
    by_others = {id for id, state in states.items() if state == "finished"}
    assert ended == dict.fromkeys(ids - by_others, 1)
    assert (set(report["ended_ids"]), report["failed"], report["appeared"]) == (set(ended), 0, [])
    assert set(report["already_ended_ids"]) <= by_others
    assert report["requested"] == report["ended"] + report["already_ended"]
    assert {id for id, state in states.items() if state == "running"} == states.keys() - ids


@pytest.mark.parametrize("index", range(REQUESTS))
@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])
def test_wherever_the_task_is_killed_its_report_is_true_and_its_next_try_finishes(
    control: Control,
    connect: Any,
    context: Any,
    ti: TaskInstance,
    ids: set[str],
    at_request: Any,
    deferrable: bool,
    index: int,
) -> None:
    connect("BITRIX24_DEFAULT", login="1", password=control.settings()["webhook_code"], extra={"in_flight": FIRST})
    task = CleanUpWorkflowsOperator(
        task_id="clean_up", filters={"TEMPLATE_ID": 7}, action="kill" if index % 2 else "terminate",
        deferrable=deferrable,
    )  # fmt: skip
    at_request(index, task.on_kill)
    with suppress(AirflowFailException, ApiError, NotAllEndedError):
        task.execute(context)
    ended = {entry["id"] for entry in control.journal()}
    assert len(control.requests()) <= index + FIRST, "nothing new is sent"
    if "return_value" in ti.xcoms:
        report = ti.xcoms.pop("return_value")
        assert_true(report, ids)
        assert set(report["ended_ids"]) == ended
    else:
        assert not ended or ended == ids
    assert_true(clean_up(context), ids - ended)
    assert_ended_once(control, ids)


@pytest.mark.parametrize(("fault", "options"), [fault for fault in FAULTS if fault[0] in LASTING])
def test_where_the_second_list_fails_the_report_tells_of_all_that_were_ended(
    control: Control, context: Any, ti: TaskInstance, ids: set[str], at_request: Any, fault: str, options: Any
) -> None:
    at_request(REQUESTS - 1, lambda: control.inject(fault, vendor="bitrix24", **options))
    with pytest.raises((AirflowFailException, ApiError)):
        clean_up(context)
    report = ti.xcoms["return_value"]
    assert_true(report, ids)
    assert set(report["ended_ids"]) == ids
    assert_true(clean_up(context), set())
    assert_ended_once(control, ids)
