"""What the notifier leaves on the portal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS
from airflow.providers_manager import ProvidersManager

from airflow_provider_workflows.bitrix24.errors import NotDeliveredError, ScopeError
from airflow_provider_workflows.notifications.bitrix24 import Bitrix24Notifier
from airflow_provider_workflows.rest.errors import ArgumentError, InvalidCallError, ReplyLostError
from airflow_provider_workflows.simulator import Control

TEXT = "Dag {{ ti.dag_id }} has failed"


def said(control: Control, kind: str) -> list[tuple[str, str]]:
    return [(one["to"], one["text"]) for one in control.state()["bitrix24"][kind]]


def told(notifier: Bitrix24Notifier, context: Any) -> None:
    """Do what Airflow does when it calls a notifier; Airflow 2 logs errors then, and raises none."""
    notifier.render_template_fields(context)
    notifier.notify(context)


@pytest.fixture
def context(context: Any) -> Any:
    """Return what Airflow gives to a callback."""
    context["dag"] = DAG("dag", schedule=None)
    return context


@pytest.fixture(params=["sync", "async"])
def tell(request: pytest.FixtureRequest, context: Any) -> Any:
    """Tell somebody, as Airflow does from a task's callback, or in the triggerer for a deadline."""
    if request.param == "async" and not AIRFLOW_V_3_1_PLUS:
        pytest.skip("this Airflow has no deadline alerts")

    def tell(**arguments: Any) -> None:
        if request.param == "sync":
            told(Bitrix24Notifier(**arguments), context)
            return

        async def work() -> None:
            await Bitrix24Notifier(**arguments, context=context)

        asyncio.run(work())

    return tell


class TestPerson:
    def test_is_notified_with_the_rendered_text(self, tell: Any, control: Control) -> None:
        tell(message=TEXT, user_id="{{ 0 + 1 }}")
        assert said(control, "notifications") == [("1", "Dag dag has failed")]

    @pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
    def test_is_notified_once_also_when_the_reply_is_lost(self, tell: Any, control: Control, kind: str) -> None:
        control.inject(kind, vendor="bitrix24")
        tell(message=TEXT, user_id=1)
        assert said(control, "notifications") == [("1", "Dag dag has failed")]

    def test_sees_the_last_of_what_has_one_tag(self, tell: Any, control: Control) -> None:
        for text in ("one", "two"):
            tell(message=text, user_id=1, tag="nightly")
            tell(message=text, user_id=1)
        assert [text for _, text in said(control, "notifications")] == ["one", "two", "two"]

    def test_is_not_there(self, tell: Any, control: Control) -> None:
        with pytest.raises(NotDeliveredError, match="no person with this id"):
            tell(message=TEXT, user_id=404)


class TestChat:
    @pytest.mark.parametrize("dialog", ["chat1", "sg3", "1"])
    def test_gets_a_message(self, tell: Any, control: Control, dialog: str) -> None:
        control.add_chats(["sg3"])
        tell(message=TEXT, dialog_id=dialog)
        assert said(control, "messages") == [(dialog, "Dag dag has failed")]

    def test_gets_no_second_one_when_the_reply_is_lost(self, tell: Any, control: Control) -> None:
        control.inject("lost_after", vendor="bitrix24")
        with pytest.raises(ReplyLostError):
            tell(message=TEXT, dialog_id="chat1")
        assert said(control, "messages") == [("chat1", "Dag dag has failed")]

    def test_gets_one_when_the_portal_refused_at_first(self, tell: Any, control: Control) -> None:
        control.inject("refused", vendor="bitrix24")
        tell(message=TEXT, dialog_id="chat1")
        assert said(control, "messages") == [("chat1", "Dag dag has failed")]

    def test_is_not_there(self, tell: Any, control: Control) -> None:
        with pytest.raises(InvalidCallError, match="CHAT_ID"):
            tell(message=TEXT, dialog_id="chat404")


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({}, "give either user_id"),
            ({"user_id": 1, "dialog_id": "chat1"}, "give either user_id"),
            ({"user_id": 0}, "user_id must be a whole number of 1 or more"),
            ({"user_id": "chat1"}, "user_id must be"),
            ({"dialog_id": "general"}, "dialog_id must read like 'chat29'"),
            ({"dialog_id": "chat1", "tag": "x"}, "tag goes with user_id"),
        ],
    )
    def test_where_it_is_made(self, arguments: dict[str, Any], told: str) -> None:
        with pytest.raises(ArgumentError, match=told):
            Bitrix24Notifier(message="text", **arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"message": "{{ ti.nothing or ' ' }}", "user_id": 1},
            {"message": "text", "user_id": "{{ 'nobody' }}"},
            {"message": "text", "dialog_id": "{{ 'nowhere' }}"},
        ],
    )
    def test_before_anything_is_sent(self, control: Control, context: Any, arguments: dict[str, Any]) -> None:
        context["ti"].nothing = None
        with pytest.raises(ArgumentError):
            told(Bitrix24Notifier(**arguments), context)
        assert control.requests() == []

    def test_for_lack_of_the_scope(self, control: Control, tell: Any) -> None:
        control.configure(scopes=["bizproc"])
        with pytest.raises(ScopeError, match="'im'"):
            tell(message="text", user_id=1)


def test_airflow_lists_it() -> None:
    name = f"{Bitrix24Notifier.__module__}.{Bitrix24Notifier.__name__}"
    # What `airflow providers notifications` prints.
    assert name in {getattr(one, "notification_class_name", one) for one in ProvidersManager().notification}
