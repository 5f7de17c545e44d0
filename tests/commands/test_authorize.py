"""A person gives an application its first tokens, and the command that takes them shows none."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_workflows.__main__ import main
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.simulator import Control, Simulator
from tests.hooks.test_oauth import SECRET, Variables, variables
from tests.operators.remote import clock, connect, control, simulator

__all__ = ["clock", "connect", "control", "simulator", "variables"]


class Person:
    """Opens the printed address, and pastes where that leads.

    :param printed: what the command has printed so far.
    :param changes: what the person makes of it.
    """

    def __init__(self, printed: Callable[[], str], changes: Callable[[str], str]) -> None:
        self.printed = ""
        self.pasted = ""
        self._read = printed
        self._changes = changes

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        self.printed = self._read()
        (address,) = re.findall(r"http://\S+/oauth/authorize/\S+", self.printed)
        self.pasted = requests.get(address, allow_redirects=False, timeout=300).headers["Location"]
        return self._changes(self.pasted) + "\n"


@pytest.fixture
def authorize(
    variables: Variables,
    simulator: Simulator,
    control: Control,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Callable[..., Any]:
    """Run the command; return its status, what it printed, and the person."""

    def run(changes: Callable[[str], str] = lambda pasted: pasted, **extra: Any) -> tuple[int, str, Person]:
        ours = {"client_id": "local.sim0client", "client_secret": SECRET, "token_url": f"{simulator.url}/oauth/token/"}
        connect("BITRIX24_DEFAULT", extra=json.dumps(ours | extra))
        person = Person(lambda: capsys.readouterr().out, changes)
        monkeypatch.setattr("sys.stdin", person)
        with caplog.at_level(logging.DEBUG):
            status = main(["authorize", "bitrix24_default"])
        said = capsys.readouterr()
        return status, person.printed + said.out + said.err + caplog.text, person

    return run


def code_in(person: Person) -> str:
    return str(re.findall(r"code=(\w+)", person.pasted)[0])


def test_the_tokens_are_stored_and_not_shown(
    authorize: Callable[..., Any], variables: Variables, control: Control
) -> None:
    control.configure(license="de_enterprise250")
    status, printed, person = authorize()
    ((name, stored),) = variables.kept.items()
    tokens = Tokens.model_validate_json(stored)
    assert status == 0
    assert f"Stored in Airflow's Variable {name}" in printed
    assert "pair 1" in printed
    assert "The portal's plan: enterprise." in printed
    for secret in (tokens.access_token, tokens.refresh_token, SECRET, code_in(person)):
        assert secret not in printed
    # In a body, never in an address.
    assert [entry["params"]["grant_type"] for entry in control.requests(method="oauth.token")] == ["authorization_code"]


def test_once_more_takes_the_place_of_the_tokens_before(authorize: Callable[..., Any], variables: Variables) -> None:
    authorize()
    status, printed, _ = authorize()
    assert (status, len(variables.kept)) == (0, 1)
    assert "pair 2" in printed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (lambda pasted: pasted.replace("state=", "state=x"), "its state differs"),
        (lambda pasted: re.sub(r"&state=[^&]*", "", pasted), "its state differs"),
        (lambda pasted: re.sub(r"code=\w+", "", pasted), "not an address with a code in it"),
        (lambda pasted: "", "not an address with a code in it"),
        (lambda pasted: "http://[", "not an address with a code in it"),
    ],
)
def test_what_is_no_answer_to_this_question_is_not_used(
    authorize: Callable[..., Any], variables: Variables, control: Control, changes: Callable[[str], str], why: str
) -> None:
    status, printed, person = authorize(changes)
    assert (status, variables.kept, control.requests(method="oauth.token")) == (1, {}, [])
    assert why in printed
    assert code_in(person) not in printed


def test_a_code_that_is_too_old_is_told(authorize: Callable[..., Any], variables: Variables, control: Control) -> None:
    def late(pasted: str) -> str:
        control.advance(31)
        return pasted

    status, printed, _ = authorize(late)
    assert (status, variables.kept) == (1, {})
    assert "invalid_grant" in printed
    assert "A code works once" in printed


def test_a_wrong_secret_is_told(authorize: Callable[..., Any], variables: Variables, control: Control) -> None:
    control.configure(wrong_client_in_200=True)
    status, printed, _ = authorize(client_secret="another0secret")
    assert (status, variables.kept) == (1, {})
    assert "WRONG_CLIENT" in printed
    assert "another0secret" not in printed


def test_a_lost_reply_leaves_nothing_half_done(
    authorize: Callable[..., Any], variables: Variables, control: Control
) -> None:
    control.inject("lost_after", method="oauth.token")
    status, _, _ = authorize()
    assert (status, variables.kept) == (1, {})
    assert authorize()[0] == 0


def test_another_portals_tokens_are_not_stored(
    authorize: Callable[..., Any], variables: Variables, control: Control
) -> None:
    body = {
        "access_token": "access-of-another-portal",
        "refresh_token": "refresh-of-another-portal",
        "client_endpoint": "https://other.bitrix24.com/rest/",
    }
    control.inject("reply", method="oauth.token", status=200, text=json.dumps(body), done=False)
    status, printed, _ = authorize()
    assert (status, variables.kept) == (1, {})
    assert "for another portal" in printed


def test_a_connection_to_no_application_is_told_which_field_is_missing(
    variables: Variables, control: Control, connect: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    connect("BITRIX24_DEFAULT", login="1", password="sim0webhook0code")
    assert main(["authorize", "bitrix24_default"]) == 1
    assert '"Application id" (extra.client_id) is empty' in capsys.readouterr().err


def test_a_connection_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["authorize", "nowhere"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Nothing is stored.")
    assert "nowhere" in told
