"""Bitrix24's error codes as typed errors (API pages' "Statuses and System Error Codes", and each method's own)."""

from __future__ import annotations

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
    class_by_status,
)


class OperatingTimeLimitError(NotProcessedError):
    """The method used up its execution time on this portal; it is blocked for minutes."""

    advice = "The portal blocks this method for up to ten minutes; other methods are not affected."


class OverloadError(RejectedError):
    """Bitrix24's staff blocked the REST API of this portal by hand."""

    advice = "Only Bitrix24's support can lift this block."


class TokenExpiredError(AuthenticationError):
    """The access token has expired."""

    advice = (
        "Put a fresh access token into the connection, or use an incoming webhook, or a local application, "
        "whose tokens are renewed."
    )


class RenewedTokenRefusedError(TokenExpiredError):
    """A local application's access token was renewed, and the portal refuses the new ones as well."""

    retry_helps = True
    advice = (
        "Nothing was done, and a retry renews the token again; if that is refused too, see whether the application "
        "is still installed on this portal."
    )


class AuthorizeAgainError(AuthenticationError):
    """No stored token works, and only a person can authorise the connection again."""

    advice = "Authorise the connection (again): python -m airflow_provider_workflows authorize <connection id>."


class RefreshTokenError(AuthenticationError):
    """The token server does not accept a refresh token, or a code."""

    advice = "A code works once, for 30 seconds; authorise the connection again."


class TokenServerError(NotProcessedError):
    """The token server did not answer, so there is no token to call with."""

    advice = "The call was not sent; a retry sends it. Check that workers reach the token server."


class TokenStoreError(NotProcessedError):
    """The store of the tokens is not available, so there is no token to call with."""

    advice = "The call was not sent; a retry sends it. Check that workers reach the store."


class TokenCheckError(NotProcessedError):
    """CONNECTION_ERROR: the portal could not ask the token server whether the access token is good."""

    advice = "Nothing was done, and new tokens would not help; a retry sends it again."


class ScopeError(AccessDeniedError):
    """The webhook or token lacks the scope of the method."""

    advice = "Add 'bizproc' (workflows), 'task' (flows), 'user' (employees) or 'im' (messages) to the webhook's scopes."


class ConfirmationError(AccessDeniedError):
    """A person must allow this call in the portal first."""

    advice = "An administrator must confirm the call in the portal."


class NotAdministratorError(AccessDeniedError):
    """ACCESS_DENIED: the credential's user is not an administrator, or the portal's plan has no REST API."""

    advice = (
        "Either the credential's user is not an administrator of the portal (for flows: not the flow's "
        "creator), or the portal's plan has no REST API."
    )


class MethodNotFoundError(RejectedError):
    """The portal does not know the method."""

    advice = "The portal's plan or edition may lack workflows (or flows), or the webhook lacks the scope."


class PortalDeletedError(RejectedError):
    """The portal is deleted or closed to the public."""

    advice = "Ask the portal's administrator whether it still exists and is open."


class PortalMovedError(RedirectedError):
    """The portal was renamed: it answers with a redirect to its new host."""

    advice = 'If the portal was renamed, set "Portal host" in the connection to the new name.'


class HttpsRequiredError(InvalidCallError):
    """INVALID_REQUEST: the portal takes HTTPS only."""

    advice = 'Set "Scheme" in the connection to https.'


class WorkflowIdError(InvalidCallError):
    """ERROR_WRONG_WORKFLOW_ID: an empty or malformed workflow or template id."""

    advice = "Compare the id with those that ListWorkflowsOperator returns, or with the template's in the portal."


class WorkflowError(RejectedError):
    """HTTP 400 with an empty code: the workflow engine refused; only the text, in the portal's language, says why."""


class DocumentLimitError(NotProcessedError):
    """A start was refused because the document has as many workflows as it may have; nothing was started."""

    advice = (
        "A CRM item takes two workflows at once in Bitrix24's cloud; the start can succeed when one of them has ended. "
        "If it is refused then as well, the template may not suit the document."
    )


class FlowError(RejectedError):
    """HTTP 400 with code "0": every refusal of the flow methods."""

    advice = (
        "The flow may not exist, the credential's user may be neither its creator nor an administrator, "
        "or the portal's plan may have no flows."
    )


class BatchError(InvalidCallError):
    """The portal did not take a command as part of a batch."""

    advice = "Report this: no operator sends such a command."


CODES: dict[str, type[ApiError]] = {
    "query_limit_exceeded": RateLimitError,
    "operation_time_limit": OperatingTimeLimitError,
    "overload_limit": OverloadError,
    "internal_server_error": ServerError,
    "error_unexpected_answer": ServerError,
    "expired_token": TokenExpiredError,
    "invalid_token": TokenExpiredError,
    "connection_error": TokenCheckError,
    "no_auth_found": AuthenticationError,
    "authorization_error": AuthenticationError,
    "application_not_found": AuthenticationError,
    "error_oauth": AuthenticationError,
    "not_installed": AuthenticationError,
    "payment_required": AuthenticationError,
    "wrong_client": AuthenticationError,
    "invalid_client": AuthenticationError,
    "invalid_grant": AuthenticationError,
    "invalid_credentials": AccessDeniedError,
    "access_denied": NotAdministratorError,
    "access_error": AccessDeniedError,
    "user_access_error": AccessDeniedError,
    "wrong_auth_type": AccessDeniedError,
    "allowed_only_intranet_user": AccessDeniedError,
    "insufficient_scope": ScopeError,
    "invalid_scope": ScopeError,
    "method_confirm_waiting": ConfirmationError,
    "method_confirm_denied": ConfirmationError,
    "error_method_not_found": MethodNotFoundError,
    "error_manifest_is_not_available": RejectedError,
    "portal_deleted": PortalDeletedError,
    "invalid_request": HttpsRequiredError,
    "error_argument": InvalidCallError,
    "error_core": ServerError,
    "invalid_arg_value": InvalidCallError,
    "wrong_encoding": InvalidCallError,
    "error_wrong_workflow_id": WorkflowIdError,
    "error_batch_method_not_allowed": BatchError,
    "error_batch_length_exceeded": BatchError,
    "": WorkflowError,
    "0": FlowError,
}


def error_class(code: str | None, http_status: int) -> type[ApiError]:
    """Return the class of an error, by its code where that is known, else by the HTTP status.

    :param code: Bitrix24's error code in any case; ``None`` if the reply had none.
    :param http_status: HTTP status.
    """
    # Codes "" and "0" are refusals only with a 400: on a 500 they say nothing about what was done.
    if code is not None and not (code in {"", "0"} and http_status >= 500):
        known = CODES.get(code.lower())
        if known:
            return known
    return MethodNotFoundError if http_status == 404 else class_by_status(http_status)


class NotDeliveredError(RejectedError):
    """A notification or message that the portal accepted, and delivered to nobody."""

    advice = "There may be no person with this id on the portal, or they do not take notifications from applications."


class FlowNotReachedError(ApiError):
    """A flow is not in the wanted state after several attempts."""

    retry_helps = True
    advice = "Find out what else changes this flow at the same time."
