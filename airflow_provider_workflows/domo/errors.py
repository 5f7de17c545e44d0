"""Domo's HTTP statuses as typed errors: the error body of its product APIs has no codes."""

from __future__ import annotations

from airflow_provider_workflows.rest.errors import AccessDeniedError, ApiError, RejectedError, class_by_status


class NotFoundError(RejectedError):
    """HTTP 404, which has two meanings."""

    advice = (
        "Either there is no such thing (for an instance: is it perhaps the model's id? Is the connection's "
        "extra.instance_path right?), or the token's user may not see it (permissions "
        "Execute, View Execution List and Edit Execution Details of the workflow)."
    )


class StartNotFoundError(NotFoundError):
    """HTTP 404 to a start, which has four meanings."""

    advice = (
        "Domo answers so if there is no model with this model_id, if this version of it is not deployed and active, "
        "if message_name is not the title of the model's Start shape (usually 'Start <workflow name>'), or if the "
        "token's user may not execute it."
    )


class BlockedError(AccessDeniedError):
    """Domo's allowlist blocks this worker's IP address."""

    advice = "Have a Domo administrator add the worker's outgoing IP address to the allowlist."


def error_class(http_status: int) -> type[ApiError]:
    """Return the class of an error.

    :param http_status: HTTP status.
    """
    return NotFoundError if http_status == 404 else class_by_status(http_status)
