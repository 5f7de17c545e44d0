"""Starting workflows in both systems: once, whatever happens and whoever else starts some; and waiting."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, TaskDeferred, XCom
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_workflows.bitrix24.errors import DocumentLimitError, NotAdministratorError, WorkflowError
from airflow_provider_workflows.domo.errors import NotFoundError, StartNotFoundError
from airflow_provider_workflows.domo.watching import NotCompletedError
from airflow_provider_workflows.operators.bitrix24 import StartWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoStartOperator
from airflow_provider_workflows.rest import background
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    ArgumentError,
    NotConnectedError,
    StoppedError,
)
from airflow_provider_workflows.rest.plans import Plan, intercept
from airflow_provider_workflows.rest.start_once import ForeignIdError, StartUnclearError
from airflow_provider_workflows.rest.sync import Client
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks import starting
from airflow_provider_workflows.tasks.starting import StillRunningError
from airflow_provider_workflows.testing.tasks import revive
from airflow_provider_workflows.triggers.polling import WaitFailedError
from tests.operators.deferred import fire, resume, run_through
from tests.operators.remote import TaskInstance, refused, render

DOCUMENT = ["crm", "CCrmDocumentLead", "LEAD_1"]
MODEL = "c0ffee00-0000-4000-8000-000000000001"
NOBODY = "n0where0code"


class WorkerLostError(BaseException):
    """The worker is gone, and nothing cleans up."""


class Store(dict[str, Any]):
    """Airflow's task state store."""

    #: What happens elsewhere at the moment of a write, before it.
    meanwhile: Callable[[dict[str, Any]], None] | None = None

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        if self.meanwhile:
            self.meanwhile(value["value"])
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.pop(key, None)


def first_try(ti: Any, store: Store | None, map_index: int = -1) -> Any:
    """Return the context of a first try out of two."""
    ti.try_number, ti.max_tries, ti.map_index = 1, 1, map_index
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=began)} | (
        {} if store is None else {"task_state_store": store}
    )


@pytest.fixture
def store() -> Store:
    """Return the store of the task."""
    return Store()


@pytest.fixture
def context(ti: TaskInstance, store: Store) -> Any:
    """Return the context on an Airflow that has a task state store."""
    return first_try(ti, store)


@pytest.fixture
def storeless(ti: TaskInstance) -> Any:
    """Return the context on an Airflow before 3.3."""
    return first_try(ti, None)


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
    method, ending, inputs = "bizproc.workflow.start", "bizproc.workflow.terminate", "parameters"
    forbidden = ("error", {"status": 403, "code": "ACCESS_DENIED"})

    def __init__(self, control: Control) -> None:
        self.control = control
        control.add_templates([{"ID": 7}])

    def operator(self, **how: Any) -> Any:
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

    def finish(self, id: str) -> None:
        """Let one end by itself."""
        self.control.finish_workflows([id])

    def ordering(self, number: int) -> Any:
        """Return the operator that starts one for a certain order."""
        return self.operator(parameters={"order": str(number)})

    def order_of(self, entry: dict[str, Any]) -> int:
        """Return the order that a start was for."""
        return int(entry["parameters"]["order"])

    def add_foreign(self) -> str:
        """Return the id of a running one of another target."""
        (id,) = self.control.add_workflows([{"ID": "66e412fdc9bd44.00000000", "TEMPLATE_ID": 8}])
        return id


class Domo:
    """Starts on an account."""

    name = "domo"
    method, ending, inputs = "start", "cancel", "data"
    forbidden = ("error", {"status": 403})

    def __init__(self, control: Control) -> None:
        self.control = control
        control.add_domo_models([{"id": MODEL, "message_name": "Start Orders", "versions": ["1.0.0"]}])

    def operator(self, **how: Any) -> Any:
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

    def finish(self, id: str) -> None:
        """Let one end by itself: with ``finishes_after``, it did."""

    def ordering(self, number: int) -> Any:
        """Return the operator that starts one for a certain order."""
        return self.operator(data={"order": number})

    def order_of(self, entry: dict[str, Any]) -> int:
        """Return the order that a start was for."""
        return int(entry["data"]["order"])

    def add_foreign(self) -> str:
        """Return the id of a running one of another target."""
        (id,) = self.control.add_domo_instances([{"modelId": "another-model"}])
        return id


@pytest.fixture(params=[Bitrix24, Domo], ids=["bitrix24", "domo"])
def system(request: pytest.FixtureRequest, control: Control) -> Any:
    """Return either system."""
    return request.param(control)


def starts(control: Control) -> list[str]:
    """Return the ids of what was started."""
    return [entry["id"] for entry in control.journal("start")]


def lose_worker_after_start(store: Store) -> None:
    """Have the worker die between a start and its note."""

    def lost(note: dict[str, Any]) -> None:
        if note["id"]:
            store.meanwhile = None
            raise WorkerLostError

    store.meanwhile = lost


class TestStart:
    def test_it_starts_one_returns_its_id_and_links_to_its_page(
        self, system: Any, control: Control, context: Any, ti: Any
    ) -> None:
        started = system.id(system.operator().execute(context))
        assert starts(control) == [started]
        assert any(key.startswith("_link_") and started in url for key, url in ti.xcoms.items())

    def test_a_refused_start_is_sent_again(self, system: Any, control: Control, context: Any) -> None:
        control.inject("refused", vendor=system.name, method=system.method)
        started = system.id(system.operator().execute(context))
        assert starts(control) == [started]

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
        result = Domo(control).operator(data={"order": 7}).execute(context)
        (entry,) = control.journal("start")
        assert entry["data"] == {"order": 7}
        assert (result["modelId"], result["modelVersion"]) == (MODEL, "1.0.0")

    @pytest.mark.parametrize(
        ("how", "named"),
        [
            ({"template_id": 0}, "template_id"),
            ({"template_id": "all"}, "template_id"),
            ({"document_id": "LEAD_1"}, "document_id"),
            ({"document_id": ["crm", "LEAD_1"]}, "document_id"),
            ({"document_id": ["crm", "", "LEAD_1"]}, "document_id"),
            ({"parameters": ["a"]}, "parameters"),
            ({"parameters": {"user": "user_5", "PreGeneratedWorkflowId": "a.1"}}, "parameters: 'PreGenerated"),
            ({"parameters": {"IgnoreSimultaneousProcessesLimit": "{{ params.all }}"}}, "parameters: 'IgnoreSimul"),
            (
                {"parameters": {"user": "user_5", "until": datetime(2026, 1, 1)}},
                "parameters: 'until'.*a date",
            ),
        ],
    )
    def test_what_cannot_be_started_is_refused_before_anything_is_sent(
        self, control: Control, context: Any, how: Any, named: str
    ) -> None:
        given = {"template_id": 7, "document_id": DOCUMENT} | how
        with pytest.raises(ValueError, match=f"^{named}"):
            StartWorkflowOperator(task_id="start", **given).execute(context)
        assert control.requests() == []

    def test_what_comes_from_elsewhere_is_refused_before_anything_is_sent(self, control: Control, context: Any) -> None:
        operator = Bitrix24(control).operator(parameters="{{ params.given }}")
        operator.parameters = {"TargetUser": "user_5"}  # as a task before it left it in XCom
        with refused(ArgumentError, match="'TargetUser' is reserved.*another name"):
            operator.execute(context)
        assert control.requests() == []

    @pytest.mark.parametrize("value", [Decimal("3.5"), float("nan"), {1, 2}, [b"x"], {("a", 1): 1}])
    def test_what_json_does_not_have_is_refused_before_anything_is_sent(
        self, system: Any, control: Control, context: Any, value: Any
    ) -> None:
        operator = system.operator(**{system.inputs: "{{ params.given }}"})
        setattr(operator, system.inputs, {"amount": 1, "price": value})  # as a task before it left it in XCom
        with refused(ArgumentError, match=f"{system.inputs}: 'price' cannot be sent as JSON .*a decimal as a text"):
            operator.execute(context)
        assert control.requests() == []

    def test_inputs_that_an_upstream_task_left_empty_start_nothing(
        self, system: Any, control: Control, context: Any
    ) -> None:
        operator = system.operator(**{system.inputs: "{{ params.given }}"})
        setattr(operator, system.inputs, None)
        with refused(ArgumentError, match=f"{system.inputs} was given, but is None"):
            operator.execute(context)
        assert control.requests() == []

    def test_a_document_with_as_many_workflows_as_may_be_takes_the_retry_when_one_has_ended(
        self, control: Control, context: Any
    ) -> None:
        control.configure(document_limit=2)
        item = dict(zip(("MODULE_ID", "ENTITY", "DOCUMENT_ID"), DOCUMENT, strict=True))
        ids = control.add_workflows([{"TEMPLATE_ID": 8, **item}] * 2)
        operator = Bitrix24(control).operator()
        with pytest.raises(DocumentLimitError, match="2 workflows ran on this document"):
            operator.execute(context)
        assert starts(control) == []
        control.finish_workflows(ids[:1])
        started = operator.execute(retry(context))
        assert starts(control) == [started]

    @pytest.mark.parametrize("ending", [1, 2])
    def test_a_start_refused_for_that_has_a_retry_also_if_others_end_before_they_are_counted(
        self, control: Control, context: Any, ending: int
    ) -> None:
        control.configure(document_limit=2)
        item = dict(zip(("MODULE_ID", "ENTITY", "DOCUMENT_ID"), DOCUMENT, strict=True))
        ids = control.add_workflows([{"TEMPLATE_ID": 7, **item}, {"TEMPLATE_ID": 8, **item}])

        def end_some_when_refused(step: Any) -> Plan[Any]:
            try:
                return (yield step)
            except WorkflowError:
                control.finish_workflows(ids[:ending])
                raise

        operator = Bitrix24(control).operator()
        run = operator.hook.run
        operator.hook.run = lambda plan: run(intercept(plan, end_some_when_refused))
        with pytest.raises(DocumentLimitError, match="2 workflows ran on this document"):
            operator.execute(context)
        started = operator.execute(retry(context))
        assert starts(control) == [started]

    def test_where_it_cannot_be_told_how_many_there_are_a_refusal_is_final(
        self, control: Control, context: Any
    ) -> None:
        control.configure(document_limit=1)
        control.add_workflows([dict(zip(("MODULE_ID", "ENTITY", "DOCUMENT_ID"), DOCUMENT, strict=True))])
        control.inject("error", method="bizproc.workflow.instances", times=None, status=403, code="ACCESS_DENIED")
        with refused(WorkflowError):
            Bitrix24(control).operator().execute(context)

    def test_a_document_of_another_type_is_the_portals_error(self, control: Control, context: Any) -> None:
        Bitrix24(control)
        operator = StartWorkflowOperator(task_id="start", template_id=7, document_id=["crm", "Nothing", "LEAD_1"])
        with refused(WorkflowError):
            operator.execute(context)

    def test_who_is_no_administrator_starts_nothing(self, control: Control, context: Any) -> None:
        control.configure(is_admin=False)
        with refused(NotAdministratorError):
            Bitrix24(control).operator().execute(context)

    @pytest.mark.parametrize("wrong", [{"message_name": "Start orders"}, {"version": "9.9.9"}, {"model_id": "other"}])
    def test_a_wrong_name_is_explained(self, control: Control, context: Any, wrong: Any) -> None:
        Domo(control)
        given: Any = {"model_id": MODEL, "version": "1.0.0", "message_name": "Start Orders"} | wrong
        with refused(StartNotFoundError, match="title of its Start shape"):
            DomoStartOperator(task_id="start", **given).execute(context)


class TestLostReply:
    @pytest.mark.parametrize(
        ("reply", "options"),
        [
            ("lost_after", {}),
            ("error_500", {"done": True}),
            ("html", {"done": True}),
            ("truncated", {}),
            ("empty_body", {}),
        ],
    )
    def test_what_may_be_the_start_is_named_and_nothing_is_started_by_this_try_or_another(
        self, system: Any, control: Control, context: Any, reply: str, options: dict[str, Any]
    ) -> None:
        control.inject(reply, vendor=system.name, method=system.method, **options)
        for _ in range(3):
            with pytest.raises(StartUnclearError) as unclear:
                system.operator().execute(context)
            (started,) = starts(control)
            assert unclear.value.candidates == (started,)
            assert started in str(unclear.value)
            assert "clear the task" in str(unclear.value)
            retry(context)

    def test_a_cleared_task_starts_another(self, system: Any, control: Control, context: Any) -> None:
        control.inject("lost_after", vendor=system.name, method=system.method)
        with pytest.raises(StartUnclearError):
            system.operator().execute(context)
        started = system.id(system.operator().execute(clear(context)))
        assert starts(control)[1:] == [started]

    def test_one_that_was_there_before_is_not_taken_for_it(self, system: Any, control: Control, context: Any) -> None:
        before = system.id(system.operator().execute(context))
        control.inject("lost_after", vendor=system.name, method=system.method)
        with pytest.raises(StartUnclearError) as unclear:
            system.operator().execute(clear(context))
        assert before not in unclear.value.candidates

    def test_a_start_lost_on_its_way_is_sent_again_by_the_retry_only(
        self, system: Any, control: Control, context: Any
    ) -> None:
        control.inject("lost_before", vendor=system.name, method=system.method)
        with pytest.raises(StartUnclearError, match="A retry sends the start again"):
            system.operator().execute(context)
        assert starts(control) == []
        started = system.id(system.operator().execute(retry(context)))
        assert starts(control) == [started]

    def test_it_is_looked_for_as_long_as_the_system_may_be_working_on_it(
        self, system: Any, control: Control, context: Any, clock: Any
    ) -> None:
        control.inject("lost_before", vendor=system.name, method=system.method)
        with pytest.raises(StartUnclearError):
            system.operator().execute(context)
        assert sum(clock.naps) >= 60

    def test_where_nothing_else_starts_the_same_the_new_one_is_it(
        self, system: Any, control: Control, context: Any
    ) -> None:
        control.inject("lost_after", vendor=system.name, method=system.method)
        started = system.id(system.operator(sole_starter=True).execute(context))
        assert starts(control) == [started]
        assert system.id(system.operator(sole_starter=True).execute(retry(context))) == started

    def test_two_new_ones_are_none_to_choose_from(
        self, system: Any, control: Control, context: Any, store: Store
    ) -> None:
        let_in_a_sibling(system, store)
        control.inject("lost_after", vendor=system.name, method=system.method, skip=1)
        with pytest.raises(StartUnclearError) as unclear:
            system.operator(sole_starter=True).execute(context)
        assert sorted(unclear.value.candidates) == sorted(starts(control))
        assert len(starts(control)) == 2

    def test_a_candidate_that_has_ended_may_still_have_been_it(
        self, system: Any, control: Control, context: Any
    ) -> None:
        control.inject("lost_after", vendor=system.name, method=system.method)
        control.configure(finishes_after=0.0)
        with pytest.raises(StartUnclearError) as unclear:
            system.operator().execute(context)
        (candidate,) = unclear.value.candidates
        system.finish(candidate)
        for _ in range(2):
            with pytest.raises(StartUnclearError, match=candidate):
                system.operator().execute(retry(context))
        assert starts(control) == [candidate]

    def test_a_failed_candidate_is_what_the_retry_is_for_whosever_it_was(self, control: Control, context: Any) -> None:
        system = Domo(control)
        control.inject("lost_after", vendor="domo", method="start")
        control.configure(finishes_after=0.0, final_status="FAILED")
        with pytest.raises(StartUnclearError):
            system.operator().execute(context)
        assert system.id(system.operator().execute(retry(context))) == starts(control)[1]

    def test_who_may_not_list_starts_but_never_blindly_again(self, control: Control, context: Any) -> None:
        system = Domo(control)
        control.configure(domo_forbidden=["list"])
        control.inject("lost_after", vendor="domo", method="start")
        for _ in range(3):
            with pytest.raises(StartUnclearError, match="may not list"):
                system.operator().execute(context)
            retry(context)
        assert len(starts(control)) == 1
        assert system.id(system.operator().execute(clear(context))) == starts(control)[1]

    def test_on_a_busy_model_it_is_looked_for_behind_the_first_page(
        self, control: Control, context: Any, store: Store
    ) -> None:
        system = Domo(control)
        lose_worker_after_start(store)
        with pytest.raises(WorkerLostError):
            system.operator().execute(context)
        (started,) = starts(control)
        newer = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        control.add_domo_instances([{"modelId": MODEL, "createdOn": newer, "status": "FAILED"} for _ in range(150)])
        with pytest.raises(StartUnclearError) as unclear:
            system.operator().execute(retry(context))
        assert unclear.value.candidates == (started,)


def let_in_a_sibling(system: Any, store: Store, results: list[str] | None = None) -> None:
    """Have a sibling start the same between the first task's note and its start."""

    def sibling(note: dict[str, Any]) -> None:
        store.meanwhile = None
        result = system.operator().execute(first_try(TaskInstance(), Store(), map_index=1))
        if results is not None:
            results.append(system.id(result))

    store.meanwhile = sibling


def be_a_worker() -> None:
    """Let this thread run operators: Airflow 2.11 knows who calls them in the main thread only."""
    guard: Any = getattr(sys.modules.get("airflow.models.baseoperator"), "ExecutorSafeguard", None)
    if hasattr(guard, "_sentinel"):
        guard._sentinel.callers = {}


class TestSiblings:
    """Two mapped tasks start the same at the same time. Each runs once, or its task fails and names what there is."""

    def test_one_that_was_surely_not_started_is_started_by_its_retry(
        self, system: Any, control: Control, ti: Any, store: Store
    ) -> None:
        context, siblings = first_try(ti, store, map_index=0), list[str]()
        let_in_a_sibling(system, store, siblings)
        kind, options = system.forbidden
        control.inject(kind, vendor=system.name, method=system.method, skip=1, **options)
        with refused(AccessDeniedError):
            system.operator().execute(context)
        started = system.id(system.operator().execute(retry(context)))
        assert starts(control) == [*siblings, started]

    @pytest.mark.parametrize("done", [True, False], ids=["its start was done", "it was not"])
    def test_one_whose_reply_was_lost_is_not_taken_for_the_other(
        self, system: Any, control: Control, ti: Any, store: Store, done: bool
    ) -> None:
        context, siblings = first_try(ti, store, map_index=0), list[str]()
        let_in_a_sibling(system, store, siblings)
        control.inject("lost_after" if done else "lost_before", vendor=system.name, method=system.method, skip=1)
        for _ in range(3):
            with pytest.raises(StartUnclearError) as unclear:
                system.operator().execute(context)
            assert sorted(unclear.value.candidates) == sorted(starts(control))
            assert siblings[0] in unclear.value.candidates
            retry(context)
        assert len(starts(control)) == 1 + done

    @pytest.mark.parametrize("has_store", [True, False], ids=["with a store", "without"])
    def test_many_at_once_each_have_their_own_or_are_named(
        self, system: Any, control: Control, has_store: bool
    ) -> None:
        faults: list[tuple[str, dict[str, Any]]] = [
            system.forbidden,
            ("lost_before", {}),
            ("lost_after", {}),
            ("error_500", {"done": True}),
            ("refused", {}),
        ]
        for nth, (kind, options) in enumerate(faults):
            control.inject(kind, vendor=system.name, method=system.method, skip=nth, **options)

        def order(number: int) -> str | StartUnclearError:
            context = first_try(TaskInstance(), Store() if has_store else None, map_index=number)
            failure: Any = None
            for _ in range(3):
                try:
                    return str(system.id(system.ordering(number).execute(context)))
                except (AirflowFailException, StartUnclearError) as error:
                    failure = error
                retry(context)
            assert isinstance(failure, StartUnclearError)
            return failure

        with ThreadPoolExecutor(8, initializer=be_a_worker) as pool:
            outcomes = dict(enumerate(pool.map(order, range(8))))

        begun = {entry["id"]: system.order_of(entry) for entry in control.journal("start")}
        assert len(begun) == len(set(begun.values())), "no order runs twice"
        for number, outcome in outcomes.items():
            if isinstance(outcome, str):
                assert begun[outcome] == number
            else:
                assert set(outcome.candidates) <= begun.keys()
                assert number not in begun.values() or any(begun[one] == number for one in outcome.candidates)

    def test_without_a_store_a_retry_takes_nothing_of_a_sibling(self, system: Any, control: Control, ti: Any) -> None:
        context = first_try(ti, None, map_index=0)
        kind, options = system.forbidden
        control.inject(kind, vendor=system.name, method=system.method, **options)
        with refused(AccessDeniedError):
            system.operator().execute(context)
        sibling = system.id(system.operator().execute(first_try(TaskInstance(), None, map_index=1)))
        with pytest.raises(StartUnclearError) as unclear:
            system.operator().execute(retry(context))
        assert unclear.value.candidates == (sibling,)
        assert starts(control) == [sibling]


class TestRetry:
    def test_it_goes_on_with_what_was_started(self, system: Any, control: Control, context: Any) -> None:
        first = system.id(system.operator().execute(context))
        assert system.id(system.operator().execute(retry(context))) == first
        assert starts(control) == [first]

    def test_a_cleared_task_starts_a_new_one(self, system: Any, control: Control, context: Any) -> None:
        first = system.id(system.operator().execute(context))
        second = system.id(system.operator().execute(clear(context)))
        assert starts(control) == [first, second]

    def test_a_worker_lost_between_the_start_and_its_note_starts_no_second_one(
        self, system: Any, control: Control, context: Any, store: Store
    ) -> None:
        lose_worker_after_start(store)
        with pytest.raises(WorkerLostError):
            system.operator().execute(context)
        (started,) = starts(control)
        with pytest.raises(StartUnclearError, match=started):
            system.operator().execute(retry(context))
        assert starts(control) == [started]

    def test_what_was_found_by_looking_is_noted(
        self, system: Any, control: Control, context: Any, store: Store
    ) -> None:
        control.configure(finishes_after=0.0)
        lose_worker_after_start(store)
        with pytest.raises(WorkerLostError):
            system.operator().execute(context)
        (started,) = starts(control)
        assert system.id(system.operator(sole_starter=True).execute(retry(context))) == started
        system.finish(started)
        assert system.id(system.operator(sole_starter=True).execute(retry(context))) == started
        assert starts(control) == [started]

    def test_a_first_try_that_never_reached_the_system_is_followed_by_a_start(
        self, system: Any, control: Control, context: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setenv(f"AIRFLOW_CONN_{system.name.upper()}_DEFAULT", f"{system.name}://1:{NOBODY}@127.0.0.1:9/http")
            with pytest.raises(NotConnectedError):
                system.operator().execute(context)
        result = system.operator().execute(retry(context))
        assert starts(control) == [system.id(result)]

    def test_a_failed_instance_is_what_the_retry_is_for(self, control: Control, context: Any) -> None:
        system = Domo(control)
        control.configure(finishes_after=0.0, final_status="FAILED")
        with pytest.raises(NotCompletedError):
            run_through(lambda: system.operator(wait_for_completion=True), context)
        control.configure(final_status="COMPLETED")
        result, _ = run_through(lambda: system.operator(wait_for_completion=True), retry(context))
        assert result["status"] == "COMPLETED"
        assert len(starts(control)) == 2

    def test_an_instance_that_cannot_be_read_is_an_error_and_not_over(
        self, control: Control, context: Any, connect: Any
    ) -> None:
        system = Domo(control)
        started = system.id(system.operator().execute(context))
        connect(
            "DOMO_DEFAULT",
            password=control.settings()["domo_token"],
            extra={"instance_path": "/api/workflow/v1/wrong/{instance_id}"},
        )
        for _ in range(3):
            with refused(NotFoundError, match="instance_path"):
                system.operator().execute(retry(context))
        assert starts(control) == [started]

    def test_a_note_that_somebody_changed_leads_to_nothing_of_another_target(
        self, system: Any, control: Control, context: Any, store: Store
    ) -> None:
        system.operator().execute(context)
        store["external_id"]["value"]["id"] = system.add_foreign()
        operator = system.operator(wait_for_completion=True, wait_timeout=0.1, deferrable=False)
        with refused(ForeignIdError):
            operator.execute(retry(context))
        operator.on_kill()
        assert system.ended_by_us() == []

    @pytest.mark.parametrize("changed", ["../../../content/v2/users/1", "", "a b"])
    def test_nor_to_another_api(self, system: Any, control: Control, context: Any, store: Store, changed: str) -> None:
        system.operator().execute(context)
        sent = len(control.requests())
        store["external_id"]["value"]["id"] = changed
        with refused(ArgumentError, match="is not a"):
            system.operator().execute(retry(context))
        assert len(control.requests()) == sent


class TestWithoutStore:
    """Before Airflow 3.3 nothing tells a retry what an earlier try did."""

    def test_a_retry_names_what_may_have_been_started_and_starts_nothing(
        self, system: Any, control: Control, storeless: Any
    ) -> None:
        started = system.id(system.operator().execute(storeless))
        with pytest.raises(StartUnclearError) as unclear:
            system.operator().execute(retry(storeless))
        assert unclear.value.candidates == (started,)
        assert starts(control) == [started]

    def test_where_nothing_else_starts_the_same_it_goes_on_with_it(
        self, system: Any, control: Control, storeless: Any
    ) -> None:
        started = system.id(system.operator(sole_starter=True).execute(storeless))
        assert system.id(system.operator(sole_starter=True).execute(retry(storeless))) == started
        assert starts(control) == [started]

    def test_a_start_that_was_not_done_is_sent_by_the_retry(
        self, system: Any, control: Control, storeless: Any
    ) -> None:
        control.inject("lost_before", vendor=system.name, method=system.method)
        with pytest.raises(StartUnclearError):
            system.operator().execute(storeless)
        system.operator().execute(retry(storeless))
        assert len(starts(control)) == 1

    def test_what_failed_is_judged_before_candidates_are_counted(self, control: Control, storeless: Any) -> None:
        system = Domo(control)
        control.configure(finishes_after=0.0, final_status="FAILED")
        for _ in range(3):
            system.operator(sole_starter=True).execute(storeless)
            retry(storeless)
        assert len(starts(control)) == 3

    def test_a_cleared_task_starts_a_new_one(self, system: Any, control: Control, storeless: Any) -> None:
        system.operator().execute(storeless)
        system.operator().execute(clear(storeless))
        assert len(starts(control)) == 2

    def test_what_was_there_before_the_dag_run_is_not_counted(
        self, system: Any, control: Control, storeless: Any
    ) -> None:
        system.operator().execute(storeless)
        storeless["dag_run"].start_date += timedelta(minutes=5)
        system.operator().execute(retry(storeless))
        assert len(starts(control)) == 2


def finish_at_once(system: Any, control: Control, store: Store) -> None:
    """Have what is started end by itself at once."""
    control.configure(finishes_after=0.0)
    store.meanwhile = lambda note: system.finish(note["id"]) if note["id"] else None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("refused", {}),
        ("lost_before", {}),
        ("lost_after", {}),
        ("error_500", {"done": False}),
        ("error_500", {"done": True}),
        ("html", {"status": 502, "done": True}),
        ("html", {"status": 200, "done": False}),
        ("truncated", {}),
        ("empty_body", {"done": True}),
        ("redirect", {}),
        ("error", {}),
    ],
)
def test_a_fault_at_any_request_neither_starts_twice_nor_loses_a_start(
    system: Any, control: Control, kind: str, options: dict[str, Any]
) -> None:
    if kind == "error":
        options = system.forbidden[1]
    for nth in range(6):
        control.reset()
        system, store = type(system)(control), Store()
        finish_at_once(system, control, store)
        control.inject(kind, vendor=system.name, skip=nth, **options)
        context, outcome = first_try(TaskInstance(), store), list[str]()
        for _ in range(3):
            try:
                outcome = [system.id(system.operator(wait_for_completion=True, deferrable=False).execute(context))]
                break
            except StartUnclearError as error:
                outcome = [*error.candidates]
            except (AirflowFailException, ApiError):
                outcome = []
            retry(context)
        assert outcome == starts(control), f"fault at request {nth}"
        assert len(outcome) == 1, f"fault at request {nth}"


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "in the worker"])
class TestWait:
    def test_it_succeeds_when_it_has_ended_with_no_deferral_if_it_has_at_once(
        self, system: Any, control: Control, context: Any, store: Store, deferrable: bool
    ) -> None:
        finish_at_once(system, control, store)
        result, deferrals = run_through(
            lambda: system.operator(wait_for_completion=True, deferrable=deferrable), context
        )
        assert starts(control) == [system.id(result)]
        assert deferrals == 0
        assert system.ended_by_us() == []

    def test_one_that_takes_too_long_is_ended_and_a_retry_starts_another(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        make = lambda: system.operator(wait_for_completion=True, deferrable=deferrable, wait_timeout=0.2)  # noqa: E731
        for tries in (1, 2):
            with pytest.raises(StillRunningError, match="still running after 0 s; it was cancelled"):
                run_through(make, context)
            assert system.ended_by_us() == starts(control)
            assert len(starts(control)) == tries
            retry(context)

    def test_unless_it_is_to_be_left_running_and_then_the_retry_waits_on(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        how = {"wait_for_completion": True, "deferrable": deferrable, "wait_timeout": 0.2, "cancel_on_kill": False}
        for _ in range(2):
            with pytest.raises(StillRunningError, match="left running"):
                run_through(lambda: system.operator(**how), context)
            retry(context)
        assert system.ended_by_us() == []
        assert len(starts(control)) == 1

    def test_one_that_could_not_be_cancelled_is_not_said_to_be(
        self, system: Any, control: Control, context: Any, deferrable: bool
    ) -> None:
        kind, options = system.forbidden
        control.inject(kind, vendor=system.name, method=system.ending, times=None, **options)
        how = {"wait_for_completion": True, "deferrable": deferrable, "wait_timeout": 0.2}
        for _ in range(2):
            with pytest.raises(StillRunningError, match=r"could not be cancelled, and may still run: .*403"):
                run_through(lambda: system.operator(**how), context)
            retry(context)
        assert system.ended_by_us() == []
        assert len(starts(control)) == 1

    def test_a_failed_instance_fails_the_task_with_the_instance_in_xcom(
        self, control: Control, context: Any, ti: Any, deferrable: bool
    ) -> None:
        control.configure(finishes_after=0.1, final_status="FAILED")
        with pytest.raises(NotCompletedError, match="is FAILED"):
            run_through(lambda: Domo(control).operator(wait_for_completion=True, deferrable=deferrable), context)
        assert ti.xcoms["return_value"]["status"] == "FAILED"


class TestDeferred:
    def defer(self, system: Any, context: Any, **how: Any) -> tuple[Callable[[], Any], TaskDeferred]:
        """Return what makes the operator, and its deferral."""
        make = lambda: system.operator(wait_for_completion=True, deferrable=True, **how)  # noqa: E731
        with pytest.raises(TaskDeferred) as deferred:
            make().execute(context)
        return make, deferred.value

    def test_it_goes_on_when_it_has_ended(self, system: Any, control: Control, context: Any) -> None:
        control.configure(finishes_after=300.0)
        make, deferred = self.defer(system, context)
        (started,) = starts(control)
        system.finish(started)
        control.advance(300)
        assert system.id(resume(make, context, deferred, fire(deferred.trigger))) == started

    def test_an_account_that_refuses_every_poll_holds_no_worker(
        self, control: Control, context: Any, clock: Any
    ) -> None:
        control.configure(finishes_after=5000.0)
        control.inject("refused", vendor="domo", method="get", retry_after=50, times=None)
        system = Domo(control)
        make, deferred = self.defer(system, context, wait_timeout=600)
        assert len(starts(control)) == 1
        assert sum(clock.naps) <= 60
        event = fire(deferred.trigger)
        clock.naps.clear()
        with pytest.raises(StillRunningError):
            resume(make, context, deferred, event)
        assert sum(clock.naps) <= 200
        assert system.ended_by_us() == starts(control)

    def test_who_does_not_wait_does_not_defer(self, system: Any, context: Any) -> None:
        _, deferrals = run_through(lambda: system.operator(deferrable=True), context)
        assert deferrals == 0

    def test_xcoms_that_somebody_changed_have_no_effect(
        self, system: Any, control: Control, context: Any, ti: Any
    ) -> None:
        foreign = system.add_foreign()
        make, deferred = self.defer(system, context, wait_timeout=0.2)
        ti.xcoms = dict.fromkeys([*ti.xcoms, "checkpoint", "return_value"], foreign)
        with pytest.raises(StillRunningError):
            resume(make, context, deferred, fire(deferred.trigger))
        assert system.ended_by_us() == starts(control)

    @pytest.mark.parametrize("event", [None, {}, {"status": "done"}, "success", {"status": "error", "message": "no"}])
    def test_an_event_that_is_not_ours_fails_the_task(self, system: Any, context: Any, event: Any) -> None:
        make, deferred = self.defer(system, context)
        with pytest.raises(WaitFailedError):
            resume(make, context, deferred, event)

    def test_an_event_with_what_is_no_id_fails_the_task(self, system: Any, control: Control, context: Any) -> None:
        make, deferred = self.defer(system, context)
        sent = len(control.requests())
        ids = ["../../../content/v2/users/1"]
        with refused(ArgumentError, match="is not a"):
            resume(make, context, deferred, {"status": "timeout", "workflow_ids": ids, "instance_ids": ids})
        assert len(control.requests()) == sent

    def test_airflows_execution_timeout_ends_the_wait_too(self, system: Any, control: Control, context: Any) -> None:
        make = lambda: system.operator(  # noqa: E731
            wait_for_completion=True, deferrable=True, execution_timeout=timedelta(seconds=0.2)
        )
        with pytest.raises(StillRunningError, match="still running after 0 s"):
            run_through(make, context)
        assert system.ended_by_us() == starts(control)


class TestKill:
    @pytest.fixture
    def tell_state(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Return what has Airflow tell a state of the task, or fail."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        def tell_state(state: Any, map_index: int = -1) -> None:
            def states(**asked: Any) -> dict[str, dict[str, Any]]:
                assert asked == {"dag_id": "dag", "map_index": map_index, "task_ids": ["task"], "run_ids": ["run"]}
                if isinstance(state, Exception):
                    raise state
                return {"run": {"task" if map_index < 0 else f"task_{map_index}": state}}

            monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))

        return tell_state

    @pytest.fixture
    def kill_deferred(
        self, tell_state: Callable[..., None], ti: Any, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        """Return what has Airflow tell a trigger of a kill, and of a state of its task if it is asked."""

        def kill_deferred(trigger: Any, state: Any, map_index: int = -1) -> None:
            trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=map_index)
            tell_state(state, map_index)
            monkeypatch.setattr(XCom, "get_one", lambda *, key, **place: ti.xcoms[key])
            asyncio.run(trigger.on_kill())

        return kill_deferred

    def test_a_task_killed_in_the_worker_ends_what_it_started_and_a_retry_starts_another(
        self, system: Any, control: Control, context: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        operator = system.operator()
        operator.execute(context)
        operator.on_kill()
        assert system.ended_by_us() == starts(control)
        assert "it was cancelled" in caplog.text
        system.operator().execute(retry(context))
        assert len(starts(control)) == 2

    def test_one_killed_before_the_start_is_sent_starts_nothing(
        self, system: Any, control: Control, context: Any, store: Store
    ) -> None:
        operator = system.operator()
        store.meanwhile = lambda _: operator.on_kill()
        with pytest.raises(StoppedError):
            operator.execute(context)
        assert starts(control) == []
        assert store == {}

    def test_one_killed_before_its_connection_is_read_starts_nothing(
        self, system: Any, control: Control, context: Any
    ) -> None:
        operator = system.operator()
        operator.on_kill()
        with pytest.raises(StoppedError):
            operator.execute(context)
        assert starts(control) == []

    def test_one_killed_while_its_start_is_under_way_ends_it_when_it_knows_it(
        self, system: Any, control: Control, context: Any, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = system.operator()
        # The request has left already, so a stop does not keep it back.
        monkeypatch.setattr(Client, "stop", lambda self, reason: None)
        store.meanwhile = lambda note: None if note["id"] else operator.on_kill()
        operator.execute(context)
        assert len(starts(control)) == 1
        assert system.ended_by_us() == starts(control)
        assert store == {}

    def test_one_killed_while_it_talks_to_airflow_ends_what_it_started(
        self, system: Any, control: Control, context: Any, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Airflow answers one question after the other, and the handler of a signal strikes in the middle of one."""
        operator, talking = system.operator(), Lock()
        get_connection = BaseHook.get_connection

        def talk(conn_id: str) -> Any:
            assert talking.acquire(timeout=300)
            talking.release()
            return get_connection(conn_id)

        def killed(note: dict[str, Any]) -> None:
            if note["id"]:
                monkeypatch.setattr(BaseHook, "get_connection", staticmethod(talk))
                with talking:
                    operator.on_kill()

        monkeypatch.setattr(starting, "HANDLER_SECONDS", 0.05)
        store.meanwhile = killed
        operator.execute(context)
        assert len(starts(control)) == 1
        assert system.ended_by_us() == starts(control)
        assert store == {}

    def test_one_killed_while_it_goes_on_after_a_deferral_ends_what_it_started(
        self, system: Any, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        how = {"wait_for_completion": True, "deferrable": True, "wait_timeout": 0.2}
        with pytest.raises(TaskDeferred) as deferred:
            system.operator(**how).execute(context)
        event = fire(deferred.value.trigger)
        operator = system.operator(**how)
        get_connection = BaseHook.get_connection

        def killed(conn_id: str) -> Any:
            if not operator._killed:
                operator.on_kill()
            return get_connection(conn_id)

        with monkeypatch.context() as patch:
            patch.setattr(BaseHook, "get_connection", staticmethod(killed))
            with pytest.raises(StoppedError):
                resume(lambda: operator, context, deferred.value, event)
        assert system.ended_by_us() == starts(control)

    def test_what_it_ended_is_told_though_the_note_of_it_cannot_be_removed(
        self,
        system: Any,
        control: Control,
        context: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def away(self: Store, key: str) -> None:
            raise OSError("away")

        operator = system.operator()
        operator.execute(context)
        monkeypatch.setattr(Store, "delete", away)
        operator.on_kill()
        assert system.ended_by_us() == starts(control)
        assert "it was cancelled" in caplog.text
        assert "a retry may take it for the result" in caplog.text

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow keeps no note there by which a retry goes on")
    @pytest.mark.parametrize(("state", "is_lost"), [("running", True), ("up_for_retry", True), ("restarting", False)])
    def test_one_that_airflow_took_for_lost_leaves_to_its_retry_what_it_started(
        self,
        system: Any,
        control: Control,
        context: Any,
        tell_state: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        state: str,
        is_lost: bool,
    ) -> None:
        """Its worker was frozen or cut off, and ends it when it comes back. A task that is cleared is restarting."""
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        def refuse(self: Store, key: str) -> None:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))

        lost = system.operator()
        lost.execute(context)
        monkeypatch.setattr(Store, "delete", refuse)
        tell_state(state)
        lost.on_kill()
        assert system.ended_by_us() == ([] if is_lost else starts(control))

    def test_what_strikes_a_task_while_its_start_is_under_way_loses_no_start(
        self, system: Any, control: Control, context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = system.operator()
        run = operator.hook.run

        def run_and_be_struck(plan: Any) -> Any:
            result = run(plan)
            if starts(control):
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(operator.hook, "run", run_and_be_struck)
        with pytest.raises(KeyboardInterrupt):
            operator.execute(context)
        assert [system.id(system.operator().execute(retry(context)))] == starts(control)

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

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow tells no trigger of a kill there")
    @pytest.mark.parametrize(
        ("state", "map_index", "is_killed"),
        [
            ("failed", -1, True),
            (None, 3, True),
            ("deferred", -1, False),
            ("deferred", 3, False),
            (OSError(), -1, False),
        ],
    )
    def test_a_triggerer_that_was_frozen_ends_nothing_that_another_one_waits_for_by_now(
        self,
        system: Any,
        control: Control,
        context: Any,
        kill_deferred: Callable[..., None],
        state: Any,
        map_index: int,
        is_killed: bool,
    ) -> None:
        """Airflow tells its triggers then that they are killed by a user."""
        with pytest.raises(TaskDeferred) as deferred:
            system.operator(wait_for_completion=True, deferrable=True).execute(context)
        kill_deferred(revive(deferred.value.trigger), state, map_index)
        assert system.ended_by_us() == (starts(control) if is_killed else [])

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow tells no trigger of a kill there")
    def test_what_a_cleared_task_waited_for_is_ended_though_it_waits_again_by_now(
        self, system: Any, control: Control, context: Any, kill_deferred: Callable[..., None]
    ) -> None:
        """It takes some seconds until a triggerer hears of it."""
        triggers: list[Any] = []
        for _ in range(2):
            with pytest.raises(TaskDeferred) as deferred:
                system.operator(wait_for_completion=True, deferrable=True).execute(context)
            triggers.append(revive(deferred.value.trigger))
            clear(context)
        kill_deferred(triggers[0], "deferred")
        assert len(starts(control)) == 2
        assert system.ended_by_us() == starts(control)[:1]

    def test_a_kill_is_carried_out_though_airflow_cancels_the_trigger_meanwhile(
        self, system: Any, control: Control, context: Any
    ) -> None:
        """It does so each second, until the trigger has ended."""
        with pytest.raises(TaskDeferred) as deferred:
            system.operator(wait_for_completion=True, deferrable=True).execute(context)
        trigger: Any = revive(deferred.value.trigger)

        async def work() -> None:
            killed = asyncio.ensure_future(trigger.on_kill())
            await asyncio.sleep(0)
            killed.cancel()
            while background._tasks:
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(work(), 300))
        assert system.ended_by_us() == starts(control)


class TestLog:
    """What a reader of the log needs is in it: what is started where, its page, what becomes of it."""

    def test_of_an_instance(self, control: Control, context: Any, caplog: pytest.LogCaptureFixture) -> None:
        control.configure(finishes_after=1.0)
        system = Domo(control)
        with caplog.at_level("INFO"):
            started = system.operator(wait_for_completion=True, deferrable=False, poll_interval=0.5).execute(context)
        lines = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
        model, version = started["modelId"], started["modelVersion"]
        (first,) = [line for line in lines if line.startswith("Starting ")]
        assert f"Starting model {model}, version {version}, with message " in first
        assert first.endswith(f"see {control.url}/workflows")
        assert f"Started {started['id']}" in lines
        assert f"Its page: {control.url}/workflows/instances/{model}/{version}/{started['id']}" in lines
        changes = [line for line in lines if line.startswith(f"Instance {started['id']} is ")]
        assert changes[-1].endswith("is COMPLETED")
        assert sum(line.endswith("is IN_PROGRESS") for line in changes) <= 1

    def test_of_a_workflow(self, control: Control, context: Any, caplog: pytest.LogCaptureFixture) -> None:
        system = Bitrix24(control)
        with caplog.at_level("INFO"):
            started = system.operator().execute(context)
        lines = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
        assert any(line.startswith("Starting a workflow of template ") for line in lines)
        assert f"Its page: {control.url}/company/personal/bizproc/{started}/" in lines
