"""Whatever is sent, the answer is one that the real systems give; nobody finds a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import time
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.simulator import SimulatorError
from airflow_provider_workflows.simulator.bitrix24.methods import METHODS
from airflow_provider_workflows.simulator.domo.call import PATHS
from airflow_provider_workflows.simulator.domo.instances import DEFAULT_MODEL as MODEL
from airflow_provider_workflows.simulator.domo.task_center import DEFAULT_QUEUE as QUEUE
from airflow_provider_workflows.simulator.php import parse
from tests.simulator.conftest import until

LIST, KILL = "bizproc.workflow.instances", "bizproc.workflow.kill"
PATH = "rest/1/sim0webhook0code"
MANY = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)

NAMES = ["ID", "FILTER", "SELECT", "ORDER", "start", "cmd", "halt", "flowId", "flowData", "name", "full", "sort"]
NAMES += ["TEMPLATE_ID", "DOCUMENT_ID", "PARAMETERS", "USER_ID", "MESSAGE", "ATTACH", "DIALOG_ID", "TAG"]
NAMES += ["TASK_ID", "TASK_IDS", "STATUS", "EVENT_TOKEN", "LOG_MESSAGE", "FROM_USER_ID", "TO_USER_ID"]
FIELDS = ["ID", ">ID", "STARTED", "<STARTED", "!TEMPLATE_ID", "@ID", "%NAME", "ACTIVE", "id", "responsibleList"]
FIELDS += ["PreGeneratedWorkflowId", "permissions", "type", "userId", "tasksId", "createdOn", "status", "orderByString"]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["a", "²", "-5", "9" * 30, "9" * 5000, "Y", "2025-13-45", "0001-01-01", "@99999999999999"]),
    st.just(10**400),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
params = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
methods = st.sampled_from([*METHODS, "batch", "no.such.method", "Batch"])


def assert_answered(reply):
    """Expect an envelope: a result or an error."""
    assert reply.status_code < 500, reply.text
    assert reply.json().keys() & {"result", "error"}


@pytest.fixture(autouse=True)
def something(control):
    control.add_workflows([{"ID": "a"}])
    control.add_flow(id=517)
    [id] = control.add_domo_instances([{"id": "1.0.0"}])
    control.add_domo_tasks([{"instanceId": id, "id": id}])


@MANY
@given(methods, params)
@example("bizproc.workflow.instances", {"FILTER": {"STARTED": "0001-01-01"}})
@example("bizproc.workflow.instances", {"start": 10**400})
@example("batch", {"cmd": {"a": "scope", "b": "user.get?ID=$result[a][0]&NAME=$next[a]"}})
def test_any_parameters_as_json(simulator, method, params):
    headers = {"Content-Type": "application/json"}
    url = f"{simulator.url}/{PATH}/{method}"
    assert_answered(requests.post(url, data=json.dumps(params), headers=headers, timeout=300))


@MANY
@given(methods, st.dictionaries(st.text(st.sampled_from("a²[]-0. ID"), max_size=12), st.text(max_size=5), max_size=4))
@example("scope", {"a[²]": "b", "a[]": "c", "[": "d", "a[-1]": "e"})
@example(KILL, {"a" + "[b]" * 100_000: "c"})
def test_any_names_in_a_form(simulator, method, fields):
    url = f"{simulator.url}/{PATH}/{method}"
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())
    assert_answered(requests.post(url, data=body, headers={"Content-Type": FORM}, timeout=300))


FORM = "application/x-www-form-urlencoded"


@MANY
@given(
    st.sampled_from(
        ["application/json", FORM, "multipart/form-data", "multipart/form-data; boundary=b", "text/xml", ";"]
    ),
    st.binary(max_size=60)
    | st.sampled_from([b"NaN", b"[" * 100_000, b'{"ID":' * 600 + b"1" + b"}" * 600, b"\xff\xfe{}"]),
    st.sampled_from(["", "gzip", "br"]),
)
@example("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="ID"\r\n\r\na', "")
@example("application/json", b'{"ID": NaN}', "")
@example("application/json", gzip.compress(b"{}")[:-4], "gzip")
def test_any_bytes(simulator, kind, body, encoding):
    headers = {"Content-Type": kind, **({"Content-Encoding": encoding} if encoding else {})}
    for path in (f"{PATH}/{LIST}", "rest/scope", "oauth/token/", "api/workflow/v1/instances/message"):
        reply = requests.post(f"{simulator.url}/{path}", data=body, headers=headers, timeout=300)
        assert reply.status_code < 500
        assert reply.json()


IDS = {"v[12]": "v2", "/models/{}": f"/models/{MODEL}", "/v1/{}": f"/v1/{QUEUE}", "{}": "1.0.0"}


def address(path):
    """Return an address of Domo's with ids that are there, where there are any."""
    for blank, id in IDS.items():
        path = path.replace(blank, id)
    return path


@MANY
@given(
    st.sampled_from(list(PATHS.values())),
    values,
    st.dictionaries(st.sampled_from(["limit", "offset", "sort", "modelId", "status", "version"]), st.text(max_size=5)),
)
@example(PATHS["queue_permissions"], [], {})
def test_any_call_of_domo(simulator, route, body, query):
    verb, path = route
    headers = {"X-DOMO-Developer-Token": "sim-domo-developer-token", "Content-Type": "application/json"}
    url = f"{simulator.url}{address(path)}"
    reply = requests.request(verb, url, data=json.dumps(body), params=query, headers=headers, timeout=300)
    assert reply.status_code < 500, reply.text
    assert path.endswith("/status") or isinstance(reply.json(), dict | list)


@MANY
@given(
    st.sampled_from(["add_workflows", "generate_workflows", "change_workflows", "add_tasks", "add_users", "add_flow"])
    | st.sampled_from(["add_webhooks", "add_domo_instances", "add_domo_models", "inject", "configure", "advance"])
    | st.sampled_from(["add_domo_tasks", "add_event_tokens", "dismiss_users", "add_departments", "add_chats"]),
    values,
)
@example("configure", {"bucket_drain": float("nan")})
@example("inject", {"kind": "slow", "options": {"seconds": "x"}})
@example("inject", {"kind": "error", "options": {"status": 7}})
@example("inject", {"kind": "reply", "options": {"headers": {"A": "b\r\nC: d"}}})
@example("inject", {"kind": "refused", "times": "1"})
@example("configure", {"server_offset": "two"})
@example("configure", {"domo_user": "me"})
@example("configure", {"method_seconds": {"scope": "1"}})
@example("configure", {"scopes": [1]})
def test_what_the_control_path_cannot_use_is_told(control, action, given):
    with contextlib.suppress(SimulatorError):  # what fails otherwise fails the test
        control._do(action, given)
    control.reset()


def test_an_old_client_that_names_no_host_is_answered(simulator):
    with socket.create_connection(("127.0.0.1", int(simulator.host.split(":")[1]))) as connection:
        connection.sendall(f"GET /{PATH}/scope HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as reply:
            assert b'{"result": ["bizproc"' in reply.read()


@pytest.mark.parametrize("path", [f"{PATH}/{KILL}?ID=a", "api/workflow/v1/instances/message", "oauth/token/"])
def test_asking_for_options_does_nothing(simulator, control, path):
    reply = requests.options(f"{simulator.url}/{path}", timeout=300)
    assert (reply.status_code, reply.content) == (200, b"")
    assert (control.requests(), control.journal()) == ([], [])


@pytest.mark.parametrize(
    "body", [b'{"ID": NaN}', b'{"ID": "a", "b": ' + b"[" * 600 + b"]" * 600 + b"}", b"{", b"7", b"\xff"]
)
def test_json_that_cannot_be_read_counts_as_no_parameters(rest, control, body):
    reply = rest(KILL, data=body, headers={"Content-Type": "application/json"})
    assert reply.json()["error"] == "ERROR_WRONG_WORKFLOW_ID"
    assert control.requests()[-1]["params"] == {}


def test_a_form_with_many_fields_is_read_in_linear_time():
    # Were each to look for its number among those before it, this would take minutes.
    assert len(parse("&".join(["FILTER[ID][]=a"] * 50_000))["FILTER"]["ID"]) == 50_000


def test_a_list_of_many_ids_is_looked_up_and_not_searched(rest, control):
    control.generate_workflows(20_000)
    wanted = [f"none{number}" for number in range(20_000)]
    # 400,000,000 comparisons otherwise.
    assert rest(LIST, {"FILTER": {"ID": [*wanted, "a"]}}, timeout=300).json()["total"] == 1


class TestClientsThatGoAway:
    @pytest.fixture
    def leave(self, simulator):
        """Send something, and close the connection with no farewell."""

        def leave(text):
            with socket.create_connection(("127.0.0.1", int(simulator.host.split(":")[1]))) as connection:
                connection.sendall(f"POST /{PATH}/{KILL} HTTP/1.1\r\nHost: {simulator.host}\r\n{text}".encode())
                time.sleep(0.02)

        return leave

    @pytest.mark.parametrize(
        "text",
        [
            'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ID":',
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100\r\n\r\n--x\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
            "Transfer-Encoding: chunked\r\n\r\nzz\r\nab",
        ],
        ids=["json", "multipart", "chunked", "no chunk"],
    )
    def test_leave_no_traceback_and_nothing_done(self, leave, simulator, rest, control, capfd, caplog, text):
        before = asyncio.all_tasks(simulator._loop)
        leave(text)
        assert rest("scope").ok
        until(lambda: asyncio.all_tasks(simulator._loop) <= before)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert capfd.readouterr().err == ""
        assert control.journal() == []


def test_the_log_of_requests_forgets_the_oldest(control, rest, monkeypatch):
    monkeypatch.setattr("airflow_provider_workflows.simulator.world.REQUESTS_KEPT", 3)
    control.reset()
    for nth in range(5):
        rest("scope", {"nth": nth})
    assert [entry["params"]["nth"] for entry in control.requests()] == [2, 3, 4]
    assert control.summary()["requests"] == {"bitrix24": 5}


def test_xml_is_answered_where_it_is_asked_for(rest, control):
    assert json.loads(rest(f"{LIST}.json").text)["total"] == 1
    reply = rest(f"{LIST}.xml", {"SELECT": ["ID"]})
    assert reply.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert "<response><result><item><ID>a</ID></item></result><total>1</total>" in reply.text
    assert "<error>ERROR_WRONG_WORKFLOW_ID</error>" in rest(f"{KILL}.XML").text
