"""The HTTP server, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

try:
    from aiohttp import web
    from aiohttp.typedefs import Handler
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "The simulator needs aiohttp: pip install 'airflow-provider-workflows[simulator]'", name="aiohttp"
    ) from error

from airflow_provider_workflows.simulator.bitrix24.portal import Portal
from airflow_provider_workflows.simulator.clock import Clock, TimeSource
from airflow_provider_workflows.simulator.control import Control
from airflow_provider_workflows.simulator.control_path import ControlPath
from airflow_provider_workflows.simulator.domo.host import Host
from airflow_provider_workflows.simulator.exchange import html
from airflow_provider_workflows.simulator.world import World

log = logging.getLogger(__name__)
#: Of the HTTP library: what it has to say is about requests that cannot be read and clients that go away.
http_log = logging.getLogger(f"{__name__}.http")
http_log.setLevel(logging.CRITICAL)

LOOPBACK = "127.0.0.1"
#: A web page can make its own host's name point to loopback, and call what listens there. It cannot call it these.
NAMES = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE)
ONLY_HERE = (LOOPBACK, "localhost", "::1")
#: What lets other machines reach it.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
CERTIFICATE = "simulator.pem"
LARGEST_BODY = 64 * 1024**2


def application(clock: TimeSource | None = None, address: str = LOOPBACK) -> web.Application:
    """
    Both systems and the control path as one application.

    :param clock: tells the time, the machine by default
    :param address: where it listens; whoever asked for another than loopback may call it by any name
    """
    world = World(Clock(clock))
    portal, host, control = Portal(world), Host(world), ControlPath(world)
    middlewares = [_whatever_happens, *([_called_by_loopback_name] if address in ONLY_HERE else [])]
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=middlewares)
    app.router.add_route("*", "/rest/{tail:.+}", portal.rest)
    app.router.add_route("*", "/oauth/token/", portal.token)
    app.router.add_get("/oauth/authorize/", portal.authorize)
    app.router.add_route("*", "/api/{tail:.+}", host.api)
    app.router.add_get("/auth/whitelist/blocked", _blocked)
    app.router.add_route("*", "/_simulator/{action}", control.handle)
    return app


@web.middleware
async def _whatever_happens(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return web.Response(headers={"Allow": "GET, POST"})
    try:
        return await handler(request)
    except ConnectionError:  # nobody is there any more to be told
        return web.Response(status=400)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("The simulator failed at %s %s", request.method, request.path)
        body = {"error": "INTERNAL_SERVER_ERROR", "error_description": "Internal server error"}
        return web.json_response(body, status=500)


@web.middleware
async def _called_by_loopback_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    # Who sends no name at all is an old client, and no browser.
    if not NAMES.fullmatch(request.headers.get("Host", LOOPBACK)):
        return web.Response(status=421, text="The simulator answers to 127.0.0.1 and localhost only.\n")
    return await handler(request)


async def _blocked(_: web.Request) -> web.Response:
    return web.Response(text=html("Domo - Blocked", "Access is not allowed."), content_type="text/html")


class Simulator:
    """
    A Bitrix24 portal and a Domo instance, while the ``with`` block lasts.

    :param port: the port, 0 for any that is free
    :param ssl_context: speak TLS with this certificate
    :param clock: tells the time, the machine by default: anything with ``time()`` and ``monotonic()``
    :param address: where to listen, loopback by default; ``0.0.0.0`` lets other machines reach it
    :param tls: speak TLS with a certificate of its own, which connections trust
    """

    def __init__(
        self,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        clock: TimeSource | None = None,
        *,
        address: str = LOOPBACK,
        tls: bool = False,
    ) -> None:
        self._address = address
        self._port = port
        self._clock = clock
        self._ssl_context = ssl_context
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Simulator:
        if self._tls:
            # Imported here, as it is not needed without.
            from airflow_provider_workflows.simulator import certificate

            self._folder = tempfile.TemporaryDirectory(prefix="simulator-")
            names = dict.fromkeys([LOOPBACK, "localhost", self._reached_at])
            self._ssl_context = certificate.make([*names], Path(self._folder.name, CERTIFICATE))
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(ready),), name="simulator", daemon=True)
        self._thread.start()
        try:
            self._port = ready.result()
        except BaseException:
            self._thread.join()
            self._forget_certificate()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop and self._stopping and self._thread:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._forget_certificate()

    def _forget_certificate(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def _reached_at(self) -> str:
        return LOOPBACK if self._address in EVERYWHERE else self._address

    @property
    def host(self) -> str:
        """Address and port, as they stand in a connection's host."""
        address = self._reached_at
        return f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"

    @property
    def certificate(self) -> str | None:
        """Path of its own certificate, for clients to trust, while it runs with ``tls``."""
        return str(Path(self._folder.name, CERTIFICATE)) if self._folder else None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._ssl_context else 'http'}://{self.host}"

    @property
    def control(self) -> Control:
        """To seed and read it."""
        # The certificate is whatever the caller made up, and the address leads back to this process.
        trusting = ssl._create_unverified_context() if self._ssl_context else None  # noqa: S323
        return Control(self.url, trusting)

    def connections(self) -> dict[str, dict[str, Any]]:
        """Return the Airflow connections that lead here, by connection id, as JSON has them."""
        settings = self.control.settings()
        schema = "https" if self._ssl_context else "http"
        place: dict[str, Any] = {"host": self._reached_at, "port": self._port, "schema": schema}
        if self.certificate:
            place["extra"] = {"verify": self.certificate}
        webhook = {"login": str(settings["webhook_user"]), "password": settings["webhook_code"]}
        return {
            "bitrix24_default": {"conn_type": "bitrix24", **place, **webhook},
            "domo_default": {"conn_type": "domo", **place, "password": settings["domo_token"]},
        }

    async def _serve(self, ready: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(
            application(self._clock, self._address),
            access_log=None,
            logger=http_log,
            auto_decompress=False,
            shutdown_timeout=0.1,
        )
        try:
            await runner.setup()
            await web.TCPSite(runner, self._address, self._port, ssl_context=self._ssl_context).start()
        except Exception as error:
            await runner.cleanup()
            ready.set_exception(error)
            return
        ready.set_result(runner.addresses[0][1])
        await self._stopping.wait()
        # Requests that are still running must not delay the end.
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await runner.cleanup()
        # Handshakes that clients gave up are nobody's: they close when the loop next hears of them.
        for _ in range(5):
            await asyncio.sleep(0)  # noqa: TID251 - no time passes
