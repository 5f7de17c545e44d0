from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_workflows import __version__
from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.calls import Call
from airflow_provider_workflows.domo.errors import BlockedError, NotFoundError
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    InvalidCallError,
    NotProcessedError,
    RateLimitError,
    RedirectedError,
    RejectedError,
    ServerError,
    UnknownOutcomeError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.protocol import Response

TOKEN = "DDCIdevel0pert0ken"
INSTANCE = "2052e10a-d142-4391-a731-2be1ab1c0188"
CANCEL = calls.cancel_instance(INSTANCE)
#: An error body as the product APIs send it.
BODY = {"status": 404, "statusReason": "Not Found", "message": "Workflow instance not found", "toe": "8GZ1E-TT5S8-4ZZ"}


@pytest.fixture
def wire() -> DomoWire:
    return DomoWire(Account.with_token("acme.domo.com", TOKEN))


def response(body: Any = None, status: int = 200, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def failure(wire: DomoWire, answer: Response, call: Call = CANCEL) -> ApiError:
    with pytest.raises(ApiError) as caught:
        wire.result(call, answer)
    return caught.value


class TestRequest:
    @pytest.mark.parametrize("call", [calls.cancel_instance, calls.get_instance])
    def test_an_id_cannot_lead_to_another_api(self, wire: DomoWire, call: Any) -> None:
        url = wire.request(call("../../../content/v2/users/7?x#")).url
        assert url.startswith(
            "https://acme.domo.com/api/workflow/v1/instances/..%2F..%2F..%2Fcontent%2Fv2%2Fusers%2F7%3Fx%23"
        )
        for dots in ("", ".", ".."):
            with pytest.raises(ValueError, match="is not an id"):
                wire.request(call(dots))

    def test_the_token_stands_in_its_header_and_nowhere_else(self, wire: DomoWire) -> None:
        request = wire.request(CANCEL)
        assert request.http_method == "POST"
        assert request.url == f"https://acme.domo.com/api/workflow/v1/instances/{INSTANCE}/cancel"
        assert request.headers["X-DOMO-Developer-Token"] == TOKEN
        assert TOKEN not in request.url
        assert TOKEN not in repr(request)

    def test_cancelling_sends_no_body(self, wire: DomoWire) -> None:
        assert wire.request(CANCEL).body is None

    def test_reading_is_a_get(self, wire: DomoWire) -> None:
        request = wire.request(calls.get_instance(INSTANCE))
        assert (request.http_method, request.body) == ("GET", None)
        assert request.url == f"https://acme.domo.com/api/workflow/v1/instances/{INSTANCE}"

    def test_starting_says_what_the_api_page_says(self, wire: DomoWire) -> None:
        request = wire.request(calls.start_instance("m1", "1.1.0", "Start Refund", {"amount": 3}))
        assert request.url == "https://acme.domo.com/api/workflow/v1/instances/message"
        assert request.body == {
            "messageName": "Start Refund",
            "version": "1.1.0",
            "modelId": "m1",
            "data": {"amount": 3},
        }

    def test_the_caller_names_itself_and_asks_for_json(self, wire: DomoWire) -> None:
        headers = wire.request(CANCEL).headers
        assert headers["User-Agent"] == f"airflow-provider-workflows/{__version__}"
        assert headers["Accept"] == "application/json"


class TestSuccess:
    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_the_json_object_is_given_as_it_came(self, wire: DomoWire, status: int) -> None:
        sent = {"id": INSTANCE, "status": None, "unknown": [1]}
        assert wire.result(CANCEL, response(sent, status)) == sent

    def test_a_workflow_may_be_named_like_the_blocked_page(self, wire: DomoWire) -> None:
        sent = {"id": INSTANCE, "modelName": "Domo - Blocked"}
        assert wire.result(CANCEL, response(sent)) == sent


class TestError:
    @pytest.mark.parametrize(
        ("status", "kind", "meaning", "advice"),
        [
            (400, InvalidCallError, RejectedError, ""),
            (401, AuthenticationError, RejectedError, "Check the credential"),
            (403, AccessDeniedError, RejectedError, ""),
            (404, NotFoundError, RejectedError, "not its model's"),
            (409, RejectedError, RejectedError, ""),
            (429, RateLimitError, NotProcessedError, "run fewer tasks at once"),
            (500, ServerError, UnknownOutcomeError, ""),
            (502, ServerError, UnknownOutcomeError, ""),
            (503, ServerError, UnknownOutcomeError, ""),
            (504, ServerError, UnknownOutcomeError, ""),
        ],
    )
    def test_each_status_has_its_class(
        self, wire: DomoWire, status: int, kind: type[ApiError], meaning: type[ApiError], advice: str
    ) -> None:
        error = failure(wire, response(BODY | {"status": status}, status))
        assert type(error) is kind
        assert [
            base for base in (NotProcessedError, UnknownOutcomeError, RejectedError) if isinstance(error, base)
        ] == [meaning]
        assert error.retry_helps is (meaning is not RejectedError)
        assert (error.http_status, error.text, error.trace) == (status, BODY["message"], BODY["toe"])
        assert advice in str(error)

    def test_the_message_and_the_code_for_domos_support_are_shown(self, wire: DomoWire) -> None:
        said = str(failure(wire, response(BODY, 404)))
        assert said.splitlines()[1].startswith(
            f"cancel instance {INSTANCE}: HTTP 404, Workflow instance not found, trace code (toe) 8GZ1E-TT5S8-4ZZ."
        )

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"status": 400, "statusReason": "Bad Request"}, "Bad Request"),
            ({"statusReason": "Bad Request", "message": ""}, "Bad Request"),
            ({"statusReason": "Bad Request", "message": None}, "Bad Request"),
            ({"error": "invalid_token", "error_description": "Token expired"}, "Token expired"),
            ({}, None),
        ],
    )
    def test_without_a_message_the_next_best_text_is_given(
        self, wire: DomoWire, body: dict[str, Any], text: str | None
    ) -> None:
        assert failure(wire, response(body, 400)).text == text

    @pytest.mark.parametrize("message", [{"field": "version"}, ["a", "b"], 17, True])
    def test_a_message_of_another_shape_is_shown_as_text(self, wire: DomoWire, message: Any) -> None:
        assert failure(wire, response({"message": message}, 400)).text == str(message)

    def test_a_trace_of_another_shape_is_shown_as_text(self, wire: DomoWire) -> None:
        assert failure(wire, response({"toe": 17}, 400)).trace == "17"

    def test_a_text_that_repeats_the_token_is_redacted(self, wire: DomoWire) -> None:
        error = failure(wire, response({"message": f"Invalid token {TOKEN}", "toe": TOKEN}, 401))
        assert (error.text, error.trace) == ("Invalid token ***", "***")

    def test_it_survives_pickling(self, wire: DomoWire) -> None:
        error = failure(wire, response(BODY, 429, Retry_After="7"))
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))


class TestRetryAfter:
    def seconds(self, wire: DomoWire, value: str, status: int = 429) -> float | None:
        return failure(wire, response(BODY, status, Retry_After=value)).retry_after

    @pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("0", 0), ("1.5", 1.5), ("-3", 0)])
    def test_seconds(self, wire: DomoWire, value: str, seconds: float) -> None:
        assert self.seconds(wire, value) == seconds

    def test_also_of_a_server_error(self, wire: DomoWire) -> None:
        assert self.seconds(wire, "7", status=503) == 7

    @pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5))])
    def test_a_date(self, wire: DomoWire, zone: timezone) -> None:
        seconds = self.seconds(wire, format_datetime(datetime.now(zone) + timedelta(seconds=90)))
        assert seconds == pytest.approx(90, abs=60)

    def test_a_date_without_a_zone_is_utc(self, wire: DomoWire) -> None:
        naive = (datetime.now(UTC) + timedelta(seconds=90)).replace(tzinfo=None)
        assert format_datetime(naive).endswith("-0000")
        assert self.seconds(wire, format_datetime(naive)) == pytest.approx(90, abs=60)

    def test_a_date_that_is_past_is_now(self, wire: DomoWire) -> None:
        assert self.seconds(wire, "Wed, 21 Oct 2015 07:28:00 GMT") == 0

    @pytest.mark.parametrize("value", ["", "soon", "inf", "nan", "1e999", "Wed, 99 Foo 2015 07:28:00 GMT"])
    def test_what_is_neither_counts_as_not_said(self, wire: DomoWire, value: str) -> None:
        assert self.seconds(wire, value) is None

    def test_it_need_not_be_there(self, wire: DomoWire) -> None:
        assert failure(wire, response(BODY, 429)).retry_after is None


BLOCKED_PAGE = b"<!DOCTYPE html><html><head><title>Domo - Blocked</title></head><body>Not allowed</body></html>"


class TestBlocked:
    @pytest.mark.parametrize("status", [200, 403])
    def test_the_page_is_recognised_whatever_its_status(self, wire: DomoWire, status: int) -> None:
        error = failure(wire, response(BLOCKED_PAGE, status))
        assert type(error) is BlockedError
        assert isinstance(error, RejectedError)
        assert "outgoing IP address to the allowlist" in str(error)

    @pytest.mark.parametrize("location", ["/auth/whitelist/blocked", "https://acme.domo.com/whitelist/blocked?x=1"])
    def test_so_is_the_redirect_to_it(self, wire: DomoWire, location: str) -> None:
        assert type(failure(wire, response(b"", 303, Location=location))) is BlockedError


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_only_the_new_host_is_named(self, wire: DomoWire, status: int) -> None:
        error = failure(wire, response(b"", status, Location=f"https://login.domo.com/auth?token={TOKEN}"))
        assert type(error) is RedirectedError
        assert error.text == "redirected to login.domo.com"

    @pytest.mark.parametrize("location", ["", f"/auth?token={TOKEN}", f"https://[{TOKEN}"])
    def test_an_address_without_host_is_not_shown_at_all(self, wire: DomoWire, location: str) -> None:
        assert failure(wire, response(b"", 302, Location=location)).text == "redirected to an unnamed host"


NOT_AN_OBJECT = {
    "HTML": b"<html><body>" + TOKEN.encode() + b"</body></html>",
    "bare text": b"IN_PROGRESS",
    "quoted text": b'"IN_PROGRESS"',
    "cut JSON": b'{"id": "2052e10a',
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "bytes that are no text": b"\xff\xfe\x00{",
}


class TestNoJson:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (200, UnreadableReplyError),
            (204, UnreadableReplyError),
            (403, AccessDeniedError),
            (404, NotFoundError),
            (500, ServerError),
            (502, ServerError),
        ],
    )
    def test_the_status_decides(self, wire: DomoWire, status: int, kind: type[ApiError]) -> None:
        for content in NOT_AN_OBJECT.values():
            error = failure(wire, response(content, status))
            assert type(error) is kind, content
            assert error.text == "the reply is not a JSON object"


class TestAccount:
    def test_the_token_is_not_in_the_repr(self) -> None:
        assert TOKEN not in repr(Account.with_token("acme.domo.com", TOKEN))

    @pytest.mark.parametrize("token", ["", "  ", f"{TOKEN} x", f"{TOKEN}\r\nX-Header: 1", f"{TOKEN}ü"])
    def test_a_token_that_is_no_token_is_refused(self, token: str) -> None:
        with pytest.raises(ValueError, match=r"^password must be the developer token") as caught:
            Account.with_token("acme.domo.com", token)
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize(
        "host", ["", None, "acme.domo.com/api", "acme.domo.com?x", "acme..domo.com", "acme.domo.com@evil.com"]
    )
    def test_a_host_has_no_path_and_no_user(self, host: str | None) -> None:
        with pytest.raises(ValueError, match=r"^host "):
            Account.with_token(host, TOKEN)

    def test_http_is_for_loopback(self) -> None:
        assert Account.with_token("127.0.0.1", TOKEN, "http", 8024).base_url == "http://127.0.0.1:8024"
        with pytest.raises(ValueError, match=r"^schema must not be 'http' .* clear text"):
            Account.with_token("acme.domo.com", TOKEN, "http")

    def test_where_an_instance_is_read_can_be_set(self) -> None:
        account = Account.with_token("acme.domo.com", TOKEN, instance_path="/v9/{instance_id}/status")
        request = DomoWire(account).request(calls.get_instance(INSTANCE))
        assert request.url == f"https://acme.domo.com/v9/{INSTANCE}/status"

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "/v9",
            "v9/{instance_id}",
            "/v9/{id}",
            "/{instance_id}/{instance_id}",
            "/{x}/{instance_id}",
            "/{instance_id}}",
        ],
    )
    def test_a_path_that_names_no_instance_is_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match=r"^instance_path must be"):
            Account.with_token("acme.domo.com", TOKEN, instance_path=path)
