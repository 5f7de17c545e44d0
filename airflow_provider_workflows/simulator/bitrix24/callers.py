"""Who may call: webhooks, and applications with a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_workflows.simulator.bitrix24.call import ApiError, Caller
from airflow_provider_workflows.simulator.bitrix24.tokens import EXPIRED, SUPERSEDED, VALID
from airflow_provider_workflows.simulator.world import World

TOKEN_PARAMETERS = ("auth", "access_token")


def by_webhook(world: World, user: str, code: str) -> Caller:
    """
    Return whom a webhook stands for.

    :param world: the portal
    :param user: the user in the address
    :param code: the code in the address
    :raises ApiError: if there is no such webhook
    """
    settings = world.settings
    for number, hook in enumerate(world.webhooks):
        if (user, code) == (str(hook.user), hook.code):
            admin = settings.is_admin if hook.admin is None else hook.admin
            scopes = settings.scopes if hook.scopes is None else hook.scopes
            return Caller(f"webhook-{user}-{number}", hook.user, "webhook", admin, tuple(scopes))
    if not settings.webhook_known or (user, code) != (str(settings.webhook_user), settings.webhook_code):
        raise ApiError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    return Caller(f"webhook-{user}", settings.webhook_user, "webhook", settings.is_admin, tuple(settings.scopes))


def by_token(world: World, method: str, headers: Mapping[str, str], params: dict[str, Any]) -> Caller:
    """
    Return the application that shows an access token: the header goes before the parameters, which are taken out.

    :param world: the portal
    :param method: what is called
    :param headers: of the request
    :param params: of the request
    :raises ApiError: if the token is worth nothing
    """
    settings = world.settings
    tokens = {name: params.pop(name) for name in TOKEN_PARAMETERS if name in params}
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (settings.bearer_everywhere or method.startswith("tasks.flow.")):
        tokens = {"bearer": bearer.strip(), **tokens}
    auth, token = next(((name, token) for name, token in tokens.items() if isinstance(token, str)), ("", ""))
    if settings.token_server_away:
        raise ApiError(401, "CONNECTION_ERROR", "Error connecting to authorization server")
    status = world.tokens.status(token)
    if status == EXPIRED:
        raise ApiError(401, "expired_token", "The access token provided has expired.")
    if status == SUPERSEDED:
        raise ApiError(401, "invalid_token", "Unable to get application by token")
    if status != VALID:
        raise ApiError(401, "NO_AUTH_FOUND", "Wrong authorization data")
    return Caller(settings.client_id, settings.webhook_user, auth, settings.is_admin, tuple(settings.scopes))
