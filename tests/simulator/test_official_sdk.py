"""Bitrix24's own Python SDK, a client that nobody here wrote, works with the simulator."""

from __future__ import annotations

import ssl

import pytest
import trustme
from b24pysdk import BitrixWebhook, Client
from b24pysdk.errors import BitrixAPIError

from airflow_provider_workflows.simulator import Simulator

LIST = "bizproc.workflow.instances"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def portal(authority):
    """Serve TLS, as the SDK speaks nothing else."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Simulator(ssl_context=context) as simulator:
        yield simulator


@pytest.fixture
def control(portal):
    portal.control.reset()
    return portal.control


@pytest.fixture
def token(portal, control, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return BitrixWebhook(domain=portal.host, webhook_token="1/sim0webhook0code")


def test_it_lists_over_several_pages(token, control):
    control.generate_workflows(230)
    reply = token.call_list(LIST, {"SELECT": ["ID"], "FILTER": {">TEMPLATE_ID": 1}, "ORDER": {"ID": "asc"}})
    expected = {id for id, row in control.state()["bitrix24"]["workflows"].items() if row["TEMPLATE_ID"] != "1"}
    assert len(expected) > 100
    assert [row["ID"] for row in reply["result"]] == sorted(expected)
    assert [entry["method"] for entry in control.requests()] == [f"{LIST}", "batch"]


def test_it_lists_through_its_own_wrapper_of_the_method(token, control):
    control.generate_workflows(120)
    rows = list(Client(token).bizproc.workflow.instances(select=["ID", "STARTED"]).as_list().result)
    assert len({row["ID"] for row in rows}) == 120


def test_it_terminates_and_kills_and_sees_the_error_for_a_repeat(token, control):
    first, second = control.add_workflows([{}, {}])
    workflow = Client(token).bizproc.workflow
    assert workflow.terminate(bitrix_id=first, status="Stopped by the SDK").result is True
    assert workflow.kill(bitrix_id=second).result is True
    rows = control.state()["bitrix24"]["workflows"]
    assert (rows[first]["state"], rows[first]["status_text"]) == ("terminated", "Stopped by the SDK")
    assert rows[second]["state"] == "killed"
    with pytest.raises(BitrixAPIError) as caught:
        workflow.terminate(bitrix_id=first).result  # noqa: B018
    assert caught.value.status_code == 400


def test_it_batches_and_reads_the_outcome_of_each_command(token, control):
    ids = control.add_workflows([{} for _ in range(3)])
    methods = {id: ("bizproc.workflow.terminate", {"ID": id, "STATUS": "Ende & aus: 100 %"}) for id in [*ids, "gone"]}
    outcome = token.call_batch(methods)["result"]
    assert outcome["result"] == dict.fromkeys(ids, True)
    assert outcome["result_error"]["gone"]["error"] == ""
    rows = control.state()["bitrix24"]["workflows"].values()
    assert {(row["state"], row["status_text"]) for row in rows} == {("terminated", "Ende & aus: 100 %")}


def test_more_than_fifty_commands_go_in_several_batches(token, control):
    ids = control.add_workflows([{} for _ in range(120)])
    token.call_batches([("bizproc.workflow.kill", {"ID": id}) for id in ids])
    assert control.summary()["bitrix24"]["workflows"] == {"killed": 120}
    assert len(control.requests(method="batch")) == 3


def test_it_reads_a_flow_and_toggles_it(token, control):
    control.add_flow(id=517, active=False)
    assert token.call_method("tasks.flow.Flow.activate", {"flowId": 517})["result"] is True
    assert token.call_method("tasks.flow.Flow.get", {"flowId": 517})["result"]["active"] is True


def test_it_starts_a_workflow(token, control):
    reply = token.call_method(
        "bizproc.workflow.start", {"TEMPLATE_ID": 3, "DOCUMENT_ID": ["crm", "CCrmDocumentDeal", "DEAL_1"]}
    )
    assert control.state()["bitrix24"]["workflows"][reply["result"]]["state"] == "running"
