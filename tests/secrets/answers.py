"""Answers of a server that repeats the whole request, and with it the credential, wherever it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.rest.loopback import HANG, RESET, http


def echo(request: bytes) -> str:
    """Return the request as text, in clear and URL-quoted."""
    text = request.decode("latin-1").replace("\r\n", " ")
    return f"{text} {quote(text, safe='')}"


def path(request: bytes) -> str:
    """Return what the request asks for."""
    return request.split(b" ", 2)[1].decode()


def page(status: str, title: str = "nginx") -> Callable[[bytes], bytes]:
    """Answer with an HTML page."""

    def answer(request: bytes) -> bytes:
        body = f"<html><head><title>{title}</title></head><body>{echo(request)}</body></html>"
        return http(body.encode(), status, f"X-Request: {quote(echo(request))}", "Content-Type: text/html")

    return answer


def refusal(status: str, code: Any = None) -> Callable[[bytes], bytes]:
    """Answer with an error of either vendor, or of both."""

    def answer(request: bytes) -> bytes:
        said = echo(request)
        body = {"error": said if code is None else code, "error_description": said, "message": said, "toe": said}
        return http(json.dumps(body).encode(), status, f"Retry-After: {quote(said)}")

    return answer


def moved(status: str, host: str) -> Callable[[bytes], bytes]:
    """Redirect to the same path somewhere else."""

    def answer(request: bytes) -> bytes:
        return http(b"", status, f"Location: {host}{path(request)}?{quote(echo(request))}")

    return answer


def still_running(request: bytes) -> bytes:
    """Refuse to end anything, and list everything as running."""
    said, body = echo(request), json.loads(request.partition(b"\r\n\r\n")[2] or b"{}")
    workflow_id = "65e5a449e8f135.21284909"
    if b"/cancel" in request:
        return http(json.dumps({"status": 409, "message": said}).encode(), "409 Conflict")
    if request.startswith(b"GET "):
        return http(json.dumps({"id": "2052e10a-d142-4391-a731-2be1ab1c0188", "status": "IN_PROGRESS"}).encode())
    if "cmd" not in body:
        listed: Any = {"result": [{"ID": workflow_id}], "total": 1}
        no = {"error": "", "error_description": said}
        ends = b"bizproc.workflow.instances" not in request
        return http(json.dumps(no if ends else listed).encode(), "400 Bad Request" if ends else "200 OK")
    parts: dict[str, Any] = {"result": {}, "result_error": {}, "result_total": {}, "result_next": [], "result_time": []}
    for key, command in body["cmd"].items():
        if command.startswith("bizproc.workflow.instances"):
            parts["result"][key] = [{"ID": command.partition("FILTER[ID]=")[2].partition("&")[0] or workflow_id}]
            parts["result_total"][key] = 1
        else:
            parts["result_error"][key] = {"error": "", "error_description": said}
    return http(json.dumps({"result": parts}).encode())


@dataclass(frozen=True)
class Failure:
    """A way to fail.

    :param answer: what the server answers.
    :param bitrix24: the error that comes out of it.
    :param domo: the error that comes out of it.
    """

    answer: Callable[[bytes], bytes]
    bitrix24: str
    domo: str


BOTH: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "hang": (lambda request: HANG, "ReplyLostError"),
    "reset": (lambda request: RESET, "ReplyLostError"),
    "closed": (lambda request: b"", "ReplyLostError"),
    "cut_body": (lambda request: http(echo(request).encode(), length=99999), "ReplyLostError"),
    "bad_head": (lambda request: f"HTTP/1.1 {echo(request)}\r\n\r\n".encode(), "ReplyLostError"),
    "html_200": (page("200 OK"), "UnreadableReplyError"),
    "html_403": (page("403 Forbidden"), "AccessDeniedError"),
    "html_500": (page("500 Internal Server Error"), "ServerError"),
    "cut_json": (lambda request: http(json.dumps({"result": echo(request)}).encode()[:-2]), "UnreadableReplyError"),
    "json_list": (lambda request: http(json.dumps([echo(request)]).encode()), "UnreadableReplyError"),
    "error_401": (refusal("401 Unauthorized"), "AuthenticationError"),
    "error_403": (refusal("403 Forbidden"), "AccessDeniedError"),
    "error_429": (refusal("429 Too Many Requests"), "RateLimitError"),
    "error_500": (refusal("500 Internal Server Error"), "ServerError"),
    "error_503": (refusal("503 Service Unavailable"), "ServerError"),
}
FAILURES: dict[str, Failure] = {
    **{name: Failure(answer, error, error) for name, (answer, error) in BOTH.items()},
    "not_promised": Failure(
        lambda request: http(b'{"result": [{"ID": ""}], "total": 1, "id": ""}'),
        "UnreadableReplyError",
        "UnreadableReplyError",
    ),
    "error_404": Failure(refusal("404 Not Found"), "MethodNotFoundError", "NotFoundError"),
    "error_empty": Failure(refusal("400 Bad Request", ""), "WorkflowError", "InvalidCallError"),
    "error_zero": Failure(refusal("400 Bad Request", "0"), "FlowError", "InvalidCallError"),
    "error_object": Failure(refusal("400 Bad Request", {"x": "y"}), "InvalidCallError", "InvalidCallError"),
    "blocked": Failure(page("200 OK", "Domo - Blocked"), "UnreadableReplyError", "BlockedError"),
    "moved": Failure(moved("302 Found", "https://new.example"), "PortalMovedError", "RedirectedError"),
    "moved_here": Failure(moved("302 Found", ""), "PortalMovedError", "RedirectedError"),
    "moved_nowhere": Failure(moved("302 Found", "https://["), "PortalMovedError", "RedirectedError"),
    "blocked_303": Failure(moved("303 See Other", "https://x/whitelist/blocked"), "PortalMovedError", "BlockedError"),
    "running": Failure(still_running, "NotAllEndedError", "NotAllEndedError"),
}

#: The error that comes of each where it is the token server that fails so.
TOKEN_FAILURES: dict[str, str] = {
    **dict.fromkeys(FAILURES.keys() - {"running"}, "TokenServerError"),
    **dict.fromkeys(
        ("html_403", "error_403", "error_404", "error_empty", "error_zero", "error_object"), "RejectedError"
    ),
    **dict.fromkeys(("moved", "moved_here", "moved_nowhere", "blocked_303"), "RedirectedError"),
    "error_401": "AuthenticationError",
    "error_429": "RateLimitError",
}


def renewing(failure: str, tokens: bytes) -> Callable[[bytes], bytes]:
    """Answer as a portal whose access token has expired, and as a token server.

    :param failure: how the token server fails; ``renewed``: it does not, and the portal refuses the new token likewise.
    :param tokens: what it gives.
    """

    def answer(request: bytes) -> bytes:
        if path(request).startswith("/oauth/"):
            return http(tokens) if failure == "renewed" else FAILURES[failure].answer(request)
        fresh = json.loads(tokens)["access_token"].encode() in request
        return (
            FAILURES["error_empty"].answer(request) if fresh else refusal("401 Unauthorized", "expired_token")(request)
        )

    return answer
