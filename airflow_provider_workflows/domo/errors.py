"""Domo's HTTP statuses as typed errors: the error body of its product APIs has no codes."""

from __future__ import annotations

from airflow_provider_workflows.rest.errors import AccessDeniedError, ApiError, RejectedError, class_by_status


class NotFoundError(RejectedError):
    """HTTP 404: there is no such thing, or the token's user may not see it."""

    advice = (
        "There is no such thing, or the token's user may not see it. Check the id (for an instance: not its model's, "
        "and extra.instance_path of the connection), and the user's permissions on the workflow (Execute, View "
        "Execution List, Edit Execution Details)."
    )


class StartNotFoundError(NotFoundError):
    """HTTP 404 to a start: no such model, version or Start shape, or the token's user may not execute it."""

    advice = (
        "Check that there is a model with this model_id, that this version of it is deployed and active, that "
        "message_name is the title of its Start shape (usually 'Start <workflow name>'), and that the token's user may "
        "execute it."
    )


class BlockedError(AccessDeniedError):
    """Domo's allowlist blocks this worker's IP address."""

    advice = "Have a Domo administrator add the worker's outgoing IP address to the allowlist."


def error_class(http_status: int) -> type[ApiError]:
    """Return the class of an error.

    :param http_status: HTTP status.
    """
    return NotFoundError if http_status == 404 else class_by_status(http_status)
