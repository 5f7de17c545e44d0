"""Every fault, at every request of a cancellation of Domo instances: each is cancelled, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.reports import NotAllEndedError
from tests.operators.remote import TaskInstance, failed_ids

MINE, OTHERS = 12, 3
#: One to cancel each, and one to see the end of each; a fault may add some.
REQUESTS = 2 * MINE
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("refused", {}),
    ("lost_before", {}),
    ("lost_after", {}),
    ("error_500", {"done": False}),
    ("error_500", {"done": True}),
    ("html", {"status": 502, "done": True}),
    ("html", {"status": 200, "done": False}),
    ("truncated", {}),
    ("redirect", {}),
    ("empty_body", {"done": True}),
    ("error", {"status": 401}),
    ("error", {"status": 403}),
    ("error", {"status": 404}),
]
#: Those that somebody has to look at; a task gets over the others by itself.
LASTING = {"redirect", "error"}


@pytest.fixture
def ids(control: Control) -> list[str]:
    """Fill the account, and return the ids of the instances that are to be cancelled."""
    control.configure(cancel_delay=33.0)
    control.add_domo_instances([{"status": "IN_PROGRESS"}] * OTHERS)
    return control.add_domo_instances([{"status": "IN_PROGRESS"}] * MINE)


def task(ids: list[str]) -> DomoCancelOperator:
    """Return the task, as each try makes it anew."""
    return DomoCancelOperator(task_id="cancel", instance_id=ids, wait_for_completion=True, poll_interval=5)


def statuses(control: Control) -> dict[str, Any]:
    """Return the status of each instance."""
    return {id: row["status"] for id, row in control.state()["domo"]["instances"].items()}


def assert_true(report: dict[str, Any], ids: list[str]) -> None:
    """Check that the report tells of each instance once."""
    told = [*report["ended_ids"], *report["already_ended_ids"], *failed_ids(report)]
    assert sorted(told) == sorted(ids)
    assert report["requested"] == len(ids)


def run_until_done(control: Control, context: Any, ti: TaskInstance, ids: list[str], first: Any = None) -> bool:
    """Run the task, and once more if it failed, as Airflow does; check every report on the way.

    :returns: whether the first run was enough.
    """
    try:
        report = (first or task(ids)).execute(context)
        enough = True
    except (ApiError, NotAllEndedError, AirflowFailException):
        enough = False
        assert_true(ti.xcoms["return_value"], ids)
        cancelled = {entry["id"] for entry in control.journal("cancel")}
        assert set(ti.xcoms["return_value"]["ended_ids"]) <= cancelled
        report = task(ids).execute(context)
    assert_true(report, ids)
    now = statuses(control)
    assert {id for id, status in now.items() if status == "IN_PROGRESS"} == now.keys() - set(ids)
    assert {entry["id"] for entry in control.journal("cancel")} <= set(ids)
    return enough


@pytest.mark.parametrize("index", [0, MINE])
@pytest.mark.parametrize(("fault", "options"), FAULTS, ids=lambda value: str(value))
def test_whatever_fails_at_whichever_request_each_is_cancelled(
    control: Control, context: Any, ti: TaskInstance, ids: list[str], fault: str, options: dict[str, Any], index: int
) -> None:
    control.inject(fault, vendor="domo", skip=index, **options)
    assert run_until_done(control, context, ti, ids) or fault in LASTING


@pytest.mark.parametrize("index", range(0, REQUESTS, 5))
def test_another_actor_ends_some_meanwhile(
    control: Control, context: Any, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, ids: list[str], index: int
) -> None:
    by_others: set[str] = set()

    def end_some() -> None:
        by_others.update(one for one in ids[::4] if statuses(control)[one] == "IN_PROGRESS")
        control.add_domo_instances([{"id": one, "status": "COMPLETED"} for one in by_others])

    at_request(index, end_some, monkeypatch)
    assert run_until_done(control, context, ti, ids)
    completed = {id for id, status in statuses(control).items() if status == "COMPLETED"}
    assert completed == by_others
    assert index or by_others == set(ids[::4])


@pytest.mark.parametrize("index", range(0, REQUESTS, 5))
def test_the_task_is_killed_there(
    control: Control, context: Any, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, ids: list[str], index: int
) -> None:
    first = task(ids)
    at_request(index, first.on_kill, monkeypatch)
    assert not run_until_done(control, context, ti, ids, first)


def at_request(index: int, act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen when a certain request is made."""
    made = 0
    make = DomoWire.request

    def request(self: DomoWire, call: Any) -> Any:
        nonlocal made
        made += 1
        if made == index + 1:
            act()
        return make(self, call)

    monkeypatch.setattr(DomoWire, "request", request)
