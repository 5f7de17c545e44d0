"""Users are notified, and chats get messages."""

from __future__ import annotations

import pytest

NOTIFY, SEND = "im.notify.system.add", "im.message.add"


def error(reply):
    return reply.status_code, reply.json().get("error")


def notifications(control):
    return [(one["to"], one["text"]) for one in control.state()["bitrix24"]["notifications"]]


def test_a_user_is_notified(rest, control):
    id = rest(NOTIFY, {"USER_ID": 1, "MESSAGE": "  [B]3[/B] workflows ended "}).json()["result"]
    assert notifications(control) == [("1", "[B]3[/B] workflows ended")]
    assert control.journal("notify")[0]["id"] == id


def test_a_tag_replaces_what_came_with_it_before(rest, control):
    tagged = {"USER_ID": 1, "TAG": "run-7", "CLIENT_ID": "airflow"}
    rest(NOTIFY, {**tagged, "MESSAGE": "failed"})
    rest(NOTIFY, {**tagged, "MESSAGE": "of another", "CLIENT_ID": "else"})
    rest(NOTIFY, {**tagged, "MESSAGE": "failed again"})
    assert notifications(control) == [("1", "of another"), ("1", "failed again")]


def test_a_webhooks_tag_counts_for_nothing_without_a_client(rest, control):
    for _ in range(2):
        rest(NOTIFY, {"USER_ID": 1, "TAG": "run-7", "MESSAGE": "failed"})
    assert len(notifications(control)) == 2


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"USER_ID": -1, "MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"USER_ID": 1, "MESSAGE": "  "}, "MESSAGE_EMPTY"),
        ({"USER_ID": 1, "MESSAGE": ["x"]}, "MESSAGE_EMPTY"),
        ({"USER_ID": 1, "MESSAGE": "x", "ATTACH": "no json"}, "ATTACH_ERROR"),
        ({"USER_ID": 1, "MESSAGE": "x", "ATTACH": [{"MESSAGE": "y" * 60_000}]}, "ATTACH_OVERSIZE"),
    ],
)
def test_a_notification_that_is_not_in_order(rest, control, params, code):
    assert error(rest(NOTIFY, params)) == (400, code)
    assert notifications(control) == []


def test_a_user_who_is_not_there_is_not_notified(rest, control):
    assert rest(NOTIFY, {"USER_ID": 99, "MESSAGE": "x"}).json()["result"] is False
    assert notifications(control) == []


@pytest.mark.parametrize("dialog", ["1", "chat1", "sg3"])
def test_a_message_is_sent_each_time(rest, control, dialog):
    control.add_chats(["sg3"])
    ids = [rest(SEND, {"DIALOG_ID": dialog, "MESSAGE": "done"}).json()["result"] for _ in range(2)]
    assert len(set(ids)) == 2
    sent = control.state()["bitrix24"]["messages"]
    assert [(one["id"], one["to"], one["text"]) for one in sent] == [(id, dialog, "done") for id in ids]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DIALOG_ID": "1"}, "MESSAGE_EMPTY"),
        ({"MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"DIALOG_ID": "99", "MESSAGE": "x"}, "USER_NOT_FOUND"),
        ({"DIALOG_ID": "chat99", "MESSAGE": "x"}, "CHAT_ID"),
    ],
)
def test_a_message_that_is_not_in_order(rest, control, params, code):
    assert error(rest(SEND, params)) == (400, code)
    assert control.state()["bitrix24"]["messages"] == []


def test_both_need_their_scope(rest, control):
    control.configure(scopes=["user"])
    assert error(rest(NOTIFY, {"USER_ID": 1, "MESSAGE": "x"})) == (403, "insufficient_scope")
