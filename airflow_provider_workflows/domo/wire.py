"""How Domo's calls look on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_workflows import __version__
from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.errors import BlockedError, error_class
from airflow_provider_workflows.rest.client import Request, Response
from airflow_provider_workflows.rest.errors import ApiError, RedirectedError


class DomoWire:
    """Turns calls into requests to one account, and responses into JSON or errors.

    :param account: the account and its credential.
    """

    def __init__(self, account: Account) -> None:
        self.account = account

    def request(self, call: Call) -> Request:
        """Give the HTTP request that makes the call."""
        headers = {
            "Accept": "application/json",
            "User-Agent": f"airflow-provider-workflows/{__version__}",
            "X-DOMO-Developer-Token": self.account.token,
        }
        return Request(call.http_method, self.account.base_url + call.path, headers, call.body)

    def result(self, call: Call, response: Response) -> Any:
        """Give the reply's JSON.

        :raises ApiError: if Domo did not do the call, or it cannot be told.
        """
        if 300 <= response.http_status < 400:
            raise _redirected(call, response)
        if b"Domo - Blocked" in response.content[:2000]:
            raise BlockedError(str(call), http_status=response.http_status, text="Domo answers with its 'Blocked' page")
        try:
            reply = json.loads(response.content)
        except ValueError:
            reply = None
        if response.http_status == 200 and isinstance(reply, Mapping):
            return reply
        raise _error(call, response, reply if isinstance(reply, Mapping) else None)


def _redirected(call: Call, response: Response) -> ApiError:
    location = response.headers.get("Location", "")
    if "whitelist/blocked" in location:
        return BlockedError(str(call), http_status=response.http_status, text="Domo redirects to its 'Blocked' page")
    host = urlsplit(location).hostname or "an unnamed host"
    return RedirectedError(str(call), http_status=response.http_status, text=f"redirected to {host}")


def _error(call: Call, response: Response, body: Mapping[str, Any] | None) -> ApiError:
    body = body if body is not None else {"message": "the reply is not the JSON object it should be"}
    return error_class(response.http_status)(
        str(call),
        http_status=response.http_status,
        text=body.get("message") or body.get("error_description") or body.get("statusReason"),
        trace=body.get("toe"),
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except ValueError:
        return None
