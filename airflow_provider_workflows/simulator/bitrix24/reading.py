"""What a request to the portal says, and how its replies are written."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from airflow_provider_workflows.simulator import php


def address(tail: str) -> tuple[tuple[str, str] | None, str, bool]:
    """
    Return the webhook, if one is in the path, the method, and whether XML is wanted.

    :param tail: the path after ``/rest/``
    """
    parts = tail.strip("/").split("/")
    webhook = (parts[0], parts[1]) if len(parts) == 3 else None
    name, dot, suffix = parts[-1].rpartition(".")
    if not dot or suffix.lower() not in ("json", "xml"):
        name, suffix = parts[-1], ""
    return webhook, "batch" if name.lower() == "batch" else name, suffix.lower() == "xml"


async def parameters(request: web.Request) -> dict[str, Any]:
    """
    Return the query's parameters and the body's; a body that cannot be read has none, without a word.

    :param request: the HTTP request
    """
    params = php.parse(request.rel_url.raw_query_string)
    if request.content_type == "application/json":
        return {**params, **dict(php.entries(php.decode(await request.read())))}
    if request.content_type == "multipart/form-data":
        return {**params, **await _multipart(request)}
    return {**params, **php.parse((await request.read()).decode(errors="replace"))}


async def _multipart(request: web.Request) -> dict[str, Any]:
    try:
        fields = await request.post()
    except (ConnectionError, web.HTTPException):
        raise
    except Exception:  # what cannot be read raises whatever it meets
        return {}
    return php.nested((name, value) for name, value in fields.items() if isinstance(value, str))


def reply(body: dict[str, Any], status: int = 200, *, xml: bool = False) -> web.Response:
    """
    Write a reply.

    :param body: the envelope
    :param status: the HTTP status
    :param xml: in XML instead of JSON
    """
    if xml:
        text = f'<?xml version="1.0" encoding="utf-8"?>\n<response>{_xml(body)}</response>'
        data = text.encode(errors="replace")
        return web.Response(body=data, status=status, content_type="text/xml", charset="utf-8")
    return web.Response(text=json.dumps(body), status=status, content_type="application/json", charset="utf-8")


def _xml(value: Any) -> str:
    if isinstance(value, (dict, list)):
        named = [("item" if name.isdecimal() else name, item) for name, item in php.entries(value)]
        return "".join(f"<{name}>{_xml(item)}</{name}>" for name, item in named)
    if value is None or isinstance(value, bool):
        return "1" if value else ""
    return escape(str(value))
