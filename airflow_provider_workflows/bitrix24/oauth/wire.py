"""Requests for tokens on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from airflow_provider_workflows.bitrix24 import errors
from airflow_provider_workflows.bitrix24.errors import RefreshTokenError
from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.tokens import TokenReply
from airflow_provider_workflows.bitrix24.wire import HEADERS
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    InvalidCallError,
    RedirectedError,
    RejectedError,
    UnreadableReplyError,
    class_by_status,
)
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.rest.replies import LONGEST_TEXT, read_json, read_text, retry_after

#: What the token server's codes mean: some of them something else than in a call's reply.
CODES: dict[str, type[ApiError]] = {
    **{code: kind for code, kind in errors.CODES.items() if code not in {"", "0"}},
    "invalid_grant": RefreshTokenError,
    "bad_verification_code": RefreshTokenError,
    "invalid_request": InvalidCallError,
}


@dataclass(frozen=True, slots=True)
class TokenCall:
    """A request for a pair of tokens.

    :param url: the token server.
    :param grant: what is given for it.
    :param secret: the refresh token, or the code.
    """

    url: str
    grant: Literal["refresh_token", "authorization_code"]
    secret: str = field(repr=False)
    repeatable = False

    def __str__(self) -> str:
        return "oauth.token"


@dataclass(frozen=True, slots=True)
class LicenceCall:
    """A question for the portal's plan.

    :param access_token: whose it is.
    """

    access_token: str = field(repr=False)
    repeatable = True

    def __str__(self) -> str:
        return "app.info"


class TokenWire:
    """Turns requests for tokens into HTTP requests. Secrets stand in a body: an address ends up in proxies' logs."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def request(self, call: TokenCall | LicenceCall) -> Request:
        """Return the HTTP request that makes the call."""
        if isinstance(call, LicenceCall):
            url = f"{self._application.base_url}/rest/{call}"
            return Request("POST", url, HEADERS, {"auth": call.access_token})
        form = {
            "grant_type": call.grant,
            "client_id": self._application.client_id,
            "client_secret": self._application.client_secret,
            "code" if call.grant == "authorization_code" else "refresh_token": call.secret,
        }
        return Request("POST", call.url, HEADERS, form=form)

    def result(self, call: TokenCall | LicenceCall, response: Response) -> TokenReply | str:
        """Return the pair of tokens, or the portal's plan.

        :raises ApiError: if there is none.
        """
        outcome = _read(call, response)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome


def _read(call: TokenCall | LicenceCall, response: Response) -> TokenReply | str | ApiError:
    """Read a response. Errors are returned, not raised: variables here hold tokens."""
    status = response.http_status
    if 300 <= status < 400:
        return RedirectedError(str(call), http_status=status, text="the token server redirects, which is not followed")
    content = read_json(response.content)
    if isinstance(content, Mapping) and content.get("error"):
        return _refusal(call, content, response)
    if status in (400, 405):
        return RejectedError(str(call), http_status=status, text="the token server does not accept POST requests")
    if status != 200 or not isinstance(content, Mapping):
        wait = retry_after(response.headers)
        return _by_status(status)(str(call), http_status=status, text="the reply holds no tokens", retry_after=wait)
    if isinstance(call, LicenceCall):
        result = content.get("result")
        told = result if isinstance(result, Mapping) else {}
        return (read_text(told.get("LICENSE_FAMILY") or told.get("LICENSE")) or "")[:100]
    try:
        return TokenReply.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return UnreadableReplyError(str(call), http_status=status, text=f"not the documented reply: {faults}")


def _refusal(call: TokenCall | LicenceCall, content: Mapping[str, Any], response: Response) -> ApiError:
    code, status = str(content["error"])[:LONGEST_TEXT], response.http_status
    # A no is a no with any status: WRONG_CLIENT comes with 200.
    kind = CODES.get(code.lower()) or (AuthenticationError if status < 300 else _by_status(status))
    return kind(
        str(call),
        code=code,
        http_status=status,
        text=read_text(content.get("error_description")),
        retry_after=retry_after(response.headers),
    )


def _by_status(status: int) -> type[ApiError]:
    # A token request has no user who may lack a right, and no arguments.
    return RejectedError if status in (400, 403) else class_by_status(status)
