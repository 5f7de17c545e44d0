"""A local application's connection: its tokens are stored, renewed when they are refused, and shared by all workers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException, Connection
from cryptography.fernet import Fernet

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import terminate_workflow
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.errors import AuthorizeAgainError, RenewedTokenRefusedError, TokenStoreError
from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.hooks import oauth
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.operators.bitrix24 import TerminateWorkflowOperator
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStoreError
from airflow_provider_workflows.rest.errors import ApiError, AuthenticationError
from airflow_provider_workflows.rest.plans import send
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsEndedTrigger
from airflow_provider_workflows.triggers.polling import REFUSED_PAUSE
from tests.operators.remote import clock, connect, context, control, simulator, ti

__all__ = ["clock", "connect", "context", "control", "simulator", "ti"]

SECRET = "sim0client0secret"
LIST = calls.list_workflows(select=["ID"])


class Variables:
    """Airflow's Variables, in memory."""

    kept: dict[str, str]
    #: How often they cannot be had.
    away = 0

    def get(self, key: str, default: Any) -> Any:
        if self.away:
            self.away -= 1
            raise RuntimeError(f"{SECRET} in a message")
        return self.kept.get(key, default)

    def set(self, key: str, value: str, description: str) -> None:
        self.get(key, None)
        self.kept[key] = value


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Variables]:
    variables = Variables()
    variables.kept = {}
    monkeypatch.setattr(oauth, "_variable", lambda: variables)
    oauth.chain_of.cache_clear()
    yield variables
    oauth.chain_of.cache_clear()


@pytest.fixture
def application(simulator: Simulator, control: Control, connect: Callable[..., None]) -> Callable[..., None]:
    """Make the connection one to an application."""

    def make(**extra: Any) -> None:
        ours = {"client_id": "local.sim0client", "client_secret": SECRET}
        ours |= {"token_url": f"{simulator.url}/oauth/token/"}
        connect("BITRIX24_DEFAULT", login="", password="", extra=json.dumps(ours | extra))

    return make


@pytest.fixture
def authorized(variables: Variables, application: Callable[..., None], control: Control) -> Variables:
    """Let the connection have tokens."""
    application()
    authorize()
    return variables


def authorize() -> Tokens:
    tokens = Bitrix24Hook().application_tokens()
    page = requests.get(tokens.chain.application.authorize_url("any"), allow_redirects=False, timeout=300)
    (code,) = parse_qs(urlsplit(page.headers["Location"]).query)["code"]
    return tokens.exchange(code, None)


def listed(hook: Bitrix24Hook | None = None) -> int:
    return len((hook or Bitrix24Hook()).run(send(LIST)).result)


def statuses(control: Control, method: str) -> list[int]:
    return [entry["http_status"] for entry in control.requests(method=method)]


class TestInTheWorker:
    def test_a_stored_token_is_used_and_an_expired_one_renewed_in_the_middle(
        self, authorized: Variables, control: Control
    ) -> None:
        ids = control.add_workflows([{}] * 3)
        hook = Bitrix24Hook()
        assert listed(hook) == 3
        control.expire_tokens()
        assert sorted(hook.run(end_workflows(ids, terminate_workflow)).ended) == sorted(ids)
        assert listed() == 0
        assert statuses(control, "oauth.token") == [200, 200]
        assert statuses(control, "batch") == [401, 200]

    def test_the_doctor_tells_where_they_are(self, authorized: Variables, control: Control) -> None:
        control.expire_tokens()
        told = {one.check: one.text for one in Bitrix24Hook().check()}
        assert told["administrator"] == "user 1 is an administrator"
        assert told["tokens"].startswith("pair 2 is in Airflow's Variable bitrix24-tokens-")

    def test_the_doctor_warns_of_hosts_that_may_renew_them_at_once(
        self, authorized: Variables, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        (told,) = [one for one in Bitrix24Hook().check() if one.check == "tokens"]
        assert (told.level, "extra.shared_store" in told.text) == ("warning", True)

    def test_many_calls_under_way_share_one_renewal(self, authorized: Variables, control: Control) -> None:
        ids = control.add_workflows([{}] * 120)
        hook = Bitrix24Hook()
        listed(hook)
        control.expire_tokens()
        assert len(hook.run(end_workflows(ids, terminate_workflow)).ended) == 120
        assert statuses(control, "oauth.token") == [200, 200]

    def test_known_expiry_costs_no_refused_call(self, authorized: Variables, control: Control, clock: Any) -> None:
        clock.sleep(3700)
        assert listed() == 0
        assert (statuses(control, LIST.method), statuses(control, "oauth.token")) == ([200], [200, 200])

    @pytest.mark.parametrize("rotation", ["none", "strict", "grace"])
    @pytest.mark.parametrize("old_access", ["lives", "dies", "cached"])
    def test_it_goes_on_whatever_becomes_of_old_tokens(
        self, authorized: Variables, control: Control, rotation: str, old_access: str
    ) -> None:
        control.configure(refresh_rotation=rotation, old_access=old_access, token_check_seconds=0.0)
        hook = Bitrix24Hook()
        for _ in range(3):
            control.expire_tokens()
            assert listed(hook) == 0
        assert statuses(control, "oauth.token") == [200] * 4

    def test_a_portal_that_cannot_check_tokens_is_asked_again_with_the_same(
        self, authorized: Variables, control: Control, clock: Any
    ) -> None:
        control.inject("error", method=LIST.method, status=401, code="CONNECTION_ERROR", times=3)
        assert listed() == 0
        assert statuses(control, LIST.method) == [401, 401, 401, 200]
        assert statuses(control, "oauth.token") == [200]

    def test_what_nobody_can_renew_fails_the_task_for_good_and_says_what_to_do(
        self, authorized: Variables, control: Control, context: Any
    ) -> None:
        ids = control.add_workflows([{}])
        control.expire_tokens()
        control.revoke_refresh_tokens()
        with pytest.raises(AirflowFailException, match="authorize <connection id>") as failed:
            TerminateWorkflowOperator(task_id="end", workflow_id=ids).execute(context)
        assert control.journal("terminate") == []
        stored = Tokens.model_validate_json(*authorized.kept.values())
        for secret in (SECRET, stored.access_token, stored.refresh_token):
            assert secret not in repr(failed.value) + repr(failed.value.__cause__)

    def test_a_call_that_meets_three_expiries_fails_with_no_word_of_pasted_tokens_and_a_retry_goes_on(
        self, authorized: Variables, control: Control, context: Any
    ) -> None:
        ids = control.add_workflows([{}] * 2)
        end = TerminateWorkflowOperator(task_id="end", workflow_id=ids)
        control.inject("error", method="batch", status=401, code="expired_token", times=3)
        # No AirflowFailException, which would forbid the retry.
        with pytest.raises(RenewedTokenRefusedError, match="a retry renews the token again") as failed:
            end.execute(context)
        assert "into the connection" not in str(failed.value)
        assert (control.journal("terminate"), statuses(control, "oauth.token")) == ([], [200, 200, 200])
        assert end.execute(context)["ended"] == 2

    def test_so_does_one_that_reads(self, authorized: Variables, control: Control) -> None:
        control.inject("error", method=LIST.method, status=401, code="INVALID_TOKEN", times=3)
        with pytest.raises(RenewedTokenRefusedError) as refused:
            listed()
        assert refused.value.retry_helps
        assert (refused.value.code, refused.value.http_status) == ("INVALID_TOKEN", 401)

    def test_an_authorised_one_anew_goes_on_by_itself(self, authorized: Variables, control: Control) -> None:
        hook = Bitrix24Hook()
        listed(hook)
        control.expire_tokens()
        control.revoke_refresh_tokens()
        authorize()
        assert listed(hook) == 0

    def test_another_refusal_is_no_reason_to_renew(self, authorized: Variables, control: Control) -> None:
        control.configure(scopes=["task"])
        with pytest.raises(ApiError, match="insufficient_scope"):
            listed()
        control.inject("error", method=LIST.method, status=401, code="NO_AUTH_FOUND")
        control.configure(scopes=["bizproc"])
        with pytest.raises(AuthenticationError):
            listed()
        assert statuses(control, "oauth.token") == [200]

    def test_one_that_was_never_authorised_sends_nothing(
        self, variables: Variables, application: Callable[..., None], control: Control
    ) -> None:
        application()
        with pytest.raises(AuthorizeAgainError, match="no tokens are stored for 'bitrix24_default'"):
            listed()
        assert control.requests() == []

    def test_a_store_that_is_away_delays_and_fails_nothing(
        self, authorized: Variables, control: Control, clock: Any
    ) -> None:
        authorized.away = 4
        assert (listed(), authorized.away) == (0, 0)

    def test_one_that_stays_away_is_told_with_no_word_of_what_airflow_said(self, authorized: Variables) -> None:
        authorized.away = 1000
        with pytest.raises(TokenStoreError, match="RuntimeError") as away:
            listed()
        assert SECRET not in str(away.value)
        assert away.value.retry_helps


class TestInTheTriggerer:
    def test_calls_side_by_side_share_one_renewal_and_the_loop_goes_on(
        self, authorized: Variables, control: Control
    ) -> None:
        async def work() -> list[int]:
            async with Bitrix24Hook().shared_client() as client:
                await client.run(send(LIST))
                control.expire_tokens()
                polls = [client.run(send(calls.list_workflows(filters={"ID": str(n)}))) for n in range(60)]
                return [len(reply.result) for reply in await asyncio.gather(*polls)]

        assert asyncio.run(work()) == [0] * 60
        assert statuses(control, "oauth.token") == [200, 200]

    def test_what_nobody_can_renew_is_told(self, authorized: Variables, control: Control) -> None:
        async def work() -> None:
            async with Bitrix24Hook().shared_client() as client:
                control.expire_tokens()
                control.revoke_refresh_tokens()
                await client.run(send(LIST))

        with pytest.raises(AuthorizeAgainError):
            asyncio.run(work())


def waiting_for(workflow_ids: list[str]) -> WorkflowsEndedTrigger:
    return WorkflowsEndedTrigger(
        bitrix24_conn_id="bitrix24_default", workflow_ids=workflow_ids, poll_interval=10, deadline=None
    )


class TestWaiting:
    """A trigger whose application a person has to authorise again."""

    @pytest.fixture
    def trigger(self, authorized: Variables, control: Control) -> WorkflowsEndedTrigger:
        ids = control.add_workflows([{}])
        control.expire_tokens()
        control.revoke_refresh_tokens()
        return waiting_for(ids)

    def event(self, trigger: WorkflowsEndedTrigger) -> dict[str, Any]:
        async def work() -> dict[str, Any]:
            return {**(await anext(trigger.run())).payload}

        return asyncio.run(work())

    def test_it_goes_on_when_that_is_done_meanwhile(
        self, trigger: WorkflowsEndedTrigger, control: Control, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asleep = clock.asleep

        async def until_a_person_comes(seconds: float) -> None:
            if seconds == REFUSED_PAUSE:
                await asyncio.to_thread(authorize)
                control.finish_workflows(trigger.workflow_ids)
            await asleep(seconds)

        monkeypatch.setattr(clock, "asleep", until_a_person_comes)
        assert self.event(trigger)["status"] == "success"

    def test_it_fails_for_good_when_nobody_comes_and_asks_in_vain_once(
        self, trigger: WorkflowsEndedTrigger, control: Control
    ) -> None:
        event = self.event(trigger)
        assert (event["status"], event["retry_helps"]) == ("error", False)
        assert "authorize <connection id>" in event["message"]
        assert statuses(control, "oauth.token").count(400) == 1

    def test_many_who_wait_are_told_the_same(self, variables: Variables, application: Callable[..., None]) -> None:
        application()
        waiting = [waiting_for([f"65e5a449e8f135.2128490{nth}"]) for nth in range(9)]

        async def work() -> list[Any]:
            return await asyncio.gather(*(anext(trigger.run()) for trigger in waiting))

        messages = [event.payload["message"] for event in asyncio.run(work())]
        assert len({message.count("The connection was read again") for message in messages}) == 1

    def test_tokens_that_are_refused_for_a_time_leave_the_task_its_retries(
        self, authorized: Variables, control: Control
    ) -> None:
        ids = control.add_workflows([{}])
        for method in ("batch", LIST.method):
            control.inject("error", method=method, status=401, code="invalid_token", times=None)
        event = self.event(waiting_for(ids))
        assert (event["status"], event["retry_helps"]) == ("error", True)


def use_key(monkeypatch: pytest.MonkeyPatch, key: bytes | None) -> None:
    """Have Airflow's ``[core] fernet_key`` be this one."""
    fernet = Fernet(key or Fernet.generate_key())
    airflows = SimpleNamespace(is_encrypted=key is not None, encrypt=fernet.encrypt, decrypt=fernet.decrypt)
    monkeypatch.setattr(oauth, "_airflows_fernet", lambda: airflows)
    oauth.chain_of.cache_clear()


class TestSharedStore:
    @pytest.fixture
    def records(
        self, variables: Variables, application: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> MemoryRecordStore:
        records = MemoryRecordStore()
        application(shared_store="redis_shared")
        use_key(monkeypatch, Fernet.generate_key())
        for module in ("oauth", "stores"):
            monkeypatch.setattr(
                f"airflow_provider_workflows.hooks.{module}.record_store", lambda conn_id, clock: records
            )
        return records

    def test_its_connection_is_read_again_when_it_cannot_be_had(
        self, records: MemoryRecordStore, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authorize()
        assert listed() == 0
        kept = dict(records._records)

        def refuse(*_: Any, **__: Any) -> None:
            raise RecordStoreError("Redis at shared:6379", "WRONGPASS")

        monkeypatch.setattr(records, "change", refuse)
        with_new_password = MemoryRecordStore()
        with_new_password._records = kept
        monkeypatch.setattr(oauth, "record_store", lambda conn_id, clock: with_new_password)
        control.expire_tokens()
        assert listed() == 0
        assert statuses(control, "oauth.token") == [200, 200]

    def test_tokens_are_kept_there_encrypted_and_in_no_variable(
        self, records: MemoryRecordStore, variables: Variables, control: Control
    ) -> None:
        tokens = authorize()
        control.expire_tokens()
        assert listed() == 0
        assert variables.kept == {}
        written = b"".join(records._records.values())
        assert tokens.access_token.encode() not in written
        assert tokens.refresh_token.encode() not in written

    def test_with_another_key_they_are_as_good_as_none(
        self, records: MemoryRecordStore, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authorize()
        use_key(monkeypatch, Fernet.generate_key())
        with pytest.raises(AuthorizeAgainError):
            listed()

    def test_with_no_key_none_are_stored(
        self, records: MemoryRecordStore, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use_key(monkeypatch, None)
        with pytest.raises(ConnectionFieldError, match="fernet_key"):
            authorize()
        assert records._records == {}


class TestThePortalsPlan:
    @pytest.mark.parametrize(
        ("license", "extra", "bucket"),
        [
            ("de_enterprise250", {}, (250, 5)),
            ("de_basic", {}, (50, 2)),
            ("de_enterprise250", {"bucket_drain": 3}, (50, 3)),
        ],
    )
    def test_it_sets_the_buckets_figures_unless_they_are_given(
        self,
        variables: Variables,
        application: Callable[..., None],
        control: Control,
        license: str,
        extra: dict[str, Any],
        bucket: tuple[float, float],
    ) -> None:
        control.configure(license=license)
        application(**extra)
        authorize()
        limiter: Any = Bitrix24Hook().get_conn()._driver._limiter
        assert (limiter._limits.bucket_capacity, limiter._limits.bucket_drain) == bucket


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({"client_id": "local.1"}, '"Application key" (extra.client_secret) is empty'),
        ({"client_secret": SECRET}, '"Application id" (extra.client_id) is empty'),
        ({"token_url": "https://oauth.bitrix.info/oauth/token/"}, '"Application id" (extra.client_id) is empty'),
        ({"client_id": "a b", "client_secret": SECRET}, '"Application id" (extra.client_id) must be'),
        ({"client_id": "a", "client_secret": f"{SECRET} x"}, '"Application key" (extra.client_secret) must be'),
        ({"client_id": "a", "client_secret": SECRET, "access_token": "t"}, "client_id"),
        ({"client_id": "a", "client_secret": SECRET, "token_url": "http://oauth.bitrix.info/oauth/token/"}, "https"),
        ({"client_id": "a", "client_secret": SECRET, "token_url": "https://a@b.example/oauth/token/"}, "https"),
        ({"client_id": "a", "client_secret": SECRET, "token_url": "https://oauth.bitrix.info/x?y=1"}, "https"),
        ({"client_id": "a", "client_secret": SECRET, "token_url": "oauth.bitrix.info"}, "https"),
    ],
)
def test_what_cannot_be_an_application_is_refused_with_the_fields_name(
    connect: Callable[..., None], extra: dict[str, str], fault: str
) -> None:
    connect("BITRIX24_DEFAULT", login="", password="", extra=json.dumps(extra))
    with pytest.raises(ConnectionFieldError) as refused:
        Bitrix24Hook().get_conn()
    assert fault in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_webhook_beside_an_application_is_refused(connect: Callable[..., None]) -> None:
    extra = json.dumps({"client_id": "a", "client_secret": SECRET})
    connect("BITRIX24_DEFAULT", login="1", password="code", extra=extra)
    with pytest.raises(ConnectionFieldError, match="does not go together with a webhook"):
        Bitrix24Hook().get_conn()


def test_the_uri_form_describes_an_application_too(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"bitrix24://acme.bitrix24.com/?client_id=local.1&client_secret={SECRET}"
    monkeypatch.setenv("AIRFLOW_CONN_BITRIX24_DEFAULT", uri)
    hook = Bitrix24Hook()
    settings = hook.read_settings(hook.get_connection("bitrix24_default"))
    assert settings.application == Application("bitrix24_default", "https://acme.bitrix24.com", "local.1", SECRET)
    assert SECRET not in repr(settings)


def test_an_old_refresh_token_is_warned_about(
    authorized: Variables, control: Control, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock.sleep(30 * 86400)
    with caplog.at_level(logging.WARNING):
        assert listed() == 0
    assert "has not been used for 30 days" in caplog.text


def test_connections_to_one_application_share_the_running_time_that_the_portal_counts_for_it() -> None:
    extra = {"client_id": "local.1", "client_secret": SECRET}
    one, same, other = (
        Bitrix24Hook.read_settings(
            Connection(conn_id=conn_id, conn_type="bitrix24", host="acme.bitrix24.com", extra=json.dumps(extra))
        )
        for conn_id, extra in [("b24", extra), ("b24_other", extra), ("b24", extra | {"client_id": "local.2"})]
    )
    assert one.credential_id == same.credential_id != other.credential_id


def test_applications_of_two_connections_and_two_portals_have_tokens_of_their_own() -> None:
    names = {
        Application(conn_id, portal, client_id, SECRET).name
        for conn_id in ("b24", "b24_other")
        for portal in ("https://acme.bitrix24.com", "https://other.bitrix24.com")
        for client_id in ("local.1", "local.2")
    }
    assert len(names) == 8
    assert all("token" in name for name in names), "Airflow masks Variables by that word"
