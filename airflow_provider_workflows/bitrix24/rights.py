"""What a credential may do, found out without asking for more than it has."""

from __future__ import annotations

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.errors import ScopeError
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, send


def describe_rights() -> Plan[str]:
    """Return in a sentence or two what the credential may do. Every call is sent once.

    Its scopes are read, which needs none; running workflows are listed only where the scope for that is among them, as
    a webhook that switches flows needs no other scope.

    :raises ApiError: if the credential is refused, or may do nothing of use here.
    """
    call = calls.list_scopes()
    reply: Reply = yield from send(call, attempts=1)
    if not isinstance(reply.result, list):
        raise UnreadableReplyError(str(call), text="the reply is not the list it should be")
    if not {"bizproc", "task"} & {*map(str, reply.result)}:
        raise ScopeError(str(call), text="the credential has neither the scope 'bizproc' nor the scope 'task'")
    workflows = "cannot be seen, for lack of the scope 'bizproc'"
    if "bizproc" in reply.result:
        listed: Reply = yield from send(calls.list_workflows(select=["ID"]), attempts=1)
        workflows = f"can be listed, started and ended ({listed.total} are running)"
    flows = "can be switched" if "task" in reply.result else "cannot be switched, for lack of the scope 'task'"
    return f"workflows {workflows}; its user's flows {flows}"
