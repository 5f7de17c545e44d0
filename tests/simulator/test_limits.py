"""The portal's limits: how many requests, how much running time, how long one request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import requests

from airflow_provider_workflows.rest.errors import ReplyLostError
from airflow_provider_workflows.rest.protocol import Request
from airflow_provider_workflows.simulator import Simulator, SimulatorError
from tests.simulator.conftest import until
from tests.virtual import PortalRuntime, VirtualPortal

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
    control.configure(bucket_capacity=1, bucket_drain=0.001)
    assert [rest("scope").status_code for _ in range(2)] == [200, 503]
    control.advance(1100)
    assert rest("scope").status_code == 200


def test_a_batch_counts_once(rest, control):
    control.configure(bucket_capacity=2, bucket_drain=0.001)
    assert rest("batch", {"cmd": ["scope"] * 50}).ok
    assert rest("scope").ok
    assert rest("scope").status_code == 503


def test_another_application_can_use_the_bucket_up(rest, control):
    control.configure(bucket_capacity=5, bucket_drain=2.0, bucket_other=200.0)
    rest("scope")
    control.advance(0.05)
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
        assert requests.post(f"{simulator.url}/rest/{LIST}", json={"auth": "sim0access0token"}, timeout=300).ok

    def test_the_reply_says_when_the_oldest_time_leaves_the_window(self, rest):
        first = rest(LIST).json()["time"]
        assert first["operating_reset_at"] == pytest.approx(first["start"] + 600, abs=60)
        assert rest(LIST).json()["time"]["operating_reset_at"] == first["operating_reset_at"]

    def test_the_time_leaves_the_window(self, rest, control):
        control.configure(operating_window=60)
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]
        control.advance(60)
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
        control.configure(operating_model="ban", operating_limit=10.0, operating_per_command=6.0, operating_ban=300)

    def test_going_over_the_limit_bans_the_method_for_a_fixed_time(self, rest, control):
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]
        control.advance(200)
        assert rest(LIST).status_code == 429
        control.advance(100)
        assert [rest(LIST).status_code for _ in range(3)] == [200, 200, 429]

    def test_a_batch_is_charged_half_its_time_and_refused_as_a_whole(self, rest, control):
        first = rest("batch", {"cmd": {"a": LIST, "b": LIST}})
        assert {part["operating"] for part in first.json()["result"]["result_time"].values()} == {0.0}
        assert first.json()["time"]["operating"] == 6.0
        second = rest("batch", {"cmd": {"a": LIST, "b": LIST}}).json()["time"]
        assert second["operating_reset_at"] == pytest.approx(second["finish"] + 300, abs=60)
        assert error(rest("batch", {"cmd": {"a": LIST}})) == (429, "OPERATION_TIME_LIMIT")
        assert rest(LIST).json()["time"]["operating"] == 6.0

    def test_short_requests_do_not_count(self, rest, control):
        control.configure(operating_per_command=0.09, operating_limit=0.1)
        assert {rest(LIST).status_code for _ in range(5)} == {200}


def test_commands_take_their_time_one_after_another(rest, control):
    control.configure(command_seconds=0.05, method_seconds={"scope": 0.0})
    reply = rest("batch", {"cmd": ["profile"] * 4 + ["scope"] * 40}).json()
    assert reply["time"]["duration"] >= 0.2
    assert [reply["result"]["result_time"][key]["duration"] >= 0.05 for key in range(4)] == [True] * 4


@pytest.mark.parametrize("how", ["html", "reset"])
def test_a_request_that_takes_too_long_is_cut_and_what_was_done_stays_done(how):
    with VirtualPortal() as portal:
        ids = portal.add_workflows(5)
        portal.world.settings.change({"command_seconds": 20.0, "request_cut_seconds": 50.0, "request_cut_reply": how})
        runtime = PortalRuntime(portal)
        body = {"cmd": {id: f"{KILL}?ID={id}" for id in ids}}
        request = Request("POST", "http://portal/rest/1/sim0webhook0code/batch", {}, body)
        if how == "html":
            reply = portal.run(runtime.exchange("batch", request))
            assert (reply.http_status, reply.headers["Content-Type"]) == (504, "text/html; charset=utf-8")
        else:
            with pytest.raises(ReplyLostError):
                portal.run(runtime.exchange("batch", request))
        assert portal.clock.monotonic() == 50
        assert [effect["id"] for effect in portal.world.journal] == ids[:2]


def test_what_a_client_no_longer_waits_for_is_done_all_the_same(rest, control):
    control.add_workflows([{"ID": "a"}])
    control.configure(command_seconds=50)
    with pytest.raises(requests.ReadTimeout):
        rest(KILL, {"ID": "a"}, timeout=(300, 0.1))
    until(lambda: control.requests(method=KILL))
    control.advance(50)
    until(lambda: [effect["id"] for effect in control.journal()] == ["a"])


@pytest.mark.parametrize("slow", ["slow", "command_seconds"])
def test_but_not_to_what_comes_after_the_simulator_was_emptied(rest, control, slow):
    control.add_workflows([{"ID": "a"}])
    if slow == "slow":
        control.inject("slow", seconds=1000)
    else:
        control.configure(command_seconds=50)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rest, KILL, {"ID": "a"})
        until(lambda: control.requests(method=KILL))
        control.reset()
        control.add_workflows([{"ID": "a"}])
        control.advance(1000)
        with pytest.raises(requests.ConnectionError):
            waiting.result()
    assert control.journal() == []


class TestTheClock:
    def test_moving_it_answers_who_waits(self, rest, control):
        control.inject("slow", seconds=1000)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(rest, "scope", timeout=300)
            until(lambda: control.requests(method="scope"))
            control.advance(500)
            assert rest("profile").json()["time"]["start"] > control.requests()[0]["at"] + 490
            assert not waiting.done()
            control.advance(500)
            assert waiting.result().ok

    def test_a_request_for_which_it_is_moved_too_far_is_cut(self, rest, control):
        control.add_workflows([{"ID": "a"}])
        control.configure(command_seconds=1000, request_cut_seconds=600)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(rest, KILL, {"ID": "a"}, timeout=300)
            until(lambda: control.requests(method=KILL))
            control.advance(1000)
            assert waiting.result().status_code == 504
        assert control.journal() == []

    def test_emptying_the_simulator_puts_it_back(self, rest, control):
        before = rest("scope").json()["time"]["start"]
        control.advance(86_400)
        assert rest("scope").json()["time"]["start"] > before + 86_400
        control.reset()
        assert rest("scope").json()["time"]["start"] < before + 3600

    @pytest.mark.parametrize("seconds", [-1, "10", None, float("nan"), float("inf")])
    def test_it_only_goes_on(self, control, seconds):
        with pytest.raises(SimulatorError, match=r"The clock is moved on by seconds|JSON has no"):
            control.advance(seconds)

    def test_it_goes_by_the_clock_that_a_test_gives_it(self):
        with Simulator(clock=SimpleNamespace(time=lambda: 1_000_000.0, monotonic=lambda: 5.0)) as simulator:
            simulator.control.add_workflows([{}])
            [row] = simulator.control.state()["bitrix24"]["workflows"].values()
        assert row["STARTED"] == "1970-01-12T15:46:40+02:00"
