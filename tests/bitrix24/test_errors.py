from __future__ import annotations

import pickle
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import errors
from airflow_provider_workflows.bitrix24.errors import CODES, error_class
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    InvalidCallError,
    NotConnectedError,
    NotProcessedError,
    RateLimitError,
    RejectedError,
    ReplyLostError,
    ServerError,
    UnknownOutcomeError,
    UnreadableReplyError,
)

REFUSED, UNKNOWN, REJECTED = NotProcessedError, UnknownOutcomeError, RejectedError

#: HTTP status and code as the API pages give them; the class; what it means for sending the call again; a word of
#: what the reader is told to do.
DOCUMENTED: list[tuple[int, str, type[ApiError], type[ApiError], str]] = [
    (500, "INTERNAL_SERVER_ERROR", ServerError, UNKNOWN, ""),
    (500, "ERROR_UNEXPECTED_ANSWER", ServerError, UNKNOWN, ""),
    (503, "QUERY_LIMIT_EXCEEDED", RateLimitError, REFUSED, "run fewer tasks at once"),
    (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", errors.BatchError, REJECTED, ""),
    (400, "ERROR_BATCH_LENGTH_EXCEEDED", errors.BatchError, REJECTED, ""),
    (401, "NO_AUTH_FOUND", AuthenticationError, REJECTED, "Check the credential"),
    (400, "INVALID_REQUEST", errors.HttpsRequiredError, REJECTED, '"Scheme" in the connection to https'),
    (503, "OVERLOAD_LIMIT", errors.OverloadError, REJECTED, "Only Bitrix24's support"),
    (403, "ACCESS_DENIED", errors.NotAdministratorError, REJECTED, "not an administrator"),
    (403, "INVALID_CREDENTIALS", AccessDeniedError, REJECTED, ""),
    (404, "ERROR_MANIFEST_IS_NOT_AVAILABLE", RejectedError, REJECTED, ""),
    (403, "insufficient_scope", errors.ScopeError, REJECTED, "Add 'bizproc'"),
    (401, "expired_token", errors.TokenExpiredError, REJECTED, "fresh access token"),
    (403, "user_access_error", AccessDeniedError, REJECTED, ""),
    (500, "PORTAL_DELETED", errors.PortalDeletedError, REJECTED, "still exists"),
    # Of the methods' own pages
    (400, "ERROR_WRONG_WORKFLOW_ID", errors.WorkflowIdError, REJECTED, ""),
    (400, "", errors.WorkflowError, REJECTED, ""),
    (400, "0", errors.FlowError, REJECTED, "may not exist"),
    (200, "0", errors.FlowError, REJECTED, "may not exist"),
    # Of the pages on limits, OAuth and confirmation
    (429, "OPERATION_TIME_LIMIT", errors.OperatingTimeLimitError, REFUSED, "blocks this method"),
    (401, "METHOD_CONFIRM_WAITING", errors.ConfirmationError, REJECTED, "must confirm"),
    (403, "METHOD_CONFIRM_DENIED", errors.ConfirmationError, REJECTED, "must confirm"),
    (400, "invalid_grant", AuthenticationError, REJECTED, "Check the credential"),
    (200, "WRONG_CLIENT", AuthenticationError, REJECTED, "Check the credential"),
    # Known to the official SDKs only
    (401, "INVALID_TOKEN", errors.TokenExpiredError, REJECTED, "fresh access token"),
    (401, "CONNECTION_ERROR", errors.TokenCheckError, REFUSED, "a retry sends it again"),
    (401, "authorization_error", AuthenticationError, REJECTED, "Check the credential"),
    (401, "APPLICATION_NOT_FOUND", AuthenticationError, REJECTED, "Check the credential"),
    (401, "ERROR_OAUTH", AuthenticationError, REJECTED, "Check the credential"),
    (401, "NOT_INSTALLED", AuthenticationError, REJECTED, "Check the credential"),
    (401, "PAYMENT_REQUIRED", AuthenticationError, REJECTED, "Check the credential"),
    (403, "ACCESS_ERROR", AccessDeniedError, REJECTED, ""),
    (403, "WRONG_AUTH_TYPE", AccessDeniedError, REJECTED, ""),
    (403, "allowed_only_intranet_user", AccessDeniedError, REJECTED, ""),
    (404, "ERROR_METHOD_NOT_FOUND", errors.MethodNotFoundError, REJECTED, "lack workflows"),
    (400, "ERROR_ARGUMENT", InvalidCallError, REJECTED, ""),
    (400, "INVALID_ARG_VALUE", InvalidCallError, REJECTED, ""),
    (400, "WRONG_ENCODING", InvalidCallError, REJECTED, ""),
    # An exception in the portal's core: whatever ran before it stays done
    (400, "ERROR_CORE", ServerError, UNKNOWN, ""),
    (500, "ERROR_CORE", ServerError, UNKNOWN, ""),
    (403, "PORTAL_DELETED", errors.PortalDeletedError, REJECTED, "still exists"),
    (410, "PORTAL_DELETED", errors.PortalDeletedError, REJECTED, "still exists"),
]
#: Replies with no code, or one that nobody knows.
BY_STATUS: list[tuple[int, type[ApiError], type[ApiError]]] = [
    (200, UnreadableReplyError, UNKNOWN),
    (201, UnreadableReplyError, UNKNOWN),
    (204, UnreadableReplyError, UNKNOWN),
    (400, InvalidCallError, REJECTED),
    (401, AuthenticationError, REJECTED),
    (403, AccessDeniedError, REJECTED),
    (404, errors.MethodNotFoundError, REJECTED),
    (405, RejectedError, REJECTED),
    (410, RejectedError, REJECTED),
    (429, RateLimitError, REFUSED),
    (500, ServerError, UNKNOWN),
    (502, ServerError, UNKNOWN),
    (503, ServerError, UNKNOWN),
    (504, ServerError, UNKNOWN),
    (521, ServerError, UNKNOWN),
]


def means(kind: type[ApiError]) -> list[type[ApiError]]:
    return [meaning for meaning in (REFUSED, UNKNOWN, REJECTED) if issubclass(kind, meaning)]


class TestCodes:
    @pytest.mark.parametrize(("status", "code", "kind", "meaning", "advice"), DOCUMENTED)
    def test_each_has_its_class_and_says_what_was_called_what_came_and_what_to_do(
        self, status: int, code: str, kind: type[ApiError], meaning: type[ApiError], advice: str
    ) -> None:
        assert error_class(code, status) is kind
        assert means(kind) == [meaning]
        assert kind.retry_helps is (meaning is not REJECTED)
        error = made(kind, status, code)
        *first, told = str(error).splitlines()
        assert told.startswith(f"bizproc.workflow.kill: HTTP {status}, error code {code!r}, Zugriff verweigert!")
        assert first == [kind.advice] * bool(kind.advice)
        assert advice in kind.advice
        assert told.endswith(f" See {error.docs}")
        assert error.message == " ".join([told.removesuffix(f" See {error.docs}"), *first])

    @pytest.mark.parametrize("spelled", [str.upper, str.lower, str.title])
    def test_they_come_in_any_case(self, spelled: Any) -> None:
        kinds = [kind for _, _, kind, *_ in DOCUMENTED]
        assert [error_class(spelled(code), status) for status, code, *_ in DOCUMENTED] == kinds

    def test_no_known_code_is_left_out_of_this_table(self) -> None:
        assert set(CODES) - {code.lower() for _, code, *_ in DOCUMENTED} == {
            # OAuth server's spellings of codes in the table
            "invalid_client",
            "invalid_scope",
        }

    @pytest.mark.parametrize("code", ["invalid_client", "invalid_scope"])
    def test_the_oauth_servers_codes_are_final(self, code: str) -> None:
        assert means(error_class(code, 400)) == [REJECTED]

    @pytest.mark.parametrize(("status", "kind", "meaning"), BY_STATUS)
    def test_the_status_decides_where_the_code_is_not_known(
        self, status: int, kind: type[ApiError], meaning: type[ApiError]
    ) -> None:
        assert {error_class(code, status) for code in (None, "SOMETHING_NEW", "error")} == {kind}
        assert means(kind) == [meaning]

    @pytest.mark.parametrize("code", ["", "0"])
    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_the_two_empty_looking_codes_say_nothing_on_a_server_error(self, status: int, code: str) -> None:
        assert error_class(code, status) is ServerError


def made(kind: type[ApiError], status: int | None, code: str | None) -> ApiError:
    return kind("bizproc.workflow.kill", code=code, http_status=status, text="Zugriff verweigert!", retry_after=300.0)


class TestWhatAnErrorSays:
    def test_the_reason_leaves_out_the_call(self) -> None:
        error = made(errors.WorkflowError, None, "")
        assert error.reason == "error code '', Zugriff verweigert!"
        assert error.message == f"bizproc.workflow.kill: {error.reason}"

    def test_an_error_with_nothing_to_tell_gives_its_own_name(self) -> None:
        assert ReplyLostError("batch").message == "batch: ReplyLostError."

    def test_a_full_stop_of_the_vendors_text_is_not_doubled(self) -> None:
        error = InvalidCallError("batch", text="No such thing.")
        assert error.message == "batch: No such thing."

    def test_the_scope_that_is_missing_may_be_either(self) -> None:
        said = str(errors.ScopeError("tasks.flow.Flow.get"))
        assert "'bizproc'" in said
        assert "'task'" in said


def every_error() -> list[type[ApiError]]:
    found: list[type[ApiError]] = []
    todo = [ApiError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


class TestPickle:
    """Airflow and process pools pass errors between processes."""

    def test_an_error_comes_out_as_it_went_in(self) -> None:
        for kind in every_error():
            error = kind("cancel", code="0", http_status=400, text="no", trace="T1", retry_after=3.0)
            copy = pickle.loads(pickle.dumps(error))  # noqa: S301
            assert type(copy) is kind
            assert vars(copy) == vars(error)
            assert vars(copy)["retry_after"] == 3.0
            assert str(copy) == str(error)

    def test_there_are_errors_to_try(self) -> None:
        assert {ApiError, NotConnectedError, errors.FlowNotReachedError} <= set(every_error())


def test_a_flow_that_something_else_keeps_switching_may_be_tried_again() -> None:
    assert errors.FlowNotReachedError.retry_helps
    assert "at the same time" in errors.FlowNotReachedError.advice
