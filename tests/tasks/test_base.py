"""Which errors end a task for good, on every Airflow, and which are for Airflow's retries."""

from __future__ import annotations

import runpy
import traceback
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    PokeReturnValue,
)

from airflow_provider_workflows.bitrix24.clean_up import TooManyWorkflowsError
from airflow_provider_workflows.bitrix24.filters import FilterError
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import Instance
from airflow_provider_workflows.domo.watching import NotCompletedError
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError, ConnectionUnreadableError
from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpWorkflowsOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    StartWorkflowOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.records.store import RecordStoreError
from airflow_provider_workflows.rest.ending import EndReport, NotAllEndedError
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    AuthenticationError,
    ProviderError,
    RateLimitError,
    ReplyLostError,
    StoppedError,
)
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.tasks.base import ProviderTask
from airflow_provider_workflows.triggers.polling import WaitFailedError, unexpected_event

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / "docs/make_reference.py"))

FINAL = [
    AccessDeniedError("call", text="not for you"),
    AuthenticationError("call"),
    NotFoundError("call"),
    FilterError("filters: wrong"),
    ConnectionFieldError("portal", "login is empty"),
    TooManyWorkflowsError(5, 3),
]
PASSING = [RateLimitError("call"), ReplyLostError("call"), StoppedError("call"), KeyError("a mistake in the program")]


class Failing(ProviderTask):
    """A task in which an error comes up."""

    hook = Bitrix24Hook("portal")

    def __init__(self, *, error: BaseException, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: Any) -> None:
        """Fail."""
        raise self.error

    def execute_complete(self, context: Any, event: Any) -> None:
        """Fail."""
        raise self.error


@pytest.fixture(params=["execute", "execute_complete"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_PORTAL", "bitrix24://1:code@acme.bitrix24.com")
    monkeypatch.setattr(Failing, "hook", Bitrix24Hook("portal"))
    Failing.hook.get_conn()

    def run(error: BaseException) -> None:
        task = Failing(task_id="task", error=error)
        return task.execute({}) if request.param == "execute" else task.execute_complete({}, {})

    return run


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_what_only_a_person_can_change_fails_the_task_for_good(run: Any, error: Exception) -> None:
    with pytest.raises(AirflowFailException) as failed:
        run(error)
    assert failed.value.__cause__ is error
    assert str(failed.value) == str(error)


@pytest.mark.parametrize("error", [*PASSING, AirflowSkipException("skip")], ids=lambda error: type(error).__name__)
def test_what_may_pass_and_what_is_not_ours_stays_as_it_is(run: Any, error: Exception) -> None:
    with pytest.raises(type(error)) as failed:
        run(error)
    assert failed.value is error


@pytest.mark.parametrize("error", [AccessDeniedError("call"), RateLimitError("call")], ids=["final", "passing"])
def test_the_log_shows_what_an_error_says_and_no_lines_of_code_before_it(
    run: Any, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    error.__cause__ = ReplyLostError("call")
    with pytest.raises(Exception) as failed:  # noqa: PT011
        run(error)
    shown = "".join(traceback.format_exception(failed.value))
    assert shown.count("in checked") == 1
    assert "in execute" not in shown
    assert str(error) in shown
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert " ".join(lines) == " ".join(str(error).splitlines())
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("errors", "retry_helps"),
    [
        ([AccessDeniedError("call")], False),
        ([AccessDeniedError("call"), ReplyLostError("call")], True),
        ([ReplyLostError("call")], True),
    ],
)
def test_not_all_ended_is_final_if_each_failure_is(errors: list[Any], retry_helps: bool) -> None:
    report = EndReport(requested=len(errors))
    for nth, error in enumerate(errors):
        report.fail(str(nth), error)
    failure = report.failure
    assert failure is not None
    assert failure.retry_helps is retry_helps


def test_a_map_index_that_is_wrong_is_told_by_its_task_and_not_tried_again() -> None:
    with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
        mapped: Any = ListWorkflowsOperator.partial(task_id="task").expand(filters=[{"STARTD": "x"}])
    with pytest.raises(AirflowFailException, match="did you mean STARTED") as failed:
        mapped.unmap({"filters": {"STARTD": "x"}}).execute({})
    assert isinstance(failed.value.__cause__, FilterError)


CLEAN_UP = {"filters": {"TEMPLATE_ID": 7}}
END = {"workflow_id": "65e5a449e8f135.21284909"}
START = {"template_id": 1, "document_id": ["crm", "CCrmDocumentLead", "LEAD_1"]}
DOMO_START = {"model_id": "a8afdc89", "version": "1.0.0", "message_name": "Start Orders"}


@pytest.mark.parametrize(
    ("operator", "others", "name"),
    [
        (CleanUpWorkflowsOperator, CLEAN_UP, "max_workflows"),
        (CleanUpWorkflowsOperator, CLEAN_UP, "record_path"),
        (CleanUpWorkflowsOperator, CLEAN_UP, "stuck_for"),
        (CleanUpWorkflowsOperator, {"stuck_for": timedelta(hours=1)}, "filters"),
        (TerminateWorkflowOperator, END, "filters"),
        (KillWorkflowOperator, END, "stuck_for"),
        (ListWorkflowsOperator, {}, "filters"),
        (DomoCancelOperator, {"instance_id": "2052e10a-d142-4391-a731-2be1ab1c0188"}, "record_path"),
        (StartWorkflowOperator, START, "parameters"),
        (DomoStartOperator, DOMO_START, "data"),
    ],
)
def test_an_argument_of_a_map_index_that_comes_out_as_nothing_is_not_taken_for_one_that_was_left_out(
    operator: Any, others: dict[str, Any], name: str
) -> None:
    with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
        mapped: Any = operator.partial(task_id="task", **others).expand(**{name: [None]})
    with pytest.raises(AirflowFailException, match=f"{name} (was given, but is None|is empty)"):
        mapped.unmap({name: None}).execute({})


def test_an_error_before_the_connection_was_used_is_not_kept_waiting_or_hidden_by_reading_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(*_: Any) -> None:
        raise AirflowTaskTimeout("the secrets backend did not answer in time")

    monkeypatch.setattr(Bitrix24Hook, "get_connection", hang)
    with pytest.raises(WaitFailedError, match="\nConnection 'portal', The trigger's event"):
        Failing(task_id="task", error=unexpected_event({})).execute({})


def made(kind: Any) -> Any:
    """Return an error of this class."""
    special: dict[Any, tuple[Any, ...]] = {
        TooManyWorkflowsError: (5, 3),
        NotAllEndedError: ([{"reason": "no", "count": 1, "ids": ["7"]}], 1, 2),
        NotCompletedError: (Instance(id="7", status="FAILED"),),
        RecordStoreError: ("Redis", "away"),
        ConnectionUnreadableError: ("bitrix24_default", "away"),
    }
    return kind(*special.get(kind, ("that",)))


@pytest.mark.parametrize(
    "kind", [kind for kind in REFERENCE["errors"]() if not issubclass(kind, ValueError)], ids=lambda kind: kind.__name__
)
def test_an_error_of_an_account_says_what_to_do_and_then_where_it_was_and_where_the_docs_tell_of_it(
    run: Any, kind: type[ProviderError]
) -> None:
    with pytest.raises((kind, AirflowFailException)) as failed:
        run(error := made(kind))
    *advice, told = str(failed.value).splitlines()
    assert advice == ([error.advice] if error.advice else [])
    assert told.startswith("Connection 'portal' (acme.bitrix24.com), ")
    assert told.endswith(f". See docs/errors.md#{kind.__name__.lower()}")


class TestSensors:
    @pytest.fixture
    def sensor(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def refuse(self: Any, context: Any) -> PokeReturnValue:
            raise AccessDeniedError("call", text="not for you")

        monkeypatch.setattr(RunningWorkflowsSensor, "_poll", refuse)
        return lambda **how: RunningWorkflowsSensor(task_id="wait", poke_interval=0, **how)

    @pytest.mark.parametrize("how", [{"soft_fail": True}, {"never_fail": True}])
    def test_those_that_may_not_fail_are_skipped(self, sensor: Any, how: dict[str, bool]) -> None:
        with pytest.raises(AirflowSkipException):
            sensor(**how).execute({})

    @pytest.mark.parametrize("how", [{}, {"silent_fail": True}])
    def test_others_fail_at_once(self, sensor: Any, how: dict[str, bool]) -> None:
        with pytest.raises(AirflowFailException, match="not for you"):
            sensor(**how).execute({})
