"""The control path, the settings, and the simulator as a program."""

from __future__ import annotations

import ast
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import airflow_provider_workflows.simulator as package
from airflow_provider_workflows.simulator import Control, Simulator, SimulatorError
from tests.servers import free_port

FOLDER = Path(package.__file__).parent


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"colour": "red"}, "colour"),
        ({"language": "xx"}, "'de', 'ru', 'en'"),
        ({"bucket_capacity": "50"}, "bucket_capacity"),
        ({"is_admin": 1}, "is_admin"),
        ({"oauth_error_status": 7}, "oauth_error_status"),
        ({"oauth_redirect": "https://localhost/\r\nX: y"}, "oauth_redirect"),
        ({"method_seconds": {"scope": -1}}, "method_seconds"),
        ({"clock_ahead": 1e12}, "clock_ahead"),
    ],
)
def test_a_setting_that_does_not_fit_is_an_error_and_changes_nothing(control, settings, text):
    before = control.settings()
    with pytest.raises(SimulatorError, match=text):
        control.configure(latency_seconds=1.0, **settings)
    assert control.settings() == before


def test_a_number_may_be_given_as_an_integer(control):
    control.configure(bucket_drain=5, finishes_after=3)
    assert control.settings()["bucket_drain"] == 5


def test_reset_empties_everything(rest, control):
    control.add_workflows([{"ID": "w"}])
    control.add_flow(id=517)
    control.add_domo_instances([{}])
    control.configure(language="ru")
    control.inject("refused", times=None)
    rest("scope")
    control.add_domo_queues([{"name": "Complaints"}])
    control.reset()
    state = control.state()
    assert [queue["name"] for queue in state["domo"].pop("queues").values()] == ["Approvals"]
    assert [kind for kind, there in (state["bitrix24"] | state["domo"]).items() if there] == []
    assert (control.requests(), control.journal()) == ([], [])
    assert control.settings()["language"] == "de"
    assert rest("scope").ok


def test_generated_workflows_are_the_same_for_the_same_seed(control):
    dates = {"started_from": "2025-01-01T00:00:00Z", "started_to": "2025-02-01T00:00:00Z"}

    def made(seed):
        control.reset()
        assert control.generate_workflows(50, stuck=5, templates=2, seed=seed, **dates) == {"count": 50, "stuck": 5}
        return control.state()["bitrix24"]["workflows"]

    first, again, other = made(1), made(1), made(2)
    assert list(first) == list(again) != list(other)
    assert {row["TEMPLATE_ID"] for row in first.values()} == {"1", "2"}
    assert all("2025-01-01" <= row["STARTED"] <= "2025-02-01T02:00:00+02:00" for row in first.values())
    assert control.summary()["bitrix24"]["stuck"] == 5


def test_the_same_workflows_cannot_be_generated_twice(control):
    dates = {"started_from": "2025-01-01T00:00:00Z", "started_to": "2025-02-01T00:00:00Z"}
    control.generate_workflows(5, **dates)
    with pytest.raises(SimulatorError, match="already"):
        control.generate_workflows(5, **dates)


@pytest.mark.parametrize(
    ("add", "row"),
    [
        ("add_workflows", {"COLOUR": 1}),
        ("add_workflows", {"STARTED": "soon"}),
        ("add_workflows", {"state": "flying"}),
        ("add_workflows", {"paused": "yes"}),
        ("add_tasks", {"COLOUR": 1}),
        ("add_webhooks", {"user": "a\r\nX: y", "code": "c"}),
        ("add_webhooks", {"user": 7, "code": "c", "scopes": "task"}),
        ("add_webhooks", {"user": 7, "code": "c", "admin": "no"}),
        ("add_domo_instances", {"status": 7}),
        ("add_domo_models", {"colour": 1}),
        ("add_domo_models", {"versions": "1.0.0"}),
        ("add_domo_queues", {"colour": 1}),
    ],
)
def test_a_row_that_cannot_be_is_an_error(control, add, row):
    with pytest.raises(SimulatorError):
        getattr(control, add)([row])
    assert control.summary()["bitrix24"]["workflows"] == {}


def test_the_log_and_the_journal_can_be_narrowed_down(rest, domo, control):
    control.add_workflows([{"ID": "w"}])
    rest("bizproc.workflow.kill", {"ID": "w"})
    rest("scope")
    domo("GET", "content/v2/users/me")
    assert [entry["method"] for entry in control.requests("bitrix24")] == ["bizproc.workflow.kill", "scope"]
    assert [entry["http_status"] for entry in control.requests(method="me")] == [200]
    assert [effect["id"] for effect in control.journal("kill")] == ["w"]
    assert control.summary()["effects"] == {"kill": 1}


def test_it_listens_on_loopback_only_and_frees_its_port_when_it_stops():
    port = free_port()
    with Simulator(port) as first:
        assert first.url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"), Simulator(port):
            pass
    with pytest.raises(requests.ConnectionError):
        requests.get(first.url, timeout=1)
    with Simulator(port) as second:
        assert second.control.summary()["bitrix24"]["workflows"] == {}


def test_two_simulators_know_nothing_of_each_other(control):
    control.add_workflows([{"ID": "w"}])
    with Simulator() as other:
        assert other.control.summary()["bitrix24"]["workflows"] == {}


def test_as_a_program_it_shows_connections_and_stops_at_an_interrupt():
    command = [sys.executable, "-m", "airflow_provider_workflows.simulator", "--port", "0", "--demo"]
    command += ["--set", "bucket_capacity=50", "--set", "language=ru"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            lines = [program.stdout.readline() for _ in range(6)]
            assert "no real webhook" in lines[1]
            control = Control(lines[0].split()[-1])
            summary = control.summary()
            settings = control.settings()
        finally:
            program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=300)
    assert (program.returncode, errors) == (0, "")
    assert summary["bitrix24"] == {
        "workflows": {"running": 4260},
        "stuck": 50,
        "paused_too_long": 0,
        "flows": {"active": 2, "inactive": 1},
    }
    assert summary["domo"]["instances"].keys() == {"None", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED"}
    assert (settings["bucket_capacity"], settings["language"]) == (50, "ru")
    exports = dict(shlex.split(line)[1].split("=", 1) for line in lines[3:5])
    bitrix24 = json.loads(exports["AIRFLOW_CONN_BITRIX24_DEFAULT"])
    assert (bitrix24["login"], bitrix24["password"]) == ("1", "sim0webhook0code")
    assert f"http://{bitrix24['host']}:{bitrix24['port']}" == control.url
    assert json.loads(exports["AIRFLOW_CONN_DOMO_DEFAULT"])["password"] == "sim-domo-developer-token"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.1@x", ""])
@pytest.mark.parametrize("path", ["rest/1/sim0webhook0code/scope", "_simulator/state", "api/content/v2/users/me"])
def test_a_page_whose_name_was_pointed_at_loopback_reads_nothing(simulator: Simulator, host: str, path: str):
    port = simulator.url.rpartition(":")[2]
    answer = requests.get(f"{simulator.url}/{path}", headers={"Host": host.format(port=port)}, timeout=300)
    assert answer.status_code == 421
    assert "answers to 127.0.0.1 and localhost only" in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "[::1]:{port}"])
def test_loopbacks_own_names_are_answered(simulator: Simulator, host: str):
    port = simulator.url.rpartition(":")[2]
    answer = requests.get(f"{simulator.url}/_simulator/state", headers={"Host": host.format(port=port)}, timeout=300)
    assert answer.status_code == 200


def test_as_a_program_it_says_what_is_wrong_and_fails():
    command = [sys.executable, "-m", "airflow_provider_workflows.simulator", "--port", "0", "--set", "colour=red"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "colour" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_aiohttp_it_says_what_to_install():
    code = "import sys; sys.modules['aiohttp'] = None; import airflow_provider_workflows.simulator"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "airflow-provider-workflows[simulator]" in ended.stderr


def test_it_stops_at_once_though_a_request_is_still_running():
    with Simulator() as simulator:
        simulator.control.inject("slow", seconds=3600)
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{simulator.url}/rest/1/sim0webhook0code/scope", timeout=(300, 0.1))


def test_it_shares_no_code_with_the_clients_and_needs_no_airflow():
    allowed = {"aiohttp", "cryptography", "airflow_provider_workflows", *sys.stdlib_module_names}
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, (path, name)
                if name.startswith("airflow_provider_workflows"):
                    assert name.startswith("airflow_provider_workflows.simulator"), (path, name)
