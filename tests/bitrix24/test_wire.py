from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows import __version__
from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import (
    BatchError,
    FlowError,
    NotAdministratorError,
    OperatingTimeLimitError,
    PortalMovedError,
    WorkflowError,
)
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire, php_query
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    InvalidCallError,
    RateLimitError,
    RejectedError,
    ServerError,
    UnknownOutcomeError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.protocol import Response

CODE = "wh00k0c0de0f0acme"
TOKEN = "acc3ss0t0ken0f0acme"
LIST = calls.list_workflows(select=["ID"])
KILL = calls.kill_workflow("65e5a449e8f135.21284909")


@pytest.fixture
def wire() -> Bitrix24Wire:
    return Bitrix24Wire(Portal.with_webhook("acme.bitrix24.com", 17, CODE))


@pytest.fixture
def token_wire() -> Bitrix24Wire:
    return Bitrix24Wire(Portal.with_access_token("acme.bitrix24.com", TOKEN))


def response(body: Any = None, status: int = 200, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers, content)


def failure(wire: Bitrix24Wire, call: Call, answer: Response) -> ApiError:
    with pytest.raises(ApiError) as caught:
        wire.result(call, answer)
    return caught.value


class TestRequest:
    def test_a_webhook_stands_in_the_path_and_nowhere_else(self, wire: Bitrix24Wire) -> None:
        request = wire.request(KILL)
        assert request.http_method == "POST"
        assert request.url == f"https://acme.bitrix24.com/rest/17/{CODE}/bizproc.workflow.kill"
        assert request.body == {"ID": "65e5a449e8f135.21284909"}
        assert CODE not in str(request.headers)

    def test_an_access_token_stands_in_the_body_and_not_in_the_address(self, token_wire: Bitrix24Wire) -> None:
        request = token_wire.request(KILL)
        assert request.url == "https://acme.bitrix24.com/rest/bizproc.workflow.kill"
        assert request.body == {"ID": "65e5a449e8f135.21284909", "auth": TOKEN}
        assert TOKEN not in str(request.headers)

    def test_the_token_of_a_batch_is_given_once_beside_the_commands(self, token_wire: Bitrix24Wire) -> None:
        body = token_wire.request(calls.batch({"a": KILL, "b": LIST})).body
        assert body is not None
        assert body["auth"] == TOKEN
        assert TOKEN not in str(body["cmd"])

    def test_making_a_request_leaves_the_call_as_it_was(self, token_wire: Bitrix24Wire) -> None:
        token_wire.request(KILL)
        assert dict(KILL.params) == {"ID": "65e5a449e8f135.21284909"}

    @pytest.mark.parametrize(
        ("call", "method"),
        [
            (LIST, "bizproc.workflow.instances"),
            (calls.terminate_workflow("1"), "bizproc.workflow.terminate"),
            (KILL, "bizproc.workflow.kill"),
            (calls.get_flow(1), "tasks.flow.Flow.get"),
            (calls.activate_flow(1), "tasks.flow.Flow.activate"),
            (calls.update_flow({"id": 1}), "tasks.flow.Flow.update"),
        ],
    )
    def test_method_names_keep_their_exact_case(self, wire: Bitrix24Wire, call: Call, method: str) -> None:
        assert wire.request(call).url.endswith(f"/{method}")
        body = wire.request(calls.batch({"c": call})).body
        assert body is not None
        assert body["cmd"]["c"].startswith(f"{method}?")

    def test_the_caller_names_itself_and_asks_for_json(self, wire: Bitrix24Wire) -> None:
        headers = wire.request(LIST).headers
        assert headers["User-Agent"] == f"airflow-provider-workflows/{__version__}"
        assert headers["Accept"] == "application/json"

    def test_a_batch_goes_on_after_an_error(self, wire: Bitrix24Wire) -> None:
        body = wire.request(calls.batch({"a": KILL})).body
        assert body is not None
        # The number: PHP takes the text "false" for true.
        assert body["halt"] == 0

    def test_neither_request_nor_response_shows_the_credential_in_its_repr(self, wire: Bitrix24Wire) -> None:
        answer = response({"error_description": CODE}, 302, Location=f"https://acme.bitrix24.com/rest/17/{CODE}/x")
        assert CODE not in repr(wire.request(KILL))
        assert CODE not in repr(answer)


def php_parse(query: str) -> dict[str, Any]:
    """Read a query as PHP's parse_str does."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        top, bracket, inner = name.partition("[")
        keys = [top, *inner.removesuffix("]").split("][")] if bracket else [top]
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        assert keys[-1] not in node, "one value overwrites another"
        node[keys[-1]] = value
    return {key: _lists(value) for key, value in tree.items()}


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if list(node) == [str(nth) for nth in range(len(node))]:
        return [_lists(value) for value in node.values()]
    return {key: _lists(value) for key, value in node.items()}


def as_php_sees(value: Any) -> Any:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return {key: as_php_sees(item) for key, item in value.items()}
    return [as_php_sees(item) for item in value] if isinstance(value, list) else str(value)


any_text = st.text(st.characters(exclude_categories=["Cs"]))
leaves = (
    any_text
    | st.integers()
    | st.booleans()
    | st.sampled_from(["", " ", "&", "=", "%3C", "+", "a&b=c", "привет", "[0]"])
)
# A number as key makes a PHP list, and brackets cannot be written in a key at all.
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=1).filter(
    lambda key: not key.isdigit()
)
nested = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(keys, inner, min_size=1, max_size=4),
    max_leaves=12,
)


class TestPhpQuery:
    @settings(deadline=None)
    @given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), nested, max_size=5))
    def test_php_reads_back_what_was_said(self, params: dict[str, Any]) -> None:
        assert php_parse(php_query(params)) == as_php_sees(params)

    def test_it_looks_like_the_api_pages_example(self) -> None:
        query = php_query({"FILTER": {"<STARTED": "2026-01-01"}, "SELECT": ["ID", "STARTED"], "start": 50})
        assert query == "FILTER[%3CSTARTED]=2026-01-01&SELECT[0]=ID&SELECT[1]=STARTED&start=50"

    def test_true_and_false_are_1_and_0_because_php_takes_the_text_false_for_true(self) -> None:
        assert php_query({"a": True, "b": False}) == "a=1&b=0"

    def test_a_tuple_is_a_list(self) -> None:
        assert php_query({"pair": ("user", "3")}) == php_query({"pair": ["user", "3"]})

    def test_an_empty_map_or_list_is_left_out(self) -> None:
        assert php_query({"FILTER": {}, "SELECT": [], "ID": "1"}) == "ID=1"

    @pytest.mark.parametrize("params", [{"a": None}, {"a": {"b": None}}, {"a": ["x", None]}])
    def test_null_is_refused_because_php_would_read_an_empty_text(self, params: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^a.*null"):
            php_query(params)

    def test_a_batch_with_null_is_refused_before_it_is_sent(self, wire: Bitrix24Wire) -> None:
        with pytest.raises(ValueError, match="null"):
            wire.request(calls.batch({"a": calls.update_flow({"id": 1, "notifyOnQueueOverflow": None})}))


class TestSuccess:
    def test_a_list_comes_with_its_total_and_the_next_offset(self, wire: Bitrix24Wire) -> None:
        reply = wire.result(
            LIST, response({"result": [{"ID": "1"}], "total": 70, "next": 50, "time": {"operating": 3}})
        )
        assert reply == Reply([{"ID": "1"}], total=70, next=50, time={"operating": 3})

    def test_the_last_page_has_no_next(self, wire: Bitrix24Wire) -> None:
        assert wire.result(LIST, response({"result": [], "total": 0})) == Reply([], total=0, next=None)

    def test_numbers_may_come_as_texts(self, wire: Bitrix24Wire) -> None:
        reply = wire.result(LIST, response({"result": [], "total": "70", "next": "50"}))
        assert (reply.total, reply.next) == (70, 50)

    @pytest.mark.parametrize("result", [True, False, None, 0, "", [], {}, "66e412fdc9bd44.36306599"])
    def test_any_value_is_a_success_even_one_that_looks_like_nothing(self, wire: Bitrix24Wire, result: Any) -> None:
        assert wire.result(KILL, response({"result": result})).result == result

    @pytest.mark.parametrize("time", [[], None, "soon"])
    def test_a_reply_without_times_is_read_all_the_same(self, wire: Bitrix24Wire, time: Any) -> None:
        assert wire.result(KILL, response({"result": True, "time": time})).time == {}

    @pytest.mark.parametrize("field", ["total", "next"])
    @pytest.mark.parametrize("value", ["many", [], {}, float("inf")])
    def test_a_count_that_is_no_number_cannot_be_read(self, wire: Bitrix24Wire, field: str, value: Any) -> None:
        error = failure(wire, LIST, response({"result": [], field: value}))
        assert isinstance(error, UnreadableReplyError)


class TestBatch:
    BATCH = calls.batch({"a": KILL, "b": LIST, "c": KILL})

    def read(self, wire: Bitrix24Wire, **parts: Any) -> dict[str, Reply | ApiError]:
        return wire.result(self.BATCH, response({"result": parts})).result  # type: ignore[no-any-return]

    def test_each_command_has_its_own_outcome(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(
            wire,
            result={"a": True, "b": [{"ID": "1"}]},
            result_error={"c": {"error": "", "error_description": "Der Workflow wurde nicht gefunden"}},
            result_total={"b": "70"},
            result_next={"b": 50},
            result_time={"a": {"operating": 1.5}},
        )
        assert outcomes["a"] == Reply(True, time={"operating": 1.5})
        assert outcomes["b"] == Reply([{"ID": "1"}], total=70, next=50)
        error = outcomes["c"]
        assert isinstance(error, WorkflowError)
        assert (error.call, error.code, error.http_status) == ("bizproc.workflow.kill", "", None)
        assert error.text == "Der Workflow wurde nicht gefunden"

    def test_empty_maps_come_as_empty_lists(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(
            wire,
            result={"a": True, "b": [], "c": None},
            result_error=[],
            result_total=[],
            result_next=[],
            result_time=[],
        )
        assert outcomes == {"a": Reply(True), "b": Reply([]), "c": Reply(None)}

    def test_all_may_have_failed(self, wire: Bitrix24Wire) -> None:
        denied = {"error": "ACCESS_DENIED", "error_description": "Access denied!"}
        outcomes = self.read(wire, result=[], result_error={"a": denied, "b": denied, "c": denied})
        assert {type(outcome) for outcome in outcomes.values()} == {NotAdministratorError}

    def test_a_command_that_is_not_mentioned_has_an_unknown_outcome(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(wire, result={"a": True}, result_error={"b": {"error": "ACCESS_DENIED"}})
        assert outcomes["a"] == Reply(True)
        assert isinstance(outcomes["b"], NotAdministratorError)
        assert isinstance(outcomes["c"], UnreadableReplyError)
        assert "does not mention" in str(outcomes["c"])

    def test_outcomes_that_nobody_asked_for_are_left_out(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(wire, result={"a": True, "b": [], "c": True, "d": True}, result_error={"e": {}})
        assert set(outcomes) == {"a", "b", "c"}

    def test_an_error_counts_more_than_a_result_of_the_same_command(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(wire, result={"a": None, "b": [], "c": True}, result_error={"a": {"error": "0"}})
        assert isinstance(outcomes["a"], FlowError)

    def test_one_methods_block_leaves_the_others_alone(self, wire: Bitrix24Wire) -> None:
        blocked = {"error": "OPERATION_TIME_LIMIT", "error_description": "Method is blocked"}
        outcomes = self.read(wire, result={"b": []}, result_error={"a": blocked, "c": blocked})
        assert isinstance(outcomes["a"], OperatingTimeLimitError)
        assert outcomes["b"] == Reply([])

    @pytest.mark.parametrize("entry", ["Access denied!", None, [], 7, {}, {"error_description": "no"}])
    def test_an_error_of_an_unknown_shape_is_an_error_of_that_command_only(
        self, wire: Bitrix24Wire, entry: Any
    ) -> None:
        outcomes = self.read(wire, result={"b": [], "c": True}, result_error={"a": entry})
        assert isinstance(outcomes["a"], RejectedError)
        assert outcomes["c"] == Reply(True)

    def test_a_count_that_is_no_number_spoils_that_command_only(self, wire: Bitrix24Wire) -> None:
        outcomes = self.read(wire, result={"a": True, "b": [], "c": True}, result_total={"b": "many"})
        assert isinstance(outcomes["b"], UnreadableReplyError)
        assert outcomes["a"] == Reply(True)

    @pytest.mark.parametrize("result", [True, None, "", [], ["a"]])
    def test_a_reply_without_parts_leaves_all_unknown(self, wire: Bitrix24Wire, result: Any) -> None:
        assert isinstance(failure(wire, self.BATCH, response({"result": result})), UnknownOutcomeError)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [("ERROR_BATCH_LENGTH_EXCEEDED", BatchError), ("ERROR_BATCH_METHOD_NOT_ALLOWED", BatchError)],
    )
    def test_a_command_may_be_refused_as_part_of_a_batch(
        self, wire: Bitrix24Wire, code: str, kind: type[ApiError]
    ) -> None:
        outcomes = self.read(wire, result={"b": [], "c": True}, result_error={"a": {"error": code}})
        assert type(outcomes["a"]) is kind

    def test_the_whole_batch_may_be_refused(self, wire: Bitrix24Wire) -> None:
        error = failure(wire, self.BATCH, response({"error": "QUERY_LIMIT_EXCEEDED"}, 503))
        assert type(error) is RateLimitError
        assert error.call == "batch"


class TestRefusal:
    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "", WorkflowError),
            (400, "0", FlowError),
            (400, 0, FlowError),
            (200, "", WorkflowError),
            (200, "0", FlowError),
            (403, "ACCESS_DENIED", NotAdministratorError),
        ],
    )
    def test_the_key_error_decides_not_whether_its_value_looks_like_one(
        self, wire: Bitrix24Wire, status: int, code: Any, kind: type[ApiError]
    ) -> None:
        error = failure(wire, KILL, response({"error": code, "error_description": "Zugriff verweigert!"}, status))
        assert type(error) is kind
        assert (error.code, error.http_status, error.text) == (str(code), status, "Zugriff verweigert!")

    def test_an_error_beats_a_result(self, wire: Bitrix24Wire) -> None:
        assert type(failure(wire, KILL, response({"result": True, "error": "0"}))) is FlowError

    def test_a_refusal_needs_no_description(self, wire: Bitrix24Wire) -> None:
        error = failure(wire, KILL, response({"error": ""}, 400))
        assert error.text is None
        assert str(error).startswith("bizproc.workflow.kill: HTTP 400, error code ''")

    @pytest.mark.parametrize("code", ["", "0"])
    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_an_empty_code_on_a_server_error_does_not_say_that_nothing_was_done(
        self, wire: Bitrix24Wire, code: str, status: int
    ) -> None:
        assert type(failure(wire, KILL, response({"error": code}, status))) is ServerError

    @pytest.mark.parametrize("value", [None, ["x"], {"code": "ACCESS_DENIED", "message": "no"}])
    def test_an_error_of_another_shape_is_still_an_error(self, wire: Bitrix24Wire, value: Any) -> None:
        error = failure(wire, KILL, response({"error": value, "result": True}, 400))
        assert isinstance(error, InvalidCallError)

    def test_a_text_that_repeats_the_credential_is_redacted(self, wire: Bitrix24Wire) -> None:
        echo = f"Invalid URL /rest/17/{CODE}/bizproc.workflow.kill"
        error = failure(wire, KILL, response({"error": f"BAD {CODE}", "error_description": echo}, 400))
        assert error.text == "Invalid URL /rest/17/***/bizproc.workflow.kill"
        assert error.code == "BAD ***"


HTML = b"<html><head><title>nginx</title></head><body>" + CODE.encode() + b"</body></html>"
NOT_AN_OBJECT = {
    "HTML": HTML,
    "cut JSON": b'{"result": {"resu',
    "nothing": b"",
    "a list": b"[1, 2]",
    "a text": b'"ok"',
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
            (500, ServerError),
            (502, ServerError),
            (504, ServerError),
            (429, RateLimitError),
        ],
    )
    def test_the_status_decides(self, wire: Bitrix24Wire, status: int, kind: type[ApiError]) -> None:
        for content in NOT_AN_OBJECT.values():
            error = failure(wire, KILL, response(content, status))
            assert type(error) is kind, content
            assert (error.code, error.http_status) == (None, status)

    def test_the_page_itself_is_not_shown(self, wire: Bitrix24Wire) -> None:
        error = failure(wire, KILL, response(HTML, 502))
        assert error.message == "bizproc.workflow.kill: HTTP 502, the reply is not a JSON object."

    @pytest.mark.parametrize("status", [200, 201, 204])
    def test_an_object_that_is_no_envelope_leaves_the_outcome_unknown(self, wire: Bitrix24Wire, status: int) -> None:
        assert type(failure(wire, KILL, response({"status": "ok"}, status))) is UnreadableReplyError

    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_a_result_with_a_bad_status_is_no_success(self, wire: Bitrix24Wire, status: int) -> None:
        failure(wire, KILL, response({"result": True}, status))


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_the_new_host_is_named_but_not_the_path_which_repeats_the_code(
        self, wire: Bitrix24Wire, status: int
    ) -> None:
        location = f"https://new.bitrix24.com/rest/17/{CODE}/bizproc.workflow.kill?auth={CODE}"
        error = failure(wire, KILL, response(b"", status, Location=location))
        assert type(error) is PortalMovedError
        assert isinstance(error, RejectedError)
        assert error.text == "redirected to new.bitrix24.com"
        assert 'set "Portal host" in the connection to the new name' in str(error)

    @pytest.mark.parametrize(
        "location",
        ["", f"/rest/17/{CODE}/bizproc.workflow.kill", f"https://[{CODE}/x", f"rest/{CODE}", f"https:///{CODE}"],
    )
    def test_an_address_without_host_is_not_shown_at_all(self, wire: Bitrix24Wire, location: str) -> None:
        error = failure(wire, KILL, response(b"", 302, Location=location))
        assert error.text == "redirected to an unnamed host"

    def test_no_address_at_all_is_a_redirect_too(self, wire: Bitrix24Wire) -> None:
        assert type(failure(wire, KILL, response(HTML, 302))) is PortalMovedError

    def test_user_and_port_of_the_new_address_are_not_shown(self, wire: Bitrix24Wire) -> None:
        error = failure(wire, KILL, response(b"", 302, Location=f"https://user:{CODE}@new.example:8443/x"))
        assert error.text == "redirected to new.example"


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (503, {"error": "QUERY_LIMIT_EXCEEDED"}, RateLimitError),
            (429, {"error": "OPERATION_TIME_LIMIT"}, OperatingTimeLimitError),
            (429, HTML, RateLimitError),
            (502, HTML, ServerError),
            (500, {"error": "INTERNAL_SERVER_ERROR"}, ServerError),
        ],
    )
    def test_it_is_heard_whatever_the_reply_is(
        self, wire: Bitrix24Wire, status: int, body: Any, kind: type[ApiError]
    ) -> None:
        answer = response(body, status)
        error = failure(wire, KILL, Response(status, {"Retry-After": "17"}, answer.content))
        assert (type(error), error.retry_after) == (kind, 17.0)

    def test_it_is_not_there_usually(self, wire: Bitrix24Wire) -> None:
        assert failure(wire, KILL, response({"error": "QUERY_LIMIT_EXCEEDED"}, 503)).retry_after is None


class TestNumbers:
    """The limits live on them: only what is a number, and can be, comes through."""

    def times(self, wire: Bitrix24Wire, **told: Any) -> Any:
        return wire.result(KILL, response({"result": True, "time": told})).time

    @pytest.mark.parametrize("name", ["operating", "operating_reset_at", "duration"])
    @pytest.mark.parametrize("value", ["abc", "x", None, [], {}, -1, 1e300, "1e300", "nan", "inf", 10**400, ""])
    def test_a_time_that_cannot_be_counts_as_not_told(self, wire: Bitrix24Wire, name: str, value: Any) -> None:
        assert self.times(wire, **{name: value, "finish": 1.7e9}) == {"finish": 1.7e9}

    def test_numbers_may_come_as_texts(self, wire: Bitrix24Wire) -> None:
        assert self.times(wire, operating="1.5", date_start="2026-01-01") == {"operating": 1.5}

    @pytest.mark.parametrize("field", ["total", "next"])
    @pytest.mark.parametrize("value", [10**12, -50, 10**400, 1.5, "1e400"])
    def test_more_rows_than_any_portal_has_is_no_count(self, wire: Bitrix24Wire, field: str, value: Any) -> None:
        assert type(failure(wire, LIST, response({"result": [], field: value}))) is UnreadableReplyError

    def test_a_command_with_such_a_count_is_an_error_of_its_own(self, wire: Bitrix24Wire) -> None:
        batch = calls.batch({"a": LIST, "b": KILL})
        parts = {"result": {"a": [], "b": True}, "result_total": {"a": 10**12}}
        outcomes = wire.result(batch, response({"result": parts})).result
        assert type(outcomes["a"]) is UnreadableReplyError
        assert outcomes["b"] == Reply(True)
