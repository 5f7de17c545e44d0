"""Everything that can go wrong, each to an exception that nobody catches.

Not collected by itself: ``test_nothing_leaks.py`` runs it, with the connections in environment variables, and
looks for the credentials in all that pytest prints. So no variable here may hold one.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import json
import logging
import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from _pytest._code import source
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_workflows.bitrix24 import (
    Bitrix24Client,
    Portal,
    WorkflowFilter,
    calls,
    list_workflows,
)
from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.domo import Account, DomoClient, read_instance
from airflow_provider_workflows.domo.calls import start_instance
from airflow_provider_workflows.hooks import oauth
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.operators.bitrix24 import (
    FlowActivateOperator,
    FlowUpdateOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.plans import send
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsEndedTrigger
from airflow_provider_workflows.triggers.domo import InstancesTrigger
from airflow_provider_workflows.triggers.polling import validate_event
from tests.secrets.answers import FAILURES, TOKEN_FAILURES

# pytest parses a whole file anew for each frame that it prints, which would take half of the time.
ast.parse = functools.cache(ast.parse)  # type: ignore[assignment]
source.get_statement_startend2 = functools.cache(source.get_statement_startend2)

log = logging.getLogger(__name__)
WORKFLOWS = ["65e5a449e8f135.21284909", "65e5a449e8f135.21284910"]
INSTANCE = "2052e10a-d142-4391-a731-2be1ab1c0188"
CREDENTIALS = ["webhook", "token", "domo"]

Expect = Callable[[str], None]


@pytest.fixture
def expect(record_property: Callable[[str, object], None]) -> Expect:
    """Tell the outer test which exception this scenario must end in."""
    return lambda name: record_property("expected", name)


class Sleepless(Clock):
    """Who sleeps is there at once."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead

    def sleep(self, seconds: float, until: Any) -> None:
        self.ahead += seconds

    async def asleep(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccountHook, "clock", Sleepless())


@contextmanager
def told() -> Iterator[None]:
    """Print whatever can be had of an exception, and log it."""
    try:
        yield
    except BaseException as error:
        seen: BaseException | None = error
        while seen is not None:
            print(repr(seen), str(seen), seen.args, vars(seen), pickle.dumps(seen))
            print("reason", getattr(seen, "reason", None), "failed", getattr(seen, "failed", None))
            seen = seen.__cause__ or seen.__context__
        log.exception("failed")
        raise


class TaskInstance:
    """Prints what is pushed."""

    try_number, max_tries = 1, 0

    def xcom_push(self, key: str, value: Any) -> None:
        print("XCom", key, json.dumps(value))


def hook_of(credential: str, failure: str) -> Any:
    hook: Any = (DomoHook if credential == "domo" else Bitrix24Hook)(f"{credential}_{failure}")
    return hook


def execute(operator: Any, credential: str, failure: str) -> None:
    operator.__dict__["hook"] = hook_of(credential, failure)
    with told():
        print("XCom return_value", operator.execute({"ti": TaskInstance()}))


class TestServer:
    """Each way in which a server can fail, met by each credential."""

    @pytest.mark.parametrize("credential", CREDENTIALS)
    @pytest.mark.parametrize("failure", [name for name in FAILURES if name != "running"])
    def test_client(self, credential: str, failure: str, expect: Expect) -> None:
        expect(FAILURES[failure].domo if credential == "domo" else FAILURES[failure].bitrix24)
        hook = hook_of(credential, failure)
        plan: Any = read_instance(INSTANCE) if credential == "domo" else list_workflows(WorkflowFilter())
        with told():
            hook.run(plan)

    @pytest.mark.parametrize("credential", CREDENTIALS)
    @pytest.mark.parametrize("failure", ["hang", "html_500", "moved", "error_401"])
    def test_connection_test(self, credential: str, failure: str, expect: Expect) -> None:
        expect("RuntimeError")
        raise RuntimeError(hook_of(credential, failure).test_connection())


class TestNoServer:
    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_nothing_listens(self, credential: str, expect: Expect) -> None:
        expect("NotConnectedError")
        with told():
            hook_of(credential, "unreachable").run(
                send(start_instance("m", "1", "n") if credential == "domo" else LIST)
            )

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_the_name_is_unknown(self, credential: str, expect: Expect, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_such_name(*args: Any, **kwargs: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
        expect("NotConnectedError")
        with told():
            hook_of(credential, "nowhere").run(send(start_instance("m", "1", "n") if credential == "domo" else LIST))

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_the_task_times_out_meanwhile(self, credential: str, expect: Expect) -> None:
        def strike(number: int, frame: Any) -> None:
            raise AirflowTaskTimeout("task timed out")

        expect("AirflowTaskTimeout")
        hook = hook_of(credential, "hang_long")
        signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with told():
            hook.run(send(start_instance("m", "1", "n") if credential == "domo" else LIST))

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_an_argument_is_no_json(self, credential: str, expect: Expect) -> None:
        expect("InvalidCallError")
        data = {"when": object()}
        with told():
            hook_of(credential, "unreachable").run(
                send(start_instance("m", "1", "n", data) if credential == "domo" else calls.update_flow(data))
            )

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_the_trusted_certificates_are_missing(
        self, credential: str, expect: Expect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
        expect("ConnectionFieldError")
        with told():
            hook_of(credential, "nowhere").get_conn()

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_so_they_are_for_the_triggerer(
        self, credential: str, expect: Expect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work() -> None:
            async with hook.shared_client():
                pass

        hook = hook_of(credential, "nowhere")
        monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        expect("ConnectionFieldError")
        with told():
            asyncio.run(work())


LIST = calls.list_workflows(select=["ID"])


class TestOperators:
    @pytest.mark.parametrize("credential", ["webhook", "token"])
    @pytest.mark.parametrize("operator", [TerminateWorkflowOperator, KillWorkflowOperator])
    @pytest.mark.parametrize("ids", [WORKFLOWS, WORKFLOWS[:1]])
    def test_not_all_ended(self, credential: str, operator: Any, ids: list[str], expect: Expect) -> None:
        expect("AirflowFailException")
        execute(operator(task_id="end", workflow_id=ids), credential, "running")

    def test_not_all_cancelled(self, expect: Expect) -> None:
        expect("AirflowFailException")
        execute(DomoCancelOperator(task_id="end", instance_id=INSTANCE), "domo", "running")

    @pytest.mark.parametrize("credential", ["webhook", "token"])
    def test_stopped_by_one_error(self, credential: str, expect: Expect) -> None:
        expect("AirflowFailException")
        execute(TerminateWorkflowOperator(task_id="end", workflow_id=WORKFLOWS), credential, "error_401")

    def test_stopped_by_one_error_in_domo(self, expect: Expect) -> None:
        expect("AirflowFailException")
        execute(DomoCancelOperator(task_id="end", instance_id=INSTANCE), "domo", "error_401")

    @pytest.mark.parametrize("credential", ["webhook", "token"])
    @pytest.mark.parametrize("failure", ["moved", "cut_json", "reset"])
    def test_listing(self, credential: str, failure: str, expect: Expect) -> None:
        expect("AirflowFailException" if failure == "moved" else FAILURES[failure].bitrix24)
        execute(ListWorkflowsOperator(task_id="list"), credential, failure)

    @pytest.mark.parametrize("credential", ["webhook", "token"])
    @pytest.mark.parametrize("failure", ["error_zero", "not_promised"])
    def test_flows(self, credential: str, failure: str, expect: Expect) -> None:
        expect("AirflowFailException" if failure == "error_zero" else FAILURES[failure].bitrix24)
        execute(FlowActivateOperator(task_id="on", flow_id=517), credential, failure)

    def test_flow_update(self, expect: Expect) -> None:
        expect("AirflowFailException")
        execute(FlowUpdateOperator(task_id="set", flow_id=517, changes={"name": "x"}), "webhook", "error_zero")

    @pytest.mark.parametrize("credential", ["webhook", "token"])
    def test_sensor(self, credential: str, expect: Expect) -> None:
        expect("AirflowFailException")
        sensor: Any = RunningWorkflowsSensor(task_id="wait")
        sensor.__dict__["hook"] = hook_of(credential, "error_empty")
        with told():
            sensor.poke({"ti": TaskInstance()})


class TestTriggerer:
    """The same failures, met by the asynchronous client and by what waits in the triggerer."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AsyncBitrix24Client, "batch_delay", 0.0)
        # Airflow 3 has it speak of warnings only, Airflow 2 of everything.
        monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.DEBUG)

    @pytest.mark.parametrize("credential", CREDENTIALS)
    @pytest.mark.parametrize("failure", [name for name in FAILURES if name != "running"])
    def test_async_client(self, credential: str, failure: str, expect: Expect) -> None:
        expect(FAILURES[failure].domo if credential == "domo" else FAILURES[failure].bitrix24)
        hook = hook_of(credential, failure)
        plan: Any = read_instance(INSTANCE) if credential == "domo" else list_workflows(WorkflowFilter())

        async def work() -> None:
            async with hook.shared_client() as client:
                await client.run(plan)

        with told():
            asyncio.run(work())

    @pytest.mark.parametrize("credential", CREDENTIALS)
    def test_nothing_listens(self, credential: str, expect: Expect) -> None:
        expect("NotConnectedError")
        hook = hook_of(credential, "unreachable")
        plan: Any = send(start_instance("m", "1", "n") if credential == "domo" else LIST)

        async def work() -> None:
            async with hook.shared_client() as client:
                await client.run(plan)

        with told():
            asyncio.run(work())

    @pytest.mark.parametrize("credential", CREDENTIALS)
    @pytest.mark.parametrize("failure", ["error_401", "html_500", "cut_json", "reset", "unreachable"])
    def test_trigger(self, credential: str, failure: str, expect: Expect) -> None:
        expect("WaitFailedError")
        where: dict[str, Any] = {"poll_interval": 600, "deadline": None}
        trigger: Any = (
            InstancesTrigger(domo_conn_id=f"domo_{failure}", instance_ids=[INSTANCE], **where)
            if credential == "domo"
            else WorkflowsEndedTrigger(
                bitrix24_conn_id=f"{credential}_{failure}", workflow_ids=WORKFLOWS[:1], cancel_on_kill=True, **where
            )
        )

        async def work() -> Any:
            return [event.payload async for event in trigger.run()]

        print("trigger row", trigger, trigger.serialize())
        (event,) = asyncio.run(work())
        print("event", event)
        with told():
            validate_event(event)


@dataclass(frozen=True)
class Variables:
    """Airflow's Variables, in memory. No variable of a frame here holds what is in them."""

    kept: dict[str, str] = field(default_factory=dict, repr=False)

    def get(self, key: str, default: Any) -> Any:
        return self.kept.get(key) or (os.environ["STORED_TOKENS"] if self.kept is not NONE else default)

    def set(self, key: str, value: str, description: str) -> None:
        self.kept[key] = value


NONE: dict[str, str] = {}


class TestApplication:
    """A token server that fails in each way, while the portal refuses the access token."""

    @pytest.fixture(autouse=True)
    def stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = Variables()
        monkeypatch.setattr(oauth, "_variable", lambda: variables)
        monkeypatch.setattr(oauth, "TOKEN_TIMEOUT", 0.3)
        monkeypatch.setattr(Bitrix24Hook, "retry_timeout", 0.0)
        oauth.chain_of.cache_clear()

    @pytest.mark.parametrize("failure", [*TOKEN_FAILURES, "renewed"])
    def test_worker(self, failure: str, expect: Expect) -> None:
        expect(TOKEN_FAILURES.get(failure, "WorkflowError"))
        with told():
            Bitrix24Hook(f"application_{failure}").run(send(LIST))

    @pytest.mark.parametrize("failure", ["error_401", "cut_json", "renewed"])
    def test_triggerer(self, failure: str, expect: Expect) -> None:
        expect(TOKEN_FAILURES.get(failure, "WorkflowError"))

        async def work() -> None:
            async with Bitrix24Hook(f"application_{failure}").shared_client() as client:
                await client.run(send(LIST), retry_timeout=0.0)

        with told():
            asyncio.run(work())

    @pytest.mark.parametrize("failure", ["error_401", "html_500", "not_promised", "moved"])
    def test_authorize(self, failure: str, expect: Expect) -> None:
        expect(TOKEN_FAILURES[failure])
        with told():
            Bitrix24Hook(f"application_{failure}").application_tokens().exchange(os.environ["SECRET_CODE"], None)

    @pytest.mark.parametrize("failure", ["error_401", "renewed"])
    def test_operator(self, failure: str, expect: Expect) -> None:
        expect("AirflowFailException")
        execute(TerminateWorkflowOperator(task_id="end", workflow_id=WORKFLOWS), "application", failure)

    def test_nothing_is_stored(self, expect: Expect, monkeypatch: pytest.MonkeyPatch) -> None:
        expect("AuthorizeAgainError")
        monkeypatch.setattr(oauth, "_variable", lambda: Variables(NONE))
        with told():
            Bitrix24Hook("application_error_401").run(send(LIST))


class TestConnections:
    """Connections that are refused, with the credential in one field or another."""

    @pytest.mark.parametrize("conn_id", json.loads(os.environ["BAD_CONNECTIONS"]))
    def test_hook(self, conn_id: str, expect: Expect) -> None:
        expect("ConnectionFieldError")
        with told():
            (DomoHook if "domo" in conn_id else Bitrix24Hook)(conn_id).get_conn()

    @pytest.mark.parametrize("conn_id", json.loads(os.environ["BAD_CONNECTIONS"]))
    def test_connection_test(self, conn_id: str, expect: Expect) -> None:
        expect("RuntimeError")
        raise RuntimeError((DomoHook if "domo" in conn_id else Bitrix24Hook)(conn_id).test_connection())


class TestNotebook:
    """The clients by themselves, without Airflow."""

    @pytest.mark.parametrize("variable", json.loads(os.environ["BAD_URLS"]))
    def test_a_bad_address(self, variable: str, expect: Expect) -> None:
        expect("FieldError")
        with told():
            Portal.from_webhook_url(os.environ[variable])

    def test_a_bad_webhook(self, expect: Expect) -> None:
        expect("FieldError")
        with told():
            Portal.with_webhook("acme.bitrix24.com", 1, os.environ["SECRET_WEBHOOK"] + "/x")

    def test_a_bad_access_token(self, expect: Expect) -> None:
        expect("FieldError")
        with told():
            Portal.with_access_token("acme bitrix24", os.environ["SECRET_TOKEN"])

    def test_a_bad_developer_token(self, expect: Expect) -> None:
        expect("FieldError")
        with told():
            Account.with_token("acme.domo.com", os.environ["SECRET_DOMO"] + " x")

    def test_a_portal_does_not_answer(self, expect: Expect) -> None:
        expect("NotConnectedError")
        portal = Portal.with_webhook("127.0.0.1", 1, os.environ["SECRET_WEBHOOK"], "http", int(os.environ["NO_PORT"]))
        with told(), Bitrix24Client(portal, clock=Sleepless()) as client:
            client.run(list_workflows(WorkflowFilter()))

    def test_a_domo_account_does_not_answer(self, expect: Expect) -> None:
        expect("NotConnectedError")
        account = Account.with_token("127.0.0.1", os.environ["SECRET_DOMO"], "http", int(os.environ["NO_PORT"]))
        with told(), DomoClient(account, clock=Sleepless()) as client:
            client.run(read_instance(INSTANCE))

    def test_a_bad_filter(self, expect: Expect) -> None:
        expect("FilterError")
        with told(), Bitrix24Client(Portal.with_webhook("127.0.0.1", 1, os.environ["SECRET_WEBHOOK"])) as client:
            client.run(list_workflows(WorkflowFilter.parse({"NO_FIELD": 1})))

    def test_a_plan_that_fails_by_itself(self, expect: Expect) -> None:
        def plan() -> Iterator[Any]:
            raise ApiError("mine", text=os.environ["SECRET_DOMO"])
            yield

        expect("ApiError")
        with told(), DomoClient(Account.with_token("127.0.0.1", os.environ["SECRET_DOMO"])) as client:
            client.run(plan())  # type: ignore[arg-type]


class TestControl:
    """Scenarios that do leak, each in its own way: the outer test must find them all."""

    def test_in_the_message(self, expect: Expect) -> None:
        expect("RuntimeError")
        raise RuntimeError(os.environ["CONTROL_MESSAGE"])

    def test_in_a_variable(self, expect: Expect) -> None:
        expect("RuntimeError")
        variable = os.environ["CONTROL_VARIABLE"]
        raise RuntimeError(f"{len(variable)} characters")

    def test_in_an_inner_frames_variable(self, expect: Expect) -> None:
        def inner(variable: str) -> None:
            outer()

        def outer() -> None:
            raise RuntimeError("deep down")

        expect("RuntimeError")
        inner(os.environ["CONTROL_FRAME"])

    def test_in_the_cause(self, expect: Expect) -> None:
        expect("RuntimeError")
        try:
            raise LookupError(os.environ["CONTROL_CAUSE"])
        except LookupError as error:
            raise RuntimeError("because of that") from error

    def test_in_the_log(self, expect: Expect) -> None:
        expect("RuntimeError")
        log.debug("%s", os.environ["CONTROL_LOG"])
        raise RuntimeError("logged")

    def test_in_the_pickle(self, expect: Expect) -> None:
        expect("RuntimeError")
        with told():
            error = RuntimeError("pickled")
            error.token = os.environ["CONTROL_PICKLE"]  # type: ignore[attr-defined]
            raise error

    def test_in_an_xcom(self, expect: Expect) -> None:
        expect("RuntimeError")
        TaskInstance().xcom_push("return_value", {"failed": {"x": os.environ["CONTROL_XCOM"]}})
        raise RuntimeError("pushed")

    def test_in_the_http_librarys_debug_lines(self, expect: Expect) -> None:
        expect("RuntimeError")
        requests.get(f"http://127.0.0.1:{os.environ['PORT']}/rest/1/" + os.environ["CONTROL_URL"], timeout=300)
        raise RuntimeError("requested")

    def test_in_the_http_librarys_frames(self, expect: Expect) -> None:
        expect("ConnectionError")
        requests.get(f"http://127.0.0.1:{os.environ['NO_PORT']}/rest/1/" + os.environ["CONTROL_LIBRARY"], timeout=300)
