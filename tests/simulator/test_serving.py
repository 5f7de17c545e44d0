"""Where it listens, its own certificate, and the connections that lead to it."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import pytest
import requests

from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import list_workflows
from airflow_provider_workflows.domo.watching import read_instance
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.simulator import Simulator
from airflow_provider_workflows.simulator.__main__ import main
from airflow_provider_workflows.simulator.presets import PRESETS
from airflow_provider_workflows.simulator.settings import Settings


class TestTls:
    def test_connections_lead_to_it_and_trust_its_certificate_only(self, monkeypatch):
        with Simulator(tls=True) as simulator, Simulator(tls=True) as other:
            for name, connection in simulator.connections().items():
                monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
            [id] = simulator.control.add_workflows([{}])
            [instance] = simulator.control.add_domo_instances([{}])
            assert [row.id for row in Bitrix24Hook().run(list_workflows(WorkflowFilter.parse({})))] == [id]
            assert DomoHook().run(read_instance(instance)).id == instance
            with pytest.raises(requests.exceptions.SSLError):
                requests.get(other.url, verify=simulator.certificate, timeout=300)

    def test_it_is_for_this_machine_by_all_its_names(self):
        with Simulator(tls=True) as simulator:
            port = int(simulator.host.split(":")[1])
            trusting = ssl.create_default_context(cafile=simulator.certificate)
            for name in ("127.0.0.1", "localhost", socket.gethostname()):
                plain = socket.create_connection(("127.0.0.1", port))
                with (
                    trusting.wrap_socket(plain, server_hostname=name) as connection,
                    connection.makefile("rb") as reply,
                ):
                    connection.sendall(b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert reply.read().startswith(b"HTTP/1.1 200 OK")

    def test_what_is_left_when_it_stops_is_nothing(self):
        with Simulator(tls=True) as simulator:
            path = Path(str(simulator.certificate))
            assert "PRIVATE" not in path.read_text()
        assert not path.parent.exists()

    def test_the_token_server_speaks_of_https(self):
        with Simulator(tls=True) as simulator:
            control = simulator.control
            settings = control.settings()
            params = {"grant_type": "refresh_token", "refresh_token": "sim0refresh0token"}
            params |= {"client_id": settings["client_id"], "client_secret": settings["client_secret"]}
            url = f"{simulator.url}/oauth/token/"
            reply = requests.get(url, params=params, verify=simulator.certificate, timeout=300)
            assert reply.json()["client_endpoint"] == f"{simulator.url}/rest/"


class TestWhereItListens:
    @pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
    def test_on_loopback_it_answers_to_loopbacks_names_only(self, address):
        with Simulator(address=address) as simulator:
            assert requests.get(f"{simulator.url}/rest/1/sim0webhook0code/scope", timeout=300).ok
            assert requests.get(simulator.url, headers={"Host": "portal.example"}, timeout=300).status_code == 421

    def test_elsewhere_it_answers_to_any_name(self):
        with Simulator(address="0.0.0.0") as simulator:  # noqa: S104
            assert simulator.url.startswith("http://127.0.0.1:")
            url = f"{simulator.url}/rest/1/sim0webhook0code/scope"
            assert requests.get(url, headers={"Host": "portal.example"}, timeout=300).ok

    def test_an_address_that_is_not_this_machines(self, capsys):
        assert main(["--host", "192.0.2.1", "--port", "0"]) == 1
        assert "The simulator did not start" in capsys.readouterr().err


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    def test_each_sets_what_there_is_and_others_go_first(self, control, name):
        control.configure(preset=name, language="en")
        assert control.settings() == {**Settings().as_dict(), **PRESETS[name], "language": "en"}
        first = next(iter(PRESETS[name]))
        control.configure(preset=name, **{first: getattr(Settings(), first)})
        assert control.settings()[first] == getattr(Settings(), first)

    def test_an_unknown_one_is_told_with_those_there_are(self, control):
        with pytest.raises(ValueError, match="preset is one of 'documented-2026-08'"):
            control.configure(preset="documented-1999")

    def test_a_portal_as_documented_takes_https_only(self, rest, control):
        control.configure(preset="documented-2026-08")
        assert rest("scope").json()["error"] == "INVALID_REQUEST"
