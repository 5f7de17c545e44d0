"""What the hooks of both vendors have in common."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import trustme
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_workflows.hooks import base
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError, ConnectionUnreadableError
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.operators.bitrix24 import TerminateWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.simulator import Simulator

SECRET = "basesecret0of0a0hook"
CONNECTIONS: dict[type[AccountHook[Any, Any, Any]], dict[str, Any]] = {
    Bitrix24Hook: {"conn_type": "bitrix24", "host": "acme.bitrix24.com", "login": "17", "password": SECRET},
    DomoHook: {"conn_type": "domo", "host": "acme.domo.com", "password": SECRET},
}


NAMES = {"bitrix24": "Bitrix24", "domo": "Domo"}


@pytest.fixture(params=CONNECTIONS, ids=lambda hook: hook.conn_type)
def hook_type(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def hook_with(hook_type: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a hook whose connection has this ``extra``."""

    def make(**extra: Any) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT", json.dumps(CONNECTIONS[hook_type] | {"extra": extra}))
        return hook_type("account")

    return make


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def shared_settings(hook: Any) -> HttpSettings:
    async def work() -> HttpSettings:
        async with hook.shared_client() as client:
            return client.http  # type: ignore[no-any-return]

    return asyncio.run(work())


def test_the_extra_says_how_requests_are_made_in_the_worker_and_in_the_triggerer(hook_with: Any, bundle: str) -> None:
    extra: dict[str, Any] = {
        "connect_timeout": 3,
        "read_timeout": 4,
        "total_timeout": 5,
        "max_reply_size": 600,
        "verify": bundle,
    }
    hook = hook_with(**extra)
    assert hook.get_conn().http == shared_settings(hook) == HttpSettings(**extra)


def test_what_is_not_said_has_its_default(hook_with: Any) -> None:
    hook = hook_with(verify="")
    assert hook.get_conn().http == shared_settings(hook) == HttpSettings()


def test_errors_name_the_host_that_was_called_though_the_connection_says_another_by_now(
    hook_type: Any, hook_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = hook_with()
    hook.get_conn()
    monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT", json.dumps(CONNECTIONS[hook_type] | {"host": "elsewhere.example"}))
    assert hook.where == f"Connection 'account' ({CONNECTIONS[hook_type]['host']})"


@pytest.mark.parametrize("verify", [False, True, "False", f"/nowhere/{SECRET}.pem", 0, ["/etc/ssl"]])
def test_certificates_are_always_checked_against_some_that_are_there(hook_with: Any, verify: Any) -> None:
    hook = hook_with(verify=verify)
    for use in (Bitrix24Hook.get_conn, shared_settings):
        with pytest.raises(ConnectionFieldError, match=r"^Connection 'account': .*verify") as caught:
            use(hook)
        assert SECRET not in str(caught.value)
    assert hook.test_connection() == (False, f"This connection: {caught.value.fault}")


def test_a_broken_bundle_in_the_environment_is_told_as_what_it_is(
    hook_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = hook_with()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    for use in (Bitrix24Hook.get_conn, shared_settings):
        with pytest.raises(
            ConnectionFieldError, match="REQUESTS_CA_BUNDLE names a path at which there are no certificates"
        ):
            use(hook)


@pytest.mark.parametrize("proxy", ["socks4://u:{}@h:1080", "http://u:{}/x@h:1", "http://u:x@h:{}"])
def test_a_proxy_that_cannot_be_used_is_told_in_the_triggerer_with_no_password(
    hook_with: Any, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    hook = hook_with()
    monkeypatch.setenv("HTTPS_PROXY", proxy.format(SECRET))
    with pytest.raises(
        ConnectionFieldError, match=r"^Connection 'account': HTTPS_PROXY \(or .*\) .* no proxy"
    ) as caught:
        shared_settings(hook)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("hook_type", [Bitrix24Hook, DomoHook])
def test_the_other_vendors_connection_is_refused_by_its_type(hook_type: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection ids are templates: a wrong one must not send one vendor's credential to the other's host."""
    (other,) = (fields for hook, fields in CONNECTIONS.items() if hook is not hook_type)
    monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT", json.dumps(other | {"login": "17"}))
    hook = hook_type("account")
    told = (
        f"Connection 'account': it is a {NAMES[other['conn_type']]} connection; "
        f"what is needed here is a {NAMES[hook_type.conn_type]} connection (conn_type '{hook_type.conn_type}')"
    )
    with pytest.raises(ConnectionFieldError, match=f"^{re.escape(told)}"):
        hook.get_conn()

    async def work() -> None:
        async with hook.shared_client():
            pytest.fail("it is used")

    with pytest.raises(ConnectionFieldError, match="conn_type"):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("error", "told"),
    [(AirflowNotFoundException("The conn_id `account` isn't defined"), "isn't defined"), (OSError(SECRET), "OSError")],
)
def test_a_connection_that_cannot_be_read_now_can_be_read_later(
    hook_with: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """As when the secrets backend is away while a triggerer takes over a thousand waits."""

    async def away(*_: Any, **__: Any) -> None:
        raise error

    hook = hook_with()
    with monkeypatch.context() as while_away:
        while_away.setattr(base, "get_async_connection", away)
        with pytest.raises(ConnectionUnreadableError, match=f"Connection 'account' cannot be read: .*{told}") as caught:
            shared_settings(hook)
    assert SECRET not in str(caught.value)
    assert caught.value.retry_helps
    assert shared_settings(hook) == HttpSettings()


def test_a_misspelt_field_of_the_extra_is_told_beside_the_known_ones(hook_with: Any) -> None:
    with pytest.raises(ConnectionFieldError) as caught:
        hook_with(raed_timeout=5).get_conn()
    told, known = caught.value.message.split("; the fields of extra are ")
    assert told == "Connection 'account': extra.raed_timeout is no field; did you mean read_timeout?"
    assert {"connect_timeout", "read_timeout", "verify"} <= {*known.split(", ")}


@pytest.mark.parametrize(
    ("task", "conn_id"),
    [
        (TerminateWorkflowOperator(task_id="end", workflow_id="65e5a449e8f135.21284909"), "domo_default"),
        (RunningWorkflowsSensor(task_id="wait", filters={"TEMPLATE_ID": 12}), "domo_default"),
        (DomoCancelOperator(task_id="cancel", instance_id="2052e10a-d142-4391-a731-2be1ab1c0188"), "bitrix24_default"),
    ],
    ids=lambda value: getattr(value, "task_id", value),
)
def test_a_task_with_the_other_vendors_connection_sends_nothing(
    task: Any, conn_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator() as simulator:
        for name, connection in simulator.connections().items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection | {"extra": {"x": 1}}))
        name = "domo_conn_id" if hasattr(task, "domo_conn_id") else "bitrix24_conn_id"
        setattr(task, name, conn_id)
        with pytest.raises(
            Exception, match=f"^Connection '{conn_id}': it is a (Domo|Bitrix24) connection; what is needed here is a "
        ):
            (task.poke if hasattr(task, "poke") else task.execute)({"ti": None})
        assert simulator.control.requests() == []


def test_the_clock_is_set_in_one_place(hook_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = AccountHook.clock
    assert Bitrix24Hook.clock is DomoHook.clock is clock
    monkeypatch.setattr(AccountHook, "clock", type(clock)())
    assert hook_with().get_conn()._runtime._clock is AccountHook.clock is not clock
