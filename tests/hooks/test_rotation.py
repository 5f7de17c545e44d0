"""A credential that is rotated while a worker works: the connection is read again when the old one is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.calls import terminate_workflow
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import list_workflows
from airflow_provider_workflows.domo.watching import unfinished
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.rest.errors import AuthenticationError
from airflow_provider_workflows.simulator import Control, Simulator
from tests.operators.remote import clock, connect, control, simulator

__all__ = ["clock", "connect", "control", "simulator"]

NEW = "rotated0credential"


@pytest.fixture
def portal(control: Control) -> Bitrix24Hook:
    """Return a hook that has been used before."""
    hook = Bitrix24Hook()
    hook.run(list_workflows(WorkflowFilter.parse(None)))
    return hook


def test_a_rotated_webhook_goes_on_at_once(
    portal: Bitrix24Hook, control: Control, connect: Callable[..., None]
) -> None:
    ids = control.add_workflows([{}] * 3)
    control.configure(webhook_code=NEW)
    connect("BITRIX24_DEFAULT", login="1", password=NEW)
    assert len(portal.run(list_workflows(WorkflowFilter.parse(None)))) == 3
    # One request was refused, one was sent again; and from then on none is refused.
    assert sorted(portal.run(end_workflows(ids, terminate_workflow)).ended) == sorted(ids)
    assert [entry["http_status"] for entry in control.requests()].count(401) == 1


def test_many_requests_under_way_read_it_once(
    control: Control, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = control.add_domo_instances([{}] * 12)
    hook = DomoHook()
    assert hook.run(unfinished(ids)) == ids
    control.configure(domo_token=NEW)
    connect("DOMO_DEFAULT", password=NEW)
    read: list[str] = []
    original = DomoHook.get_connection
    monkeypatch.setattr(DomoHook, "get_connection", lambda self, one: read.append(one) or original(one))  # type: ignore[func-returns-value]
    assert hook.run(unfinished(ids)) == ids
    assert read == ["domo_default"]


@pytest.mark.parametrize("other", [{}, {"host": "elsewhere.example", "schema": "https"}, {"host": "a b"}])
def test_a_connection_that_holds_no_other_credential_of_this_account_is_no_help(
    portal: Bitrix24Hook, control: Control, connect: Callable[..., None], simulator: Simulator, other: dict[str, Any]
) -> None:
    old = control.settings()["webhook_code"]
    control.configure(webhook_code=NEW)
    connect("BITRIX24_DEFAULT", login="1", password="another0code" if other else old, **other)
    before = len(control.requests())
    with pytest.raises(AuthenticationError):
        portal.run(list_workflows(WorkflowFilter.parse(None)))
    assert len(control.requests()) == before + 1


def test_the_new_credential_may_be_refused_as_well(
    portal: Bitrix24Hook, control: Control, connect: Callable[..., None]
) -> None:
    control.configure(webhook_code=NEW)
    connect("BITRIX24_DEFAULT", login="1", password="neither0nor")
    with pytest.raises(AuthenticationError) as refused:
        portal.run(list_workflows(WorkflowFilter.parse(None)))
    assert "neither0nor" not in str(refused.value)
