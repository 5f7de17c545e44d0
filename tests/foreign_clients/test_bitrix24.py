"""Clients of Bitrix24 that nobody here wrote work with the simulator: lists, batches, effects, errors, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_workflows.simulator import Control, Simulator
from tests.foreign_clients.conftest import CODE, KILL, LIST, TERMINATE, state

EMPTY_CODE = "Der Workflow gone wurde nicht gefunden oder ist schon beendet."


class TestFastBitrix24:
    @pytest.fixture
    def control(self) -> Iterator[Control]:
        """Serve plain HTTP: which certificates it trusts was settled when aiohttp was imported."""
        with Simulator() as simulator:
            yield simulator.control

    @pytest.fixture
    def client(self, control: Control) -> Any:
        return pytest.importorskip("fast_bitrix24").Bitrix(f"{control.url}/rest/1/{CODE}/", verbose=False)

    def test_it_lists_page_by_page_in_batches(self, client: Any, control: Control) -> None:
        control.generate_workflows(230)
        rows = client.get_all("bizproc.workflow.instance.list", {"SELECT": ["ID"], "FILTER": {">TEMPLATE_ID": 0}})
        assert len({row["ID"] for row in rows}) == 230

    def test_it_finds_users_by_their_ids(self, client: Any, control: Control) -> None:
        control.add_users([{"ID": id, "NAME": f"User {id}"} for id in range(100, 160)])
        found = client.get_by_ID("user.get", range(100, 160))
        assert {key: row["NAME"] for key, [row] in found.items()} == {str(id): f"User {id}" for id in range(100, 160)}

    def test_it_ends_many_in_batches_and_raises_what_the_portal_says(self, client: Any, control: Control) -> None:
        ids = control.add_workflows([{} for _ in range(60)])
        client.call(KILL, [{"ID": id} for id in ids])
        assert {effect["id"] for effect in control.journal("kill")} == set(ids)
        with pytest.raises(Exception, match="beendet"):
            client.call(KILL, [{"ID": ids[0]}, {"ID": "gone"}])

    def test_a_batch_is_answered_by_key(self, client: Any) -> None:
        reply = client.call_batch({"halt": 0, "cmd": {"who": "user.current", "when": "server.time"}})
        assert set(reply) == {"who", "when"}


class TestB24Api:
    @pytest.fixture
    def b24api(self) -> Any:
        return pytest.importorskip("b24api", reason="it is for Python 3.12 and newer")

    def run(self, b24api: Any, webhook: str, work: Any) -> Any:
        async def session() -> Any:
            async with b24api.Bitrix24.from_webhook(webhook) as client:
                return await work(client)

        return asyncio.run(session())

    def test_it_lists_to_the_end(self, b24api: Any, webhook: str, control: Control) -> None:
        control.generate_workflows(120)

        async def work(client: Any) -> Any:
            rows = client.iter_list(b24api.Request.bare(LIST, {"SELECT": ["ID"], "ORDER": {"ID": "ASC"}}))
            return [row["ID"] async for row in rows], str(rows.report.state)

        ids, outcome = self.run(b24api, webhook, work)
        assert len(set(ids)) == 120
        assert outcome == "completed"

    def test_what_the_portal_refuses_is_an_error_with_its_code(
        self, b24api: Any, webhook: str, control: Control
    ) -> None:
        control.configure(is_admin=False)

        async def work(client: Any) -> Any:
            return await client.call(b24api.Request.bare(LIST))

        with pytest.raises(b24api.ApiResponseError) as refused:
            self.run(b24api, webhook, work)
        assert "ACCESS_DENIED" in str(refused.value)


class TestPybitrix24:
    @pytest.fixture
    def client(self, simulator: Simulator, control: Control) -> Any:
        module = pytest.importorskip("pybitrix24")
        settings = control.settings()
        return module.Bitrix24(simulator.host, settings["client_id"], settings["client_secret"], user_id=1)

    def test_it_calls_through_a_webhook(self, client: Any, control: Control) -> None:
        control.add_workflows([{"ID": "a", "TEMPLATE_ID": 7}, {"ID": "b", "TEMPLATE_ID": 8}])
        reply = client.call_webhook(CODE, LIST, {"FILTER": {"TEMPLATE_ID": 7}, "SELECT": ["ID"]})
        assert reply["result"] == [{"ID": "a"}]

    def test_it_sends_batches(self, client: Any, control: Control) -> None:
        [id] = control.add_workflows([{}])
        calls = {"end": (TERMINATE, {"ID": id}), "again": (TERMINATE, {"ID": "gone"})}
        result = client.call_batch_webhook(CODE, calls)["result"]
        assert result["result"] == {"end": True}
        assert result["result_error"]["again"]["error_description"] == EMPTY_CODE
        assert state(control, id) == "terminated"

    def test_it_gets_tokens_calls_with_them_and_renews_them(self, client: Any, control: Control) -> None:
        client._refresh_token = "sim0refresh0token"
        client.auth_hostname = client.hostname
        client.refresh_tokens()
        assert client.call("profile")["result"]["ID"] == "1"


class TestBitrix24Rest:
    @pytest.fixture
    def client(self, webhook: str) -> Any:
        return pytest.importorskip("bitrix24").Bitrix24(webhook)

    def test_it_asks_by_address_alone_and_gets_all_pages(self, client: Any, control: Control) -> None:
        control.generate_workflows(120)
        rows = client.callMethod(LIST, ORDER={"ID": "asc"}, SELECT=["ID"])
        assert len({row["ID"] for row in rows}) == 120

    def test_it_ends_one_and_knows_an_error(self, client: Any, control: Control) -> None:
        [id] = control.add_workflows([{}])
        assert client.callMethod(KILL, ID=id) is True
        assert state(control, id) == "killed"
        with pytest.raises(Exception, match="400"):
            client.callMethod(KILL, ID="gone")
