"""Workers that renew tokens side by side, with a simulated token server and no time passing; any may be killed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp.test_utils import make_mocked_request

from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.renewing import Chain
from airflow_provider_workflows.bitrix24.oauth.stores import Lease, RecordTokenStore
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.bitrix24.oauth.wire import LicenceCall, TokenCall, TokenWire
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStoreError
from airflow_provider_workflows.rest.errors import ApiError, ReplyLostError
from airflow_provider_workflows.rest.plans import Blocking, Pause, Plan
from airflow_provider_workflows.rest.protocol import Response
from airflow_provider_workflows.simulator.bitrix24.portal import Portal
from airflow_provider_workflows.simulator.bitrix24.tokens import FIRST_ACCESS_TOKEN, FIRST_REFRESH_TOKEN
from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

APP: Any = object()
PORTAL = "http://127.0.0.1:8024"
TOKEN_URL = f"{PORTAL}/oauth/token/"


class Reversed:
    """Encrypts, so that it can be seen what is."""

    def encrypt(self, content: bytes) -> bytes:
        return content[::-1] + b"#"

    def decrypt(self, content: bytes) -> bytes | None:
        return content[-2::-1] if content.endswith(b"#") else None


class VariableLike(RecordTokenStore):
    """A store with no lock, as Airflow's Variables are: what is read may be old when it is written."""

    spread = 1.0


class Place:
    """A token server, a store, and the time.

    :param hosts: on how many hosts workers are that share nothing but Variables; 0: all share one store.
    :param revoked: whether the refresh token is worth nothing.
    :param named_endpoint: the token endpoint in the connection.
    :param settings: the simulator's.
    """

    def __init__(
        self, hosts: int = 0, *, revoked: bool = False, named_endpoint: str | None = TOKEN_URL, **settings: Any
    ) -> None:
        self.now = 1_800_000_000.0
        #: Whether the store cannot be reached.
        self.away = False
        self.world = World(Clock(SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)))
        self.world.settings.change(settings)
        self.portal = Portal(self.world)
        self.loop = asyncio.new_event_loop()
        self.application = Application("b24", PORTAL, "local.sim0client", "sim0client0secret", named_endpoint)
        self.records = MemoryRecordStore(self._time)
        if revoked:
            self.world.tokens.revoke()
        store = (VariableLike if hosts else RecordTokenStore)(self.records, "tokens", Reversed())
        self.chains = [
            Chain(self.application, store, Lease(MemoryRecordStore(self._time) if hosts else self.records, "l"))
            for _ in range(hosts or 1)
        ]
        first = {"access_token": FIRST_ACCESS_TOKEN, "refresh_token": FIRST_REFRESH_TOKEN, "generation": 1}
        times = {"issued_at": self.now, "expires_at": self.now + 3600}
        store.change(lambda found, now: Tokens.model_validate({**first, **times}))

    def _time(self) -> float:
        if self.away:
            raise RecordStoreError("the store", "away")
        return self.now

    def inject(self, kind: str, times: int = 1) -> None:
        """Have a fault happen to requests for tokens."""
        self.world.faults.add(Fault(kind, method="oauth.token", times=times))

    @property
    def chain(self) -> Chain:
        return self.chains[0]

    def stored(self) -> Tokens:
        tokens, _ = self.chain.store.change(lambda found, now: None)
        assert tokens is not None
        return tokens

    def lives(self) -> bool:
        """Whether the stored access token is good, or can be renewed."""
        tokens = self.stored()
        good = self.world.tokens.status(tokens.access_token) == "valid"
        return good or (tokens.refresh_token in self.world.tokens._refresh and self._works(tokens))

    def _works(self, tokens: Tokens) -> bool:
        known = self.world.tokens._refresh[tokens.refresh_token]
        return known.used is None or self.world.settings.refresh_rotation != "strict"

    def renewals(self) -> int:
        """How many pairs of tokens the server has issued."""
        return len([effect for effect in self.world.journal if effect["what"] == "token"])

    def asked(self) -> int:
        """How often the server was asked for tokens."""
        return len([entry for entry in self.world.requests if entry["method"] == "oauth.token"])

    def send(self, call: TokenCall | LicenceCall) -> Any:
        """Return what becomes of a call."""
        wire = TokenWire(self.application)
        request = wire.request(call)
        try:
            return wire.result(call, self.loop.run_until_complete(self._answer(request)))
        except ApiError as error:
            return error

    async def _answer(self, request: Any) -> Response:
        # All addresses lead here.
        path = urlsplit(request.url).path
        kind = "application/json" if request.form is None else "application/x-www-form-urlencoded"
        server: Any = SimpleNamespace(ssl_context=None, peername=None, sockname=None)
        received = make_mocked_request(
            request.http_method,
            path,
            {"Content-Type": kind, "Host": "127.0.0.1:8024"},
            match_info={"tail": path.removeprefix("/rest/")},
            app=APP,
            protocol=server,
            writer=SimpleNamespace(),
        )
        received._read_bytes = (json.dumps(request.body) if request.form is None else urlencode(request.form)).encode()
        answer: Any = await (self.portal.rest if path.startswith("/rest/") else self.portal.token)(received)
        transport: Any = received.transport
        if transport.abort.called:
            raise ReplyLostError("oauth.token")
        return Response(answer.status, answer.headers, answer.body)


class Worker:
    """Runs a plan, a step at a time."""

    def __init__(self, place: Place, plan: Plan[Tokens]) -> None:
        self._place = place
        self._plan = plan
        self._send: Callable[[], Any] = lambda: next(plan)
        self.awake_at = place.now
        self.steps: list[Any] = []
        self.outcome: Tokens | ApiError | None = None

    def step(self) -> None:
        """Go on to the next step, and do it."""
        try:
            step = self._send()
        except StopIteration as end:
            self.outcome = end.value
            return
        except ApiError as error:
            self.outcome = error
            return
        self.steps.append(step)
        result: Any = None
        if isinstance(step, Pause):
            self.awake_at = self._place.now + step.seconds
        elif isinstance(step, Blocking):
            try:
                result = step.function()
            except ApiError as error:
                result = error
        elif isinstance(step, TokenCall | LicenceCall):
            result = self._place.send(step)
        plan = self._plan
        self._send = lambda: plan.throw(result) if isinstance(result, ApiError) else plan.send(result)


def work(place: Place, workers: list[Worker], chance: random.Random | None = None) -> Iterator[Worker]:
    """Let workers work until all are done, each step of any by chance after any other's; yield who made each."""
    while going := [worker for worker in workers if worker.outcome is None]:
        place.now = max(place.now, min(worker.awake_at for worker in going))
        ready = [worker for worker in going if worker.awake_at <= place.now]
        worker = chance.choice(ready) if chance else ready[0]
        worker.step()
        yield worker


def finish(place: Place, *workers: Worker, chance: random.Random | None = None) -> list[Any]:
    """Let workers work until all are done; return what came of each."""
    for _ in work(place, list(workers), chance):
        pass
    return [worker.outcome for worker in workers]
