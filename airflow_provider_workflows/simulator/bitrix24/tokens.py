"""The OAuth tokens of the portal's one application, and the token server that issues them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.settings import Settings

FIRST_ACCESS_TOKEN = "sim0access0token"  # noqa: S105
FIRST_REFRESH_TOKEN = "sim0refresh0token"  # noqa: S105
CODE_SECONDS = 30.0
#: How a check of an access token may end, and what the portal answers then.
UNKNOWN, EXPIRED, SUPERSEDED, VALID = "unknown", "expired", "superseded", "valid"


class OAuthError(Exception):
    """
    A refused token request.

    :param code: the OAuth error code
    :param status: the HTTP status
    """

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


@dataclass
class RefreshToken:
    """
    A refresh token.

    :param access: the access token that was issued with it
    :param expires: until when it can be used
    :param used: when it was used first
    """

    access: str
    expires: float
    used: float | None = None


class Tokens:
    """
    The codes and tokens that are valid; one pair of tokens exists from the start.

    :param settings: the client's ID and secret, how long tokens live, and what becomes of the old ones
    :param clock: the time at which codes and tokens expire
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._codes: dict[str, float] = {}
        self._access = {FIRST_ACCESS_TOKEN: self._clock.time() + settings.access_token_seconds}
        self._superseded: set[str] = set()
        self._checked: dict[str, tuple[str, float]] = {}
        expires = self._clock.time() + settings.refresh_token_seconds
        self._refresh = {FIRST_REFRESH_TOKEN: RefreshToken(FIRST_ACCESS_TOKEN, expires)}

    def status(self, access_token: str) -> str:
        """
        Say what a token is worth: ``valid``, ``expired``, ``superseded`` by a refresh, or ``unknown``.

        With ``old_access`` ``cached`` the portal asks once, and goes by that answer for an hour, be it good or bad.

        :param access_token: the token
        """
        if self._settings.old_access != "cached":
            return self._status(access_token)
        status, until = self._checked.get(access_token, ("", 0.0))
        if self._clock.time() >= until:
            status = self._status(access_token)
            self._checked[access_token] = status, self._clock.time() + self._settings.token_check_seconds
        return status

    def _status(self, access_token: str) -> str:
        if access_token in self._superseded and self._settings.old_access != "lives":
            return SUPERSEDED
        expires = self._access.get(access_token)
        if expires is None:
            return UNKNOWN
        return VALID if self._clock.time() < expires else EXPIRED

    def expire(self) -> None:
        """Let every access token be expired from now on."""
        self._access = dict.fromkeys(self._access, 0.0)

    def revoke(self) -> None:
        """Forget every refresh token, as after 180 days or when the application is removed."""
        self._refresh.clear()

    def authorize(self, params: dict[str, Any]) -> str:
        """
        Give a code for tokens, as when a person has opened the address of an application and agreed.

        :param params: the parameters of the address
        :returns: the code
        :raises OAuthError: if the application is not known
        """
        if params.get("client_id") != self._settings.client_id:
            raise OAuthError("invalid_client", 400)
        code = secrets.token_hex(16)
        self._codes[code] = self._clock.time() + CODE_SECONDS
        return code

    def grant(self, params: dict[str, Any]) -> tuple[str, str, float]:
        """
        Give a new pair of tokens.

        :param params: the parameters of the token request
        :returns: access token, refresh token, and the time at which the first expires
        :raises OAuthError: if the request is not in order
        """
        settings, status = self._settings, self._settings.oauth_error_status
        if params.get("client_id") != settings.client_id or params.get("client_secret") != settings.client_secret:
            raise OAuthError(*(("WRONG_CLIENT", 200) if settings.wrong_client_in_200 else ("invalid_client", status)))
        kind = params.get("grant_type")
        if kind == "refresh_token":
            if not self._use(str(params.get("refresh_token"))):
                raise OAuthError("invalid_grant", status)
        elif kind != "authorization_code":
            raise OAuthError("invalid_request", status)
        elif self._codes.pop(str(params.get("code")), 0.0) <= self._clock.time():
            raise OAuthError("invalid_grant", status)
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        expires = self._clock.time() + settings.access_token_seconds
        self._access[access] = expires
        self._refresh[refresh] = RefreshToken(access, self._clock.time() + settings.refresh_token_seconds)
        return access, refresh, expires

    def _use(self, refresh_token: str) -> bool:
        """Use a refresh token; whether it was good."""
        token = self._refresh.get(refresh_token)
        now = self._clock.time()
        if token is None or now >= token.expires:
            return False
        settings = self._settings
        grace = {"none": float("inf"), "grace": settings.refresh_grace_seconds}.get(settings.refresh_rotation, 0.0)
        if token.used is not None and now - token.used >= grace:
            return False
        token.used = now if token.used is None else token.used
        self._superseded.add(token.access)
        return True
