"""How Domo's calls look on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_workflows import __version__
from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.calls import Call, path_part
from airflow_provider_workflows.domo.errors import BlockedError, error_class
from airflow_provider_workflows.rest.errors import ApiError, RedirectedError
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.rest.replies import read_json, read_text, redirected_to, retry_after


class DomoWire:
    """Turns calls into requests to one account, and responses into JSON or errors."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def request(self, call: Call) -> Request:
        """Return the HTTP request that makes the call."""
        headers = {
            "Accept": "application/json",
            "User-Agent": f"airflow-provider-workflows/{__version__}",
            "X-DOMO-Developer-Token": self.account.token,
        }
        path = call.path or self.account.instance_path.format(instance_id=path_part(call.instance_id or ""))
        return Request(call.http_method, self.account.base_url + path, headers, call.body)

    def result(self, call: Call, response: Response) -> Any:
        """Return the reply's JSON.

        :raises ApiError: if Domo did not do the call, or may not have done it.
        """
        outcome = _read(call, response)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome


def _read(call: Call, response: Response) -> Mapping[str, Any] | list[Any] | ApiError:
    """Read a response. Errors are returned, not raised: variables here may repeat the credential."""
    if 300 <= response.http_status < 400:
        return _redirected(call, response)
    reply = read_json(response.content)
    if response.http_status < 300 and isinstance(reply, list if call.gives_list else Mapping):
        return reply
    if response.http_status >= 300 and isinstance(reply, Mapping):
        return _error(call, response, reply)
    if b"Domo - Blocked" in response.content[:2000]:
        return BlockedError(str(call), http_status=response.http_status, text="Domo answers with its 'Blocked' page")
    shape = "list" if call.gives_list else "object"
    return _error(call, response, {"message": f"the reply is not a JSON {shape}"})


def _redirected(call: Call, response: Response) -> ApiError:
    if "whitelist/blocked" in response.headers.get("Location", ""):
        return BlockedError(str(call), http_status=response.http_status, text="Domo redirects to its 'Blocked' page")
    return RedirectedError(str(call), http_status=response.http_status, text=redirected_to(response.headers))


def _error(call: Call, response: Response, body: Mapping[str, Any]) -> ApiError:
    text = body.get("message") or body.get("error_description") or body.get("statusReason")
    return error_class(response.http_status)(
        str(call),
        http_status=response.http_status,
        text=read_text(text),
        trace=read_text(body.get("toe")),
        retry_after=retry_after(response.headers),
    )
