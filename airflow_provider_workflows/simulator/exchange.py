"""One request and its reply, with whatever fault was ordered for it, for either system."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

Perform = Callable[[Fault | None], Awaitable[web.Response]]


class LostConnection(Exception):
    """The connection is to be closed without a reply."""


def html(title: str, text: str) -> str:
    """
    Return a page such as servers show instead of JSON.

    :param title: of the page
    :param text: on the page
    """
    return f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1><p>{text}</p></body>\r\n</html>\r\n"


async def exchange(
    world: World,
    request: web.Request,
    entry: dict[str, Any],
    perform: Perform,
    failure: Callable[[Fault], web.Response],
) -> web.Response:
    """
    Answer a request, or fail to.

    :param world: holds the faults and settings
    :param request: the HTTP request
    :param entry: the request in the log
    :param perform: does what the request asks for
    :param failure: the vendor's reply to a request that is refused or fails
    """
    # What a client gave up waiting for is still done, but not to what comes after the simulator was emptied.
    journal = world.journal
    commands = entry["commands"]
    names = None if commands is None else [name for _, name, _ in commands]
    slow, fault = world.faults.for_request(entry["vendor"], entry["method"], entry["params"], names)
    entry["fault"] = fault.kind if fault else "slow" if slow else None
    try:
        delay = slow.options["seconds"] if slow else 0.0
        early = delay if slow and not slow.options["done"] else 0.0
        await world.clock.sleep(world.settings.latency_seconds + early)
        if world.journal is not journal:
            raise LostConnection
        response = await _answer(fault, perform, failure)
        await world.clock.sleep(delay - early)
    except LostConnection:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # goes nowhere
    entry["http_status"] = response.status
    return response


async def _answer(fault: Fault | None, perform: Perform, failure: Callable[[Fault], web.Response]) -> web.Response:
    if fault is None:
        return await perform(None)
    kind, options = fault.kind, fault.options
    if kind == "lost_before":
        raise LostConnection
    if kind == "refused":
        return failure(fault)
    if kind == "redirect":
        return web.Response(status=options["status"], headers={"Location": options["location"]})
    if kind == "blocked":
        return blocked(options["how"])
    response = await perform(fault) if options.get("done", True) else None
    if kind == "lost_after":
        raise LostConnection
    if kind == "error_500":
        return failure(fault)
    if kind == "html":
        page = html(f"{options['status']} Error", "The server could not answer.")
        return web.Response(status=options["status"], text=page, content_type="text/html")
    if kind == "reply":
        return web.Response(status=options["status"], headers=options["headers"], text=options["text"])
    if kind == "empty_body":
        return web.Response(content_type="application/json")
    if response is None:
        response = await perform(fault)
    if kind == "truncated" and isinstance(response.body, bytes):
        response.body = response.body[: len(response.body) // 2]
    if kind == "strange_time" and isinstance(response.body, bytes):
        response.body = json.dumps(_with_time(json.loads(response.body), options["time"])).encode()
    return response


def _with_time(envelope: dict[str, Any], time: dict[str, Any]) -> dict[str, Any]:
    """Return a reply that tells these times, also of each command."""
    result = envelope.get("result")
    if isinstance(result, dict) and isinstance(result.get("result_time"), dict):
        result["result_time"] = dict.fromkeys(result["result_time"], time)
    return {**envelope, "time": time}


def blocked(how: str) -> web.Response:
    """
    Say what Domo shows to an address that is not on its allowlist.

    :param how: ``page`` or ``redirect``
    """
    if how == "redirect":
        return web.Response(status=303, headers={"Location": "/auth/whitelist/blocked"})
    page = html("Domo - Blocked", "Access from your network is not allowed.")
    return web.Response(text=page, content_type="text/html")
