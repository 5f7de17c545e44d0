"""Checks of a Domo account and its token, which only read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.rest.errors import AccessDeniedError
from airflow_provider_workflows.rest.findings import Finding, text_of
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.redaction import escape_controls

#: Rights of a model with which its workflow may be started.
STARTS = {"EXECUTE", "ADMIN"}


def check_account(model_id: str | None = None) -> Plan[list[Finding]]:
    """Check a token; each request is sent once.

    :param model_id: a workflow model whose rights are looked at too, as Domo gives rights on each workflow.
    :raises ApiError: if the token does not work.
    """
    user: Mapping[str, Any] = yield calls.get_current_user()
    user_id = str(user.get("id"))
    name = escape_controls(str(user.get("displayName") or user_id))
    found = [Finding("credential", "ok", f"the token is {name}'s")]
    if model_id is None:
        return found
    return [*found, (yield from _rights(model_id, user_id)), (yield from _runs(model_id))]


def _rights(model_id: str, user_id: str) -> Plan[Finding]:
    """Check whether the token's user may start the model. Whether they may cancel its runs cannot be read."""
    try:
        rights: Mapping[str, Any] = yield calls.get_permissions(model_id)
    except NotFoundError as error:
        return Finding("model", "defect", text_of(error))
    except AccessDeniedError as error:
        return Finding("model", "warning", f"its rights may not be read: {error.message}")
    rows = rights.get("USER")
    own = {
        str(right)
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping) and str(row.get("id")) == user_id and isinstance(row.get("permissions"), list)
        for right in row["permissions"]
    }
    if own & STARTS:
        return Finding("model", "ok", "the token's user may start it; cancelling needs 'Edit Execution Details' too")
    text = "the token's user has no right of their own to start it. "
    return Finding("model", "warning", f"{text}Unless a group of theirs has it, give them 'Execute' on the workflow.")


def _runs(model_id: str) -> Plan[Finding]:
    try:
        yield calls.list_instances(model_id, limit=1)
    except (AccessDeniedError, NotFoundError) as error:
        text = f"its runs may not be listed, so a start whose reply is lost cannot be looked for: {error.message}"
        return Finding("runs", "warning", text)
    return Finding("runs", "ok", "the model's runs can be listed")
