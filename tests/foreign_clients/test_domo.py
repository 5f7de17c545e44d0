"""A client of Domo that nobody here wrote works with the simulator."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from airflow_provider_workflows.simulator import Control, Simulator

MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"


@pytest.fixture
def run(simulator: Simulator, control: Control) -> Callable[..., Any]:
    """Run one of its routes; what it sends to Domo's host goes to the simulator."""
    httpx = pytest.importorskip("httpx")
    auth = pytest.importorskip("domolibrary.client.DomoAuth")

    class ToSimulator(httpx.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            assert request.url.host == "acme.domo.com"
            host, port = simulator.host.split(":")
            request.url = request.url.copy_with(host=host, port=int(port))
            request.headers["Host"] = simulator.host
            return await super().handle_async_request(request)

    def run(route: Callable[..., Coroutine[Any, Any, Any]], token: str = "", **given: Any) -> Any:
        token = token or control.settings()["domo_token"]

        async def work() -> Any:
            trusting = ssl.create_default_context(cafile=simulator.certificate)
            async with httpx.AsyncClient(transport=ToSimulator(verify=trusting)) as session:
                return await route(auth=auth.DomoTokenAuth(token, "acme"), session=session, **given)

        return asyncio.run(work())

    return run


@pytest.fixture
def workflows() -> Any:
    """Return its routes."""
    return pytest.importorskip("domolibrary.routes.workflows")


def test_it_starts_an_instance(run: Any, workflows: Any, control: Control) -> None:
    given = {"starting_tile": "Start AddTwoNumbers", "model_id": MODEL, "version_id": "1.1.0"}
    reply = run(workflows.trigger_workflow, **given, execution_parameters={"a": 1})
    [row] = control.state()["domo"]["instances"].values()
    assert (reply.response["id"], row["data"]) == (row["id"], {"a": 1})


def test_it_reads_a_version_and_its_executions(run: Any, workflows: Any, control: Control) -> None:
    [id] = control.add_domo_instances([{"modelVersion": "1.0.0"}])
    version = run(workflows.get_workflow, model_id=MODEL, version_id="1.0.0")
    assert version.response["version"] == "1.0.0"
    reply = run(workflows.get_workflow_executions, model_id=MODEL, version_id="1.0.0")
    assert [row["id"] for row in reply.response] == [id]


def test_a_token_that_is_none_is_an_error(run: Any, workflows: Any) -> None:
    error = pytest.importorskip("domolibrary.client.DomoError").RouteError
    with pytest.raises(error):
        run(workflows.get_workflow, token="wrong", model_id=MODEL, version_id="1.0.0")
