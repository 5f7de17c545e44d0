"""The portal on HTTP: addresses, who calls, and replies."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from airflow_provider_workflows.simulator.bitrix24.call import ApiError, Caller
from airflow_provider_workflows.simulator.bitrix24.callers import by_token, by_webhook
from airflow_provider_workflows.simulator.bitrix24.execution import (
    OPERATION_TIME_LIMIT,
    CutOff,
    Execution,
    batch_commands,
    split,
)
from airflow_provider_workflows.simulator.bitrix24.reading import address, parameters, reply
from airflow_provider_workflows.simulator.bitrix24.tokens import OAuthError
from airflow_provider_workflows.simulator.exchange import LostConnection, exchange, html
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

MEMBER = "sim0member"
CUT_PAGE = html("504 Gateway Time-out", "nginx")


class Portal:
    """
    Answers requests to ``/rest/`` and ``/oauth/``.

    :param world: the state to work on
    """

    def __init__(self, world: World) -> None:
        self.world = world

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """
        Answer a call of a REST method.

        :param request: the HTTP request
        """
        webhook, method, xml = address(request.match_info["tail"])
        params = await parameters(request)
        commands = None
        if method == "batch":
            commands = [[key, *split(line)] for key, line in batch_commands(params)]
        entry = self.world.seen("bitrix24", method, params, commands)

        async def perform(fault: Fault | None) -> web.Response:
            try:
                caller = self._admit(request, webhook, method, params)
                entry["auth"] = caller.auth
                if fault is not None and fault.kind == "operating_limit":
                    raise ApiError(*OPERATION_TIME_LIMIT)
                if fault is not None and fault.kind == "error":
                    raise ApiError(fault.options["status"], fault.options["code"], fault.options["description"])
                return await self._run(Execution(self.world, caller, entry, fault), method, params, xml)
            except ApiError as error:
                return reply(error.body(), error.status, xml=xml)

        return await exchange(self.world, request, entry, perform, _failure)

    async def token(self, request: web.Request) -> web.StreamResponse:
        """
        Answer a request for OAuth tokens.

        :param request: the HTTP request
        """
        params = await parameters(request)
        entry = self.world.seen("bitrix24", "oauth.token", params)

        async def perform(_: Fault | None) -> web.Response:
            settings = self.world.settings
            if settings.token_post_refused and request.method == "POST":
                return web.Response(status=405, text=html("405 Not Allowed", "nginx"), content_type="text/html")
            try:
                access, refresh, expires = self.world.tokens.grant(params)
            except OAuthError as error:
                return reply({"error": error.code, "error_description": error.code}, error.status)
            tokens = {"access_token": access, "refresh_token": refresh}
            self.world.record("bitrix24", "token", settings.client_id, **tokens)
            return reply(
                {
                    **tokens,
                    "expires": int(expires),
                    "expires_in": int(settings.access_token_seconds),
                    "client_endpoint": f"{request.scheme}://{request.host}/rest/",
                    "server_endpoint": settings.server_endpoint or f"{request.scheme}://{request.host}/rest/",
                    "domain": request.host,
                    "member_id": MEMBER,
                    "scope": ",".join(settings.scopes),
                    "status": "L",
                    "user_id": settings.webhook_user,
                }
            )

        return await exchange(self.world, request, entry, perform, _failure)

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """
        Send a browser back to the application with a code, as if a person had agreed.

        :param request: the HTTP request
        """
        params = await parameters(request)
        settings = self.world.settings
        try:
            code = self.world.tokens.authorize(params)
        except OAuthError as error:
            return web.Response(status=error.status, text=html("Bitrix24", error.code), content_type="text/html")
        answer = {
            "code": code,
            "state": str(params.get("state", "")),
            "domain": request.host,
            "member_id": MEMBER,
            "scope": ",".join(settings.scopes),
            "server_domain": request.host,
        }
        return web.Response(status=302, headers={"Location": f"{settings.oauth_redirect}?{urlencode(answer)}"})

    async def _run(self, execution: Execution, method: str, params: dict[str, Any], xml: bool) -> web.Response:
        settings = self.world.settings
        try:
            async with asyncio.timeout(settings.request_cut_seconds):
                if method == "batch":
                    body = await execution.batch(params)
                else:
                    body = await execution.single(method, params)
        except CutOff:
            raise LostConnection from None
        except TimeoutError:
            if settings.request_cut_reply == "reset":
                raise LostConnection from None
            return web.Response(status=504, text=CUT_PAGE, content_type="text/html")
        seconds = f"{self.world.clock.time() - execution.started:.6f}"
        response = reply(body, xml=xml)
        response.headers["X-Bitrix-Rest-Time"] = seconds
        response.headers["X-Bitrix-Rest-User-Time"] = seconds
        response.headers["X-Bitrix-Rest-System-Time"] = "0.000000"
        response.headers["X-Bitrix-Rest-Application"] = execution.caller.app
        return response

    def _admit(
        self, request: web.Request, webhook: tuple[str, str] | None, method: str, params: dict[str, Any]
    ) -> Caller:
        settings = self.world.settings
        if settings.https_required and request.scheme != "https":
            raise ApiError(400, "INVALID_REQUEST", "Https required")
        if settings.overload:
            raise ApiError(503, "OVERLOAD_LIMIT", "REST API is blocked due to overload")
        if not self.world.bucket.admits(settings):
            raise ApiError(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        caller = by_webhook(self.world, *webhook) if webhook else by_token(self.world, method, request.headers, params)
        if not settings.commercial_plan:
            raise ApiError(403, "ACCESS_DENIED", "REST API is available only on commercial plans")
        return caller


def _failure(fault: Fault) -> web.Response:
    if fault.kind == "refused":
        response = reply({"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"}, 503)
        if fault.options["retry_after"] is not None:
            response.headers["Retry-After"] = str(fault.options["retry_after"])
        return response
    return reply({"error": fault.options["code"], "error_description": "Internal server error"}, 500)
