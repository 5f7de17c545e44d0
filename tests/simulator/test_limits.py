"""The portal's limits: how many requests, how much running time, how long one request."""

from __future__ import annotations

import time

import pytest
import requests

LIST, KILL = "bizproc.workflow.instances", "bizproc.workflow.kill"


def error(reply):
    return reply.status_code, reply.json().get("error")


def test_there_are_no_limits_unless_set(rest):
    assert {rest("scope").status_code for _ in range(60)} == {200}


def test_the_bucket_takes_its_capacity_and_then_refuses_without_running(rest, control):
    control.add_workflows([{"ID": "a"}])
    control.configure(bucket_capacity=3, bucket_drain=0.001)
    assert [rest("scope").status_code for _ in range(3)] == [200, 200, 200]
    assert error(rest(KILL, {"ID": "a"})) == (503, "QUERY_LIMIT_EXCEEDED")
    assert control.journal() == []


def test_the_bucket_drains(rest, control):
    control.configure(bucket_capacity=1, bucket_drain=2.0)
    assert [rest("scope").status_code for _ in range(2)] == [200, 503]
    time.sleep(0.55)
    assert rest("scope").status_code == 200


def test_a_batch_counts_once(rest, control):
    control.configure(bucket_capacity=2, bucket_drain=0.001)
    assert rest("batch", {"cmd": ["scope"] * 50}).ok
    assert rest("scope").ok
    assert rest("scope").status_code == 503


def test_another_application_can_use_the_bucket_up(rest, control):
    control.configure(bucket_capacity=5, bucket_drain=2.0, bucket_other=200.0)
    rest("scope")
    time.sleep(0.05)
    assert rest("scope").status_code == 503


def test_the_manual_block(rest, control):
    control.configure(overload=True)
    assert error(rest("scope")) == (503, "OVERLOAD_LIMIT")


class TestDocumentedOperatingLimit:
    @pytest.fixture(autouse=True)
    def model(self, control):
        control.configure(operating_model="documented", operating_limit=10.0, operating_per_command=6.0)

    def test_a_method_over_the_limit_is_blocked_and_others_go_on(self, rest):
        assert [rest(LIST).json()["time"]["operating"] for _ in range(2)] == [6.0, 12.0]
        assert error(rest(LIST)) == (429, "OPERATION_TIME_LIMIT")
        assert rest("scope").ok

    def test_another_application_goes_on(self, rest, simulator):
        for _ in range(3):
            last = rest(LIST)
        assert last.status_code == 429
        assert requests.post(f"{simulator.url}/rest/{LIST}", json={"auth": "sim0access0token"}, timeout=10).ok

    def test_the_reply_says_when_the_oldest_time_leaves_the_window(self, rest, control):
        control.configure(operating_window=600.0)
        assert rest(LIST).json()["time"]["operating_reset_at"] == pytest.approx(time.time() + 600, abs=2)

    def test_the_time_leaves_the_window(self, rest, control):
        control.configure(operating_window=0.6)
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]
        time.sleep(0.65)
        assert rest(LIST).ok

    def test_commands_of_a_batch_are_charged_and_blocked_one_by_one(self, rest):
        result = rest("batch", {"cmd": {"a": LIST, "b": LIST, "c": LIST, "d": "scope"}}).json()["result"]
        assert set(result["result"]) == {"a", "b", "d"}
        assert result["result_error"]["c"]["error"] == "OPERATION_TIME_LIMIT"
        assert result["result_time"]["b"]["operating"] == 12.0
        assert error(rest(LIST)) == (429, "OPERATION_TIME_LIMIT")


class TestBanningOperatingLimit:
    @pytest.fixture(autouse=True)
    def model(self, control):
        control.configure(operating_model="ban", operating_limit=10.0, operating_per_command=6.0, operating_ban=0.4)

    def test_going_over_the_limit_bans_the_method_for_a_fixed_time(self, rest):
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]
        time.sleep(0.45)
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]

    def test_a_batch_is_charged_half_its_time_and_refused_as_a_whole(self, rest, control):
        control.configure(operating_ban=300.0)
        first = rest("batch", {"cmd": {"a": LIST, "b": LIST}})
        assert {part["operating"] for part in first.json()["result"]["result_time"].values()} == {0.0}
        assert first.json()["time"]["operating"] == 6.0
        second = rest("batch", {"cmd": {"a": LIST, "b": LIST}})
        assert second.json()["time"]["operating_reset_at"] == pytest.approx(time.time() + 300, abs=2)
        assert error(rest("batch", {"cmd": {"a": LIST}})) == (429, "OPERATION_TIME_LIMIT")
        assert rest(LIST).json()["time"]["operating"] == 6.0

    def test_short_requests_do_not_count(self, rest, control):
        control.configure(operating_per_command=0.09, operating_limit=0.1)
        assert {rest(LIST).status_code for _ in range(5)} == {200}


def test_commands_take_their_time_one_after_another(rest, control):
    control.configure(command_seconds=0.05, method_seconds={"scope": 0.0})
    began = time.monotonic()
    rest("batch", {"cmd": ["profile"] * 4 + ["scope"] * 40})
    assert 0.2 <= time.monotonic() - began < 0.5


@pytest.mark.parametrize("how", ["html", "reset"])
def test_a_request_that_takes_too_long_is_cut_and_what_was_done_stays_done(rest, control, how):
    ids = control.add_workflows([{} for _ in range(5)])
    control.configure(command_seconds=0.2, request_cut_seconds=0.5, request_cut_reply=how)
    cmd = {id: f"{KILL}?ID={id}" for id in ids}
    if how == "html":
        reply = rest("batch", {"cmd": cmd})
        assert (reply.status_code, reply.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
    else:
        with pytest.raises(requests.ConnectionError):
            rest("batch", {"cmd": cmd})
    time.sleep(0.3)
    assert [effect["id"] for effect in control.journal()] == ids[:2]


def test_what_a_client_no_longer_waits_for_is_done_all_the_same(rest, control):
    control.add_workflows([{"ID": "a"}])
    control.configure(command_seconds=0.2)
    with pytest.raises(requests.ReadTimeout):
        rest(KILL, {"ID": "a"}, timeout=0.1)
    time.sleep(0.2)
    assert [effect["id"] for effect in control.journal()] == ["a"]
