"""The token server: codes, tokens, what becomes of old ones, and how it fails."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

LIST = "bizproc.workflow.instances"
CLIENT = {"client_id": "local.sim0client", "client_secret": "sim0client0secret"}
ACCESS, REFRESH = "sim0access0token", "sim0refresh0token"


@pytest.fixture
def called(simulator, control):
    """Call a method with a token; return the error, or nothing."""

    def call(token):
        return requests.post(f"{simulator.url}/rest/{LIST}", json={"auth": token}, timeout=300).json().get("error", "")

    return call


@pytest.fixture
def grant(simulator, control):
    def grant(**params):
        form = {**CLIENT, "grant_type": "refresh_token", **params}
        return requests.post(f"{simulator.url}/oauth/token/", data=form, timeout=300)

    return grant


def test_an_expired_token_is_renewed_with_the_refresh_token(simulator, called, grant, control):
    control.expire_tokens()
    assert called(ACCESS) == "expired_token"
    fresh = grant(refresh_token=REFRESH).json()
    assert (fresh["expires_in"], called(fresh["access_token"])) == (3600, "")
    assert fresh["client_endpoint"] == fresh["server_endpoint"] == f"{simulator.url}/rest/"
    control.configure(server_endpoint="https://oauth.bitrix24.tech/rest/")
    moved = grant(refresh_token=fresh["refresh_token"]).json()
    assert moved["server_endpoint"] == "https://oauth.bitrix24.tech/rest/"


def test_a_request_may_also_come_as_a_query(simulator, control):
    params = {**CLIENT, "grant_type": "refresh_token", "refresh_token": REFRESH}
    assert requests.get(f"{simulator.url}/oauth/token/", params=params, timeout=300).ok


def test_a_token_expires_by_itself(called, grant, control):
    control.configure(access_token_seconds=40)
    token = grant(refresh_token=REFRESH).json()["access_token"]
    assert called(token) == ""
    control.advance(40)
    assert called(token) == "expired_token"


def test_a_refresh_token_works_once_for_ever_or_for_some_seconds_more(grant, control):
    second = grant(refresh_token=REFRESH).json()["refresh_token"]
    reply = grant(refresh_token=REFRESH)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")
    control.configure(refresh_rotation="grace")
    third = [grant(refresh_token=second).json()["refresh_token"] for _ in range(2)]
    assert len({second, *third}) == 3
    control.configure(refresh_grace_seconds=0.0)
    assert grant(refresh_token=second).json()["error"] == "invalid_grant"
    control.configure(refresh_rotation="none")
    assert [grant(refresh_token=third[0]).status_code for _ in range(2)] == [200, 200]


def test_a_refresh_token_that_nobody_uses_expires(grant, control):
    control.configure(refresh_token_seconds=0.0)
    unused = grant(refresh_token=REFRESH).json()["refresh_token"]
    assert grant(refresh_token=unused).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("old_access", "then"), [("lives", "expired_token"), ("dies", "invalid_token"), ("cached", "")]
)
def test_what_becomes_of_the_access_token_before(called, grant, control, old_access, then):
    control.configure(old_access=old_access)
    assert called(ACCESS) == ""
    fresh = grant(refresh_token=REFRESH).json()["access_token"]
    assert called(ACCESS) == ("invalid_token" if old_access == "dies" else "")
    control.expire_tokens()
    assert (called(ACCESS), called(fresh)) == (then, "expired_token")


def test_a_portal_that_cannot_reach_the_token_server_checks_no_token(called, control):
    control.configure(token_server_away=True)
    assert called(ACCESS) == "CONNECTION_ERROR"
    control.configure(token_server_away=False)
    assert called(ACCESS) == ""


def test_a_revoked_refresh_token_and_a_wrong_secret(grant, control):
    assert grant(refresh_token=REFRESH, client_secret="wrong").json()["error"] == "invalid_client"
    control.configure(wrong_client_in_200=True)
    wrong = grant(refresh_token=REFRESH, client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (200, "WRONG_CLIENT")
    control.revoke_refresh_tokens()
    assert grant(refresh_token=REFRESH).json()["error"] == "invalid_grant"


def test_a_server_that_takes_get_only_uses_nothing_up(grant, control):
    control.configure(token_post_refused=True)
    refused = grant(refresh_token=REFRESH)
    assert (refused.status_code, refused.headers["Content-Type"]) == (405, "text/html; charset=utf-8")
    control.configure(token_post_refused=False)
    assert grant(refresh_token=REFRESH).ok


def test_a_lost_reply_has_rotated_the_token(grant, control):
    control.inject("lost_after", method="oauth.token")
    with pytest.raises(requests.ConnectionError):
        grant(refresh_token=REFRESH)
    assert grant(refresh_token=REFRESH).json()["error"] == "invalid_grant"


def test_the_authorize_page_sends_back_a_code_that_works_once(simulator, called, grant, control):
    page = f"{simulator.url}/oauth/authorize/"
    query = {"client_id": CLIENT["client_id"], "state": "abc"}
    sent = requests.get(page, params=query, timeout=300, allow_redirects=False)
    assert sent.headers["Location"].startswith("https://localhost/?")
    answer = parse_qs(urlsplit(sent.headers["Location"]).query)
    assert (answer["state"], answer["domain"]) == (["abc"], [simulator.host])
    (code,) = answer["code"]
    tokens = grant(grant_type="authorization_code", code=code).json()
    assert called(tokens["access_token"]) == ""
    again = grant(grant_type="authorization_code", code=code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert requests.get(page, params={"client_id": "other"}, timeout=300, allow_redirects=False).status_code == 400
