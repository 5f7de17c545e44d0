"""Faults that are ordered: they really happen, on the wire."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_provider_workflows.simulator import SimulatorError
from tests.simulator.conftest import until

KILL = "bizproc.workflow.kill"


@pytest.fixture
def workflow(control):
    [id] = control.add_workflows([{"ID": "w"}])
    return id


def killed(control):
    return [effect["id"] for effect in control.journal("kill")]


def exchange(simulator, method, body):
    """Send a request over a bare socket; all that comes back until the server closes the connection."""
    text = json.dumps(body).encode()
    head = f"POST /rest/1/sim0webhook0code/{method} HTTP/1.1\r\nHost: {simulator.host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(simulator.host.split(":")[1])), timeout=300) as connection:
        connection.sendall(head.encode() + text)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_refused_is_not_done(rest, control, workflow):
    control.inject("refused")
    reply = rest(KILL, {"ID": workflow})
    assert (reply.status_code, reply.json()["error"]) == (503, "QUERY_LIMIT_EXCEEDED")
    assert killed(control) == []
    assert rest(KILL, {"ID": workflow}).ok


@pytest.mark.parametrize(("kind", "done"), [("lost_before", []), ("lost_after", ["w"])])
def test_a_lost_connection_is_closed_without_a_byte(simulator, control, workflow, kind, done):
    control.inject(kind)
    assert exchange(simulator, KILL, {"ID": workflow}) == b""
    assert killed(control) == done
    assert control.requests()[-1]["http_status"] is None


def test_a_batch_is_cut_after_some_of_its_commands(simulator, control):
    ids = control.add_workflows([{} for _ in range(5)])
    control.inject("cut_after_commands", n=3)
    assert exchange(simulator, "batch", {"cmd": [f"{KILL}?ID={id}" for id in ids]}) == b""
    assert killed(control) == ids[:3]


def test_truncated_json_has_a_matching_length(simulator, control, workflow):
    control.inject("truncated")
    head, _, body = exchange(simulator, KILL, {"ID": workflow}).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.startswith(b'{"result": true')
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(body)
    assert killed(control) == ["w"]


@pytest.mark.parametrize("done", [False, True])
def test_error_500_before_or_after_the_call_is_done(rest, control, workflow, done):
    control.inject("error_500", done=done)
    reply = rest(KILL, {"ID": workflow})
    assert (reply.status_code, reply.json()["error"]) == (500, "INTERNAL_SERVER_ERROR")
    assert killed(control) == (["w"] if done else [])


@pytest.mark.parametrize(("options", "status", "done"), [({}, 500, []), ({"status": 502, "done": True}, 502, ["w"])])
def test_a_page_instead_of_json(rest, control, workflow, options, status, done):
    control.inject("html", **options)
    reply = rest(KILL, {"ID": workflow})
    assert reply.status_code == status
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.text.startswith("<html>")
    assert killed(control) == done


def test_a_redirect_leads_elsewhere_and_nothing_is_done(rest, control, workflow):
    control.inject("redirect", location="https://new.example/rest/")
    reply = rest(KILL, {"ID": workflow})
    assert (reply.status_code, reply.headers["Location"]) == (302, "https://new.example/rest/")
    assert killed(control) == []


def test_an_empty_body_after_the_call_is_done(rest, control, workflow):
    control.inject("empty_body")
    reply = rest(KILL, {"ID": workflow})
    assert (reply.status_code, reply.content) == (200, b"")
    assert killed(control) == ["w"]


def test_a_slow_reply_is_for_a_call_that_is_done_early_or_late(rest, control, workflow):
    control.inject("slow", seconds=1000)
    with pytest.raises(requests.ReadTimeout):
        rest(KILL, {"ID": workflow}, timeout=(300, 0.1))
    until(lambda: control.requests(method=KILL))
    assert killed(control) == []
    control.advance(1000)
    until(lambda: killed(control) == ["w"])
    [id] = control.add_workflows([{}])
    control.inject("slow", seconds=1000, done=True)
    with pytest.raises(requests.ReadTimeout):
        rest(KILL, {"ID": id}, timeout=(300, 0.1))
    until(lambda: killed(control) == ["w", id])
    assert control.requests(method=KILL)[-1]["http_status"] is None
    control.advance(1000)


def test_slow_comes_together_with_another_fault(rest, control, workflow):
    control.inject("slow", seconds=1000)
    control.inject("lost_after")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rest, KILL, {"ID": workflow}, timeout=300)
        until(lambda: control.requests(method=KILL))
        assert killed(control) == []
        control.advance(1000)
        with pytest.raises(requests.ConnectionError):
            waiting.result()
    assert killed(control) == ["w"]


@pytest.mark.parametrize(("done", "effects"), [(True, 3), (False, 2)])
def test_the_answer_of_one_command_can_be_missing(rest, control, done, effects):
    ids = control.add_workflows([{} for _ in range(3)])
    control.inject("missing_key", index=1, done=done)
    result = rest("batch", {"cmd": {f"k{n}": f"{KILL}?ID={id}" for n, id in enumerate(ids)}}).json()["result"]
    assert set(result["result"]) == {"k0", "k2"}
    assert result["result_error"] == []
    assert len(killed(control)) == effects


def test_the_operating_limit_befalls_one_command_or_the_whole_batch(rest, control):
    ids = control.add_workflows([{} for _ in range(3)])
    cmd = {f"k{n}": f"{KILL}?ID={id}" for n, id in enumerate(ids)}
    control.inject("operating_limit", method="batch")
    assert rest("batch", {"cmd": cmd}).status_code == 429
    assert killed(control) == []
    control.inject("operating_limit", method=KILL, skip=1)
    result = rest("batch", {"cmd": cmd}).json()["result"]
    assert {key: error["error"] for key, error in result["result_error"].items()} == {"k1": "OPERATION_TIME_LIMIT"}
    assert killed(control) == [ids[0], ids[2]]
    assert control.requests()[-1]["fault"] == "operating_limit"


def test_an_error_befalls_the_command_for_one_workflow(rest, control):
    first, second = control.add_workflows([{}, {}])
    control.inject("error", method=KILL, id=second, times=None, description="Kaputt")
    for _ in range(2):
        result = rest("batch", {"cmd": {"a": f"{KILL}?ID={first}", "b": f"{KILL}?ID={second}"}}).json()["result"]
        assert result["result_error"]["b"] == {"error": "", "error_description": "Kaputt"}
    assert killed(control) == [first]


def test_a_fault_waits_for_its_vendor_method_and_turn(rest, domo, control):
    control.inject("refused", vendor="bitrix24", method="scope", skip=1, times=2)
    assert domo("GET", "content/v2/users/me").ok
    assert rest("profile").ok
    assert [rest("scope").status_code for _ in range(4)] == [200, 503, 503, 200]


def test_a_fault_can_wait_for_a_batch_with_a_certain_command(rest, control):
    control.inject("refused", containing=KILL)
    assert rest("batch", {"cmd": ["scope"]}).ok
    assert rest(KILL, {"ID": "x"}).status_code == 400
    assert rest("batch", {"cmd": ["scope", f"{KILL}?ID=x"]}).status_code == 503


def test_a_fault_can_last(rest, control):
    control.inject("refused", times=None)
    assert {rest("scope").status_code for _ in range(5)} == {503}
    control.reset()
    assert rest("scope").ok


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({"kind": "earthquake"}, "earthquake"),
        ({"kind": "slow", "minutes": 5}, "minutes"),
        ({"kind": "slow", "vendor": "acme"}, "acme"),
        ({"kind": "blocked", "vendor": "bitrix24"}, "blocked does not happen to bitrix24"),
        ({"kind": "missing_key", "vendor": "domo"}, "missing_key does not happen to domo"),
    ],
)
def test_a_fault_that_does_not_exist_is_an_error(control, order, text):
    with pytest.raises(SimulatorError, match=text):
        control.inject(**order)


def test_domo_refuses_with_429_and_may_say_when_to_come_back(domo, control):
    control.inject("refused", vendor="domo", retry_after=7)
    control.inject("refused", vendor="domo")
    first, second = domo("GET", "content/v2/users/me"), domo("GET", "content/v2/users/me")
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert (second.status_code, second.headers.get("Retry-After")) == (429, None)


def test_domo_can_block_a_single_request(domo, rest, control):
    control.inject("blocked", how="redirect")
    assert rest("scope").ok
    assert [domo("GET", "content/v2/users/me").status_code for _ in range(2)] == [303, 200]


def test_domos_errors_have_domos_shape(domo, control):
    control.inject("error_500", vendor="domo")
    assert domo("GET", "content/v2/users/me").json().keys() == {"status", "statusReason", "toe"}
    control.inject("error", vendor="domo", method="me", status=403, description="No")
    assert domo("GET", "content/v2/users/me").json()["message"] == "No"


def test_bitrix24_may_say_when_to_come_back_too(rest, control):
    control.inject("refused", retry_after=7)
    control.inject("refused")
    first, second = rest("scope"), rest("scope")
    assert (first.status_code, first.headers["Retry-After"]) == (503, "7")
    assert (second.status_code, second.headers.get("Retry-After")) == (503, None)


@pytest.mark.parametrize(("done", "effects"), [(True, ["w"]), (False, [])])
def test_a_reply_can_be_anything(rest, control, workflow, done, effects):
    control.inject("reply", status=207, headers={"X-Strange": "yes"}, text="[[[", done=done)
    reply = rest(KILL, {"ID": workflow})
    assert (reply.status_code, reply.headers["X-Strange"], reply.text) == (207, "yes", "[[[")
    assert killed(control) == effects


def test_the_time_of_all_commands_can_be_strange(rest, control, workflow):
    control.inject("strange_time", time={"operating": "abc"}, times=2)
    assert rest("scope").json()["time"] == {"operating": "abc"}
    reply = rest("batch", {"cmd": {"a": f"{KILL}?ID={workflow}"}}).json()
    assert reply["time"] == reply["result"]["result_time"]["a"] == {"operating": "abc"}
    assert killed(control) == ["w"]
