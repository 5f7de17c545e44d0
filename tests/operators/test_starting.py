"""Starting workflows in both systems: once, whatever happens, and waiting for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_workflows.bitrix24.errors import NotAdministratorError, StartUnclearError, WorkflowError
from airflow_provider_workflows.domo.errors import StartNotFoundError
from airflow_provider_workflows.domo.errors import StartUnclearError as DomoStartUnclearError
from airflow_provider_workflows.domo.watching import NotCompletedError
from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoStartOperator
from airflow_provider_workflows.operators.starting import StartOperator, StillRunningError
from airflow_provider_workflows.rest.errors import NotConnectedError
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import fire, resume, revive, run_through
from tests.operators.remote import render

DOCUMENT = ["crm", "CCrmDocumentLead", "LEAD_1"]
MODEL = "c0ffee00-0000-4000-8000-000000000001"
LOST_AFTER = [
    ("lost_after", {}),
    ("error_500", {"done": True}),
    ("html", {"done": True}),
    ("truncated", {}),
    ("empty_body", {}),
]


class Store(dict[str, Any]):
    """Airflow's task state store."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


@pytest.fixture
def store() -> Store:
    """Return the store of the task."""
    return Store()


@pytest.fixture(params=[True, False], ids=["with task state store", "without"])
def durable(request: pytest.FixtureRequest) -> bool:
    """Say whether this Airflow has a task state store."""
    return bool(request.param)


@pytest.fixture
def context(ti: Any, store: Store, durable: bool) -> Any:
    """Return the context of a first try out of two."""
    ti.try_number, ti.max_tries, ti.map_index = 1, 1, -1
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=started)} | ({"task_state_store": store} if durable else {})


def retry(context: Any) -> Any:
    """Return the context of the next try."""
    context["ti"].try_number += 1
    return context


def clear(context: Any) -> Any:
    """Return the context after the task was cleared, in a Dag run that is begun anew."""
    context["ti"].try_number += 1
    # What Airflow sets: the tries there were, and the retries of the task.
    context["ti"].max_tries = context["ti"].try_number - 1 + 1
    context["dag_run"].start_date = datetime.now(UTC) + timedelta(seconds=1)
    return context


class Bitrix24:
    """Starts on a portal."""

    name = "bitrix24"
    method = "bizproc.workflow.start"
    unclear: type[Exception] = StartUnclearError

    def __init__(self, control: Control) -> None:
        self.control = control
        control.add_templates([{"ID": 7}])

    def operator(self, **how: Any) -> StartOperator:
        """Return the operator."""
        return StartWorkflowOperator(
            task_id="start", template_id=7, document_id=DOCUMENT, retries=1, **{"poll_interval": 0.05, **how}
        )

    def id(self, result: Any) -> str:
        """Return the id that the task returned."""
        return str(result)

    def ended_by_us(self) -> list[str]:
        """Return the ids that somebody ended."""
        return [entry["id"] for entry in self.control.journal("terminate")]


class Domo:
    """Starts on an account."""

    name = "domo"
    method = "start"
    unclear: type[Exception] = DomoStartUnclearError

    def __init__(self, control: Control) -> None:
        self.control = control
        control.add_domo_models([{"id": MODEL, "message_name": "Start Orders", "versions": ["1.0.0"]}])

    def operator(self, **how: Any) -> StartOperator:
        """Return the operator."""
        return DomoStartOperator(
            task_id="start",
            model_id=MODEL,
            version="1.0.0",
            message_name="Start Orders",
            retries=1,
            **{"poll_interval": 0.05, **how},
        )

    def id(self, result: Any) -> str:
        """Return the id that the task returned."""
        return str(result["id"])

    def ended_by_us(self) -> list[str]:
        """Return the ids that somebody ended."""
        return [entry["id"] for entry in self.control.journal("cancel")]


@pytest.fixture(params=[Bitrix24, Domo], ids=["bitrix24", "domo"])
def system(request: pytest.FixtureRequest, control: Control) -> Any:
    """Return either system."""
    return request.param(control)


def starts(control: Control) -> list[str]:
    """Return the ids of what was started."""
    return [entry["id"] for entry in control.journal("start")]


class TestStart:
    def test_it_starts_one_and_returns_its_id(self, system: Any, control: Control, context: Any) -> None:
        result = system.operator().execute(context)
        assert starts(control) == [system.id(result)]

    def test_its_page_is_linked(self, system: Any, control: Control, context: Any, ti: Any) -> None:
        started = system.id(system.operator().execute(context))
        assert any(key.startswith("_link_") and started in url for key, url in ti.xcoms.items())

    @pytest.mark.parametrize(("reply", "options"), LOST_AFTER)
    def test_a_lost_reply_starts_no_second_one(
        self, system: Any, control: Control, context: Any, reply: str, options: dict[str, Any]
    ) -> None:
        control.inject(reply, vendor=system.name, method=system.method, **options)
        result = system.operator().execute(context)
        assert starts(control) == [system.id(result)]

    def test_one_that_was_there_before_is_not_taken_for_it(self, system: Any, control: Control, context: Any) -> None:
        before = system.id(system.operator().execute(context))
        control.inject("lost_after", vendor=system.name, method=system.method)
        assert system.id(system.operator().execute(clear(context))) != before
        assert len(starts(control)) == 2

    def test_a_request_lost_on_its_way_is_not_sent_again_by_this_try(
        self, system: Any, control: Control, context: Any
    ) -> None:
        control.inject("lost_before", vendor=system.name, method=system.method)
        with pytest.raises(system.unclear, match="Look at"):
            system.operator().execute(context)
        assert starts(control) == []
        # The retry looks first, and finds that there is none.
        result = system.operator().execute(retry(context))
        assert starts(control) == [system.id(result)]

    def test_a_refused_start_is_sent_again(self, system: Any, control: Control, context: Any) -> None:
        control.inject("refused", vendor=system.name, method=system.method)
        result = system.operator().execute(context)
        assert starts(control) == [system.id(result)]

    def test_what_is_given_reaches_the_workflow(self, control: Control, context: Any) -> None:
        Bitrix24(control)
        operator = StartWorkflowOperator(
            task_id="start",
            template_id="{{ params.template }}",
            document_id="{{ params.document }}",
            parameters={"user": "user_{{ params.user }}"},
        )
        render(operator, params={"template": 7, "document": DOCUMENT, "user": 5})
        operator.execute(context)
        (entry,) = control.journal("start")
        assert (entry["template_id"], entry["document_id"]) == (7, DOCUMENT)
        assert entry["parameters"] == {"user": "user_5"}

    def test_input_values_reach_the_instance(self, control: Control, context: Any) -> None:
        system = Domo(control)
        result = system.operator(data={"order": 7}).execute(context)
        (entry,) = control.journal("start")
        assert entry["data"] == {"order": 7}
        assert result["modelId"] == MODEL
        assert result["modelVersion"] == "1.0.0"

    @pytest.mark.parametrize(
        ("how", "named"),
        [
            ({"template_id": 0}, "template_id"),
            ({"template_id": "all"}, "template_id"),
            ({"document_id": "LEAD_1"}, "document_id"),
            ({"document_id": ["crm", "LEAD_1"]}, "document_id"),
            ({"document_id": ["crm", "", "LEAD_1"]}, "document_id"),
            ({"parameters": ["a"]}, "parameters"),
        ],
    )
    def test_what_cannot_be_started_is_refused_before_anything_is_sent(
        self, control: Control, context: Any, how: Any, named: str
    ) -> None:
        given = {"template_id": 7, "document_id": DOCUMENT} | how
        with pytest.raises(ValueError, match=f"^{named}"):
            StartWorkflowOperator(task_id="start", **given).execute(context)
        assert control.requests() == []

    def test_a_document_of_another_type_is_the_portals_error(self, control: Control, context: Any) -> None:
        Bitrix24(control)
        operator = StartWorkflowOperator(task_id="start", template_id=7, document_id=["crm", "Nothing", "LEAD_1"])
        with pytest.raises(WorkflowError):
            operator.execute(context)

    def test_who_is_no_administrator_starts_nothing(self, control: Control, context: Any) -> None:
        control.configure(is_admin=False)
        with pytest.raises(NotAdministratorError):
            Bitrix24(control).operator().execute(context)

    @pytest.mark.parametrize("wrong", [{"message_name": "Start orders"}, {"version": "9.9.9"}, {"model_id": "other"}])
    def test_a_wrong_name_is_explained(self, control: Control, context: Any, wrong: Any) -> None:
        Domo(control)
        given: Any = {"model_id": MODEL, "version": "1.0.0", "message_name": "Start Orders"} | wrong
        with pytest.raises(StartNotFoundError, match="title of the model's Start shape"):
            DomoStartOperator(task_id="start", **given).execute(context)

    def test_a_token_that_may_not_list_still_starts(self, control: Control, context: Any) -> None:
        system = Domo(control)
        control.configure(domo_forbidden=["list"])
        result = system.operator().execute(context)
        assert starts(control) == [result["id"]]


class TestRetry:
    def test_it_goes_on_with_what_was_started(self, system: Any, control: Control, context: Any) -> None:
        first = system.id(system.operator().execute(context))
        assert system.id(system.operator().execute(retry(context))) == first
        assert starts(control) == [first]

    def test_a_worker_lost_between_the_start_and_its_note_starts_no_second_one(
        self, system: Any, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class LostError(BaseException):
            pass

        def lost(*_: Any, **__: Any) -> None:
            raise LostError

        with monkeypatch.context() as patch:
            operator = system.operator()
            start = operator._start

            def start_and_die(record: Any) -> None:
                start(record)
                lost()

            patch.setattr(operator, "_start", start_and_die)
            with pytest.raises(LostError):
                operator.execute(context)
        (first,) = starts(control)
        assert system.id(system.operator().execute(retry(context))) == first
        assert starts(control) == [first]

    def test_a_cleared_task_starts_a_new_one(self, system: Any, control: Control, context: Any) -> None:
        first = system.id(system.operator().execute(context))
        second = system.id(system.operator().execute(clear(context)))
        assert starts(control) == [first, second]

    def test_a_first_try_that_never_reached_the_system_is_followed_by_a_start(
        self, system: Any, control: Control, context: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setenv(
                f"AIRFLOW_CONN_{system.name.upper()}_DEFAULT", f"{system.name}://1:n0where0code@127.0.0.1:9/http"
            )
            with pytest.raises(NotConnectedError):
                system.operator().execute(context)
        result = system.operator().execute(retry(context))
        assert starts(control) == [system.id(result)]

    @pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
    def test_a_failed_instance_is_what_the_retry_is_for(self, control: Control, context: Any, status: str) -> None:
        system = Domo(control)
        control.configure(finishes_after=0.0, final_status="FAILED")
        with pytest.raises(NotCompletedError):
            run_through(lambda: system.operator(wait_for_completion=True), context)
        control.configure(final_status="COMPLETED")
        result, _ = run_through(lambda: system.operator(wait_for_completion=True), retry(context))
        assert result["status"] == "COMPLETED"
        assert len(starts(control)) == 2


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "in the worker"])
class TestWait:
    def test_it_succeeds_when_it_has_ended(self, system: Any, control: Control, context: Any, deferrable: bool) -> None:
        control.configure(finishes_after=0.2)
        if system.name == "bitrix24":
            system.operator = _finishing(system, control)
        result, deferrals = run_through(
            lambda: system.operator(wait_for_completion=True, deferrable=deferrable), context
        )
        assert starts(control) == [system.id(result)]
        assert deferrals <= int(deferrable)
        assert system.ended_by_us() == []

    def test_one_that_takes_too_long_is_ended_and_the_task_fails(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        make = lambda: system.operator(wait_for_completion=True, deferrable=deferrable, wait_timeout=0.2)  # noqa: E731
        with pytest.raises(StillRunningError, match="still ran after 0 s; it was cancelled"):
            run_through(make, context)
        assert system.ended_by_us() == starts(control)

    def test_unless_it_is_to_be_left_running(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        how = {"wait_for_completion": True, "deferrable": deferrable, "wait_timeout": 0.2, "cancel_on_kill": False}
        with pytest.raises(StillRunningError, match="left running"):
            run_through(lambda: system.operator(**how), context)
        assert system.ended_by_us() == []

    def test_a_retry_after_one_was_ended_starts_another(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        how = {"wait_for_completion": True, "deferrable": deferrable, "wait_timeout": 0.2}
        for _ in range(2):
            with pytest.raises(StillRunningError):
                run_through(lambda: system.operator(**how), context)
            retry(context)
        assert len(starts(control)) == 2

    @pytest.mark.parametrize("status", ["FAILED"])
    def test_a_failed_instance_fails_the_task_with_the_instance_in_xcom(
        self, control: Control, context: Any, ti: Any, deferrable: bool, status: str
    ) -> None:
        system = Domo(control)
        control.configure(finishes_after=0.1, final_status=status)
        with pytest.raises(NotCompletedError, match=f"is {status}"):
            run_through(lambda: system.operator(wait_for_completion=True, deferrable=deferrable), context)
        assert ti.xcoms["return_value"]["status"] == status


def _finishing(system: Any, control: Control) -> Callable[..., BaseOperator]:
    """Have a started workflow end by itself at once."""
    make = system.operator

    def operator(**how: Any) -> BaseOperator:
        made: Any = make(**how)
        start = made._start

        def start_and_finish(record: Any) -> str:
            started: str = start(record)
            control.finish_workflows([started])
            return started

        made._start = start_and_finish
        return made  # type: ignore[no-any-return]

    return operator


class TestDeferred:
    def test_it_looks_before_it_defers(self, system: Any, control: Control, context: Any) -> None:
        control.configure(finishes_after=0.0)
        if system.name == "bitrix24":
            system.operator = _finishing(system, control)
        _, deferrals = run_through(lambda: system.operator(wait_for_completion=True, deferrable=True), context)
        assert deferrals == 0

    def test_who_does_not_wait_does_not_defer(self, system: Any, context: Any) -> None:
        _, deferrals = run_through(lambda: system.operator(deferrable=True), context)
        assert deferrals == 0

    @pytest.mark.parametrize("event", [None, {}, {"status": "done"}, "success", {"status": "error", "message": "no"}])
    def test_an_event_that_is_not_ours_fails_the_task(self, system: Any, context: Any, event: Any) -> None:
        make = lambda: system.operator(wait_for_completion=True, deferrable=True)  # noqa: E731
        with pytest.raises(TaskDeferred) as deferred:
            make().execute(context)
        with pytest.raises(WaitFailedError):
            resume(make, context, deferred.value, event)

    def test_airflows_execution_timeout_ends_the_wait_too(self, system: Any, control: Control, context: Any) -> None:
        make = lambda: system.operator(  # noqa: E731
            wait_for_completion=True, deferrable=True, execution_timeout=timedelta(seconds=0.2)
        )
        with pytest.raises(StillRunningError):
            run_through(make, context)
        assert system.ended_by_us() == starts(control)


class TestKill:
    def test_a_task_killed_in_the_worker_ends_what_it_started(
        self, system: Any, control: Control, context: Any
    ) -> None:
        operator = system.operator()
        operator.execute(context)
        operator.on_kill()
        assert system.ended_by_us() == starts(control)

    def test_one_killed_while_it_starts_ends_it_when_it_knows_it(
        self, system: Any, control: Control, context: Any
    ) -> None:
        operator = system.operator()
        operator.on_kill()
        operator.execute(context)
        assert system.ended_by_us() == starts(control)

    def test_a_task_that_has_started_nothing_ends_nothing(self, system: Any, control: Control) -> None:
        system.operator().on_kill()
        assert control.requests() == []

    def test_it_is_left_running_if_that_is_wanted(self, system: Any, control: Control, context: Any) -> None:
        operator = system.operator(cancel_on_kill=False)
        operator.execute(context)
        operator.on_kill()
        assert system.ended_by_us() == []

    def test_an_error_while_it_is_ended_is_only_logged(
        self, system: Any, control: Control, context: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        operator = system.operator()
        operator.execute(context)
        control.configure(is_admin=False, domo_forbidden=["cancel"])
        operator.on_kill()
        assert system.ended_by_us() == []
        assert "could not be cancelled, and may still run" in caplog.text

    @pytest.mark.parametrize("cancel_on_kill", [True, False])
    def test_a_deferred_task_killed_by_a_user_ends_what_it_started(
        self, system: Any, control: Control, context: Any, cancel_on_kill: bool
    ) -> None:
        operator = system.operator(wait_for_completion=True, deferrable=True, cancel_on_kill=cancel_on_kill)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        trigger: Any = revive(deferred.value.trigger)
        asyncio.run(trigger.on_kill())
        assert system.ended_by_us() == (starts(control) if cancel_on_kill else [])

    def test_a_kill_is_followed_by_a_new_start_when_the_task_is_tried_again(
        self, system: Any, control: Control, context: Any
    ) -> None:
        operator = system.operator()
        operator.execute(context)
        operator.on_kill()
        system.operator().execute(retry(context))
        assert len(starts(control)) == 2


def test_a_deferred_task_goes_on_when_it_has_ended(system: Any, control: Control, context: Any) -> None:
    make = lambda: system.operator(wait_for_completion=True, deferrable=True)  # noqa: E731
    control.configure(finishes_after=0.3)
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(context)
    (started,) = starts(control)
    if system.name == "bitrix24":
        control.finish_workflows([started])
    event = fire(deferred.value.trigger)
    assert system.id(resume(make, context, deferred.value, event)) == started
