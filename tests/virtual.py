"""A world in which no time passes: a simulated portal and its clients in one event loop, whose clock jumps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from threading import Event
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from aiohttp.test_utils import make_mocked_request

from airflow_provider_workflows.bitrix24.portal import Portal as Account
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import ReplyLostError
from airflow_provider_workflows.rest.loop_runtime import LoopRuntime
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.simulator.bitrix24.portal import Portal
from airflow_provider_workflows.simulator.clock import Clock as SimulatorClock
from airflow_provider_workflows.simulator.control_path import ControlPath
from airflow_provider_workflows.simulator.world import World

T = TypeVar("T")
APP: Any = object()
#: When it all begins.
BEGIN = 1_800_000_000.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that is at once at the time for which it would have to wait."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        look = selector.select

        def select(timeout: float | None) -> Any:
            assert timeout is not None, "nobody is left who could go on"
            self._passed += timeout
            return look(0)

        selector.select = select

    def time(self) -> float:
        """Return the seconds since the beginning."""
        return self._passed


class VirtualClock(Clock):
    """The loop's clock, for clients and simulator."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        """Return the Unix time."""
        return BEGIN + self._loop.time()

    def monotonic(self) -> float:
        """Return the seconds since the beginning."""
        return self._loop.time()


class PortalRuntime(LoopRuntime):
    """Hands requests to a simulated portal, with no sockets and no threads between."""

    def __init__(self, portal: VirtualPortal) -> None:
        self._clock = portal.clock
        self._portal = portal.portal

    async def call(self, function: Any, undo: Any = None) -> Any:
        """Run a function here: who waited for a thread would wait in real time."""
        return function()

    async def sleep(self, seconds: float, until: Event) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def exchange(self, call: str, request: Request) -> Response:
        """Have the portal answer."""
        path = request.url.split("/rest/")[1]
        # Mocking them for each request would take longer than all the rest.
        server: Any = SimpleNamespace(ssl_context=None, peername=None, sockname=None)
        received = make_mocked_request(
            "POST",
            f"/rest/{path}",
            {"Content-Type": "application/json"},
            match_info={"tail": path},
            app=APP,
            protocol=server,
            writer=SimpleNamespace(),
        )
        received._read_bytes = json.dumps(request.body).encode()
        answer: Any = await self._portal.rest(received)
        transport: Any = received.transport
        if transport.abort.called:
            raise ReplyLostError(call, text="the portal closed the connection")
        return Response(answer.status, answer.headers, answer.body)


class VirtualPortal:
    """A simulated portal in a loop of its own."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.world = World(SimulatorClock(self.clock))
        settings = self.world.settings
        self.wire = Bitrix24Wire(
            Account.with_webhook("127.0.0.1", settings.webhook_user, settings.webhook_code, "http")
        )
        self.portal = Portal(self.world)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()

    def add_workflows(self, count: int) -> list[str]:
        """Have so many workflows run on it; return their ids."""
        return ControlPath(self.world)._add_workflows([{} for _ in range(count)])

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run clients to their end."""
        return self.loop.run_until_complete(work)
