"""The OAuth tokens of the portal's one application."""

from __future__ import annotations

import secrets
import time
from typing import Any

from airflow_provider_workflows.simulator.settings import Settings

FIRST_ACCESS_TOKEN = "sim0access0token"  # noqa: S105
FIRST_REFRESH_TOKEN = "sim0refresh0token"  # noqa: S105
AUTHORIZATION_CODE = "sim0authorization0code"


class OAuthError(Exception):
    """
    A refused token request.

    :param code: the OAuth error code
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Tokens:
    """
    The access and refresh tokens that are valid; one pair exists from the start.

    :param settings: the client's ID and secret, and how long a token lives
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._access = {FIRST_ACCESS_TOKEN: time.time() + settings.access_token_seconds}
        self._refresh = {FIRST_REFRESH_TOKEN}

    def status(self, access_token: str) -> str:
        """
        Say what a token is worth: ``valid``, ``expired`` or ``unknown``.

        :param access_token: the token
        """
        expires = self._access.get(access_token)
        if expires is None:
            return "unknown"
        return "valid" if time.time() < expires else "expired"

    def expire(self) -> None:
        """Let every access token be expired from now on."""
        self._access = dict.fromkeys(self._access, 0.0)

    def revoke(self) -> None:
        """Forget every refresh token, as after 180 days or when the application is removed."""
        self._refresh.clear()

    def grant(self, params: dict[str, Any]) -> tuple[str, str, float]:
        """
        Give a new pair of tokens.

        :param params: the parameters of the token request
        :returns: access token, refresh token, and the time at which the first expires
        :raises OAuthError: if the request is not in order
        """
        settings = self._settings
        if params.get("client_id") != settings.client_id or params.get("client_secret") != settings.client_secret:
            raise OAuthError("invalid_client")
        kind = params.get("grant_type")
        if kind == "refresh_token":
            given = str(params.get("refresh_token"))
            if given not in self._refresh:
                raise OAuthError("invalid_grant")
            if settings.refresh_rotates:
                self._refresh.discard(given)
        elif kind != "authorization_code":
            raise OAuthError("invalid_request")
        elif params.get("code") != AUTHORIZATION_CODE:
            raise OAuthError("invalid_grant")
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        expires = time.time() + settings.access_token_seconds
        self._access[access] = expires
        self._refresh.add(refresh)
        return access, refresh, expires
