"""How Bitrix24's calls look on the wire (API pages "General principles" and "batch")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Annotated, Any
from urllib.parse import quote_plus

from pydantic import Field, TypeAdapter, ValidationError

from airflow_provider_workflows import __version__
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import (
    PortalMovedError,
    RenewedTokenRefusedError,
    TokenExpiredError,
    error_class,
)
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.rest.clock import LATEST
from airflow_provider_workflows.rest.errors import ApiError, UnreadableReplyError
from airflow_provider_workflows.rest.protocol import Request, Response
from airflow_provider_workflows.rest.replies import (
    LONGEST_TEXT,
    read_json,
    read_text,
    redirected_to,
    retry_after,
    sent_at,
)

HEADERS = {"Accept": "application/json", "User-Agent": f"airflow-provider-workflows/{__version__}"}
#: More rows than any portal has: what is above it is no count.
MOST_ROWS = 100_000_000


class Bitrix24Wire:
    """Turns calls into requests to one portal, and responses into replies or errors.

    :param portal: the portal and its credential.
    """

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    def request(self, call: Call) -> Request:
        """Return the HTTP request that makes the call.

        :raises RenewedTokenRefusedError: if no access token is known yet.
        """
        if self.portal.secret is None:
            # Renewing fetches one.
            raise RenewedTokenRefusedError(str(call), text="no access token is known yet")
        body = dict(call.params)
        if call.method == "batch":
            commands = {key: f"{command.method}?{php_query(command.params)}" for key, command in call.commands.items()}
            body = {"halt": 0, "cmd": commands}
        if self.portal.user_id is None:
            body["auth"] = self.portal.secret
        return Request("POST", self.portal.method_url(call.method), HEADERS, body)

    def result(self, call: Call, response: Response) -> Reply:
        """Return the call's reply.

        :raises ApiError: if the portal did not do the call, or may not have done it.
        """
        outcome = _read(call, response)
        if isinstance(outcome, TokenExpiredError) and self.portal.renewed:
            outcome = RenewedTokenRefusedError(
                outcome.call, code=outcome.code, http_status=outcome.http_status, text=outcome.text
            )
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome


def php_query(params: Mapping[str, Any]) -> str:
    """Encode parameters as PHP reads them from a query: ``FILTER[%3CSTARTED]=...&SELECT[0]=ID``.

    :param params: nested mappings and lists of strings, numbers and booleans (sent as 1 and 0).
    :raises ValueError: for ``None``, which a query cannot express.
    """

    def pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from pairs(f"{name}[{key}]", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                yield from pairs(f"{name}[{index}]", item)
        elif value is None:
            raise ValueError(f"{name}: a batch cannot carry null")
        else:
            yield name, str(int(value)) if isinstance(value, bool) else str(value)

    found = (pair for name, value in params.items() for pair in pairs(name, value))
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in found])


#: The commands of a batch share most of their parameters.
_quoted = lru_cache(1000)(partial(quote_plus, safe="[]"))


def _read(call: Call, response: Response) -> Reply | ApiError:
    """Read a response. Errors are returned, not raised: variables here may repeat the credential."""
    status = response.http_status
    if 300 <= status < 400:
        return PortalMovedError(str(call), http_status=status, text=redirected_to(response.headers))
    envelope = read_json(response.content)
    if not isinstance(envelope, Mapping):
        return _by_status(call, response, "the reply is not a JSON object")
    if "error" in envelope:
        return _error(str(call), envelope, response)
    if status != 200 or "result" not in envelope:
        return _by_status(call, response, "the reply holds neither a result nor an error")
    if call.method == "batch":
        parts = envelope["result"]
        if not isinstance(parts, Mapping):
            return _by_status(call, response, "the batch's reply has no parts")
        times = _times(envelope.get("time"))
        at = _portal_time(times, sent_at(response.headers))
        return Reply(_batch_results(call, parts, at), time=times, at=at)
    total, following, time = envelope.get("total"), envelope.get("next"), envelope.get("time")
    return _reply(str(call), envelope["result"], total, following, time, sent_at(response.headers))


def _by_status(call: Call, response: Response, text: str) -> ApiError:
    kind = error_class(None, response.http_status)
    return kind(str(call), http_status=response.http_status, text=text, retry_after=retry_after(response.headers))


def _error(call: str, error: Mapping[str, Any], response: Response | None) -> ApiError:
    code = str(error["error"])[:LONGEST_TEXT] if "error" in error else None
    # A command inside a batch has no HTTP status of its own; the portal sends its errors with 400.
    kind = error_class(code, response.http_status if response else 400)
    return kind(
        call,
        code=code,
        http_status=response.http_status if response else None,
        text=read_text(error.get("error_description")),
        retry_after=retry_after(response.headers) if response else None,
    )


def _batch_results(call: Call, parts: Mapping[str, Any], at: datetime | None) -> dict[str, Reply | ApiError]:
    done, errors, totals, nexts, times = (
        _map(parts.get(part)) for part in ("result", "result_error", "result_total", "result_next", "result_time")
    )
    results: dict[str, Reply | ApiError] = {}
    for key, command in call.commands.items():
        name = str(command)
        if key in errors:
            error = errors[key] if isinstance(errors[key], Mapping) else {"error_description": errors[key]}
            results[key] = _error(name, error, None)
        elif key in done:
            results[key] = _reply(name, done[key], totals.get(key), nexts.get(key), times.get(key), at)
        else:
            results[key] = UnreadableReplyError(name, text="the batch's reply does not mention this command")
    return results


def _reply(call: str, result: Any, total: Any, following: Any, time: Any, at: datetime | None) -> Reply | ApiError:
    times = _times(time)
    try:
        return Reply(result, total=_count(total), next=_count(following), time=times, at=_portal_time(times, at))
    except ValidationError:
        return UnreadableReplyError(call, text="total or next is not a number of rows")


_count = TypeAdapter(Annotated[int, Field(ge=0, le=MOST_ROWS)] | None).validate_python


def _times(part: Any) -> dict[str, float]:
    """Return the numbers in the ``time`` part, leaving out what is not a plausible number."""
    return {str(name): number for name, value in _map(part).items() if (number := _seconds(value)) is not None}


def _portal_time(times: Mapping[str, float], otherwise: datetime | None) -> datetime | None:
    """Return when the portal began with a call, by its own clock."""
    return datetime.fromtimestamp(times["start"], UTC) if times.get("start") else otherwise


def _seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number <= LATEST else None


def _map(part: Any) -> Mapping[str, Any]:
    """PHP writes an empty map as ``[]``."""
    return part if isinstance(part, Mapping) else {}
