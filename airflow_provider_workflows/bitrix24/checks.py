"""Checks of a portal and its credential, which need no rights beyond those granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.rest.errors import ApiError, RejectedError, UnreadableReplyError
from airflow_provider_workflows.rest.findings import Finding, defect_of, text_of
from airflow_provider_workflows.rest.plans import Now, Plan
from airflow_provider_workflows.rest.redaction import escape_controls

#: What each scope is for.
SCOPES = {
    "bizproc": "workflows",
    "task": "flows",
    "user": "employees by their name",
    "im": "messages",
}
METHODS = {
    "bizproc": (
        "bizproc.workflow.instances",
        "bizproc.workflow.start",
        "bizproc.workflow.terminate",
        "bizproc.workflow.kill",
        "bizproc.task.list",
    ),
    "task": ("tasks.flow.flow.get", "tasks.flow.flow.activate", "tasks.flow.flow.update"),
}
#: Seconds by which two clocks may differ: more than a reply takes, less than anybody's workflows run.
CLOCK_TOLERANCE = 30.0
#: How many of the granted scopes are named: a webhook may have dozens that nothing here needs.
NAMED = 20


def check_portal() -> Plan[list[Finding]]:
    """Check a credential with two requests, each sent once.

    What needs no scope is read first. Running workflows are listed only where the scope for that is granted, as a
    webhook that switches flows needs no other.

    :raises ApiError: if nothing can be read with it.
    """
    reads = {"scopes": calls.list_scopes(), "profile": calls.get_profile(), "time": calls.get_server_time()}
    methods = {f"m{nth}": name for nth, name in enumerate(name for names in METHODS.values() for name in names)}
    began: float = yield Now()
    reply: Reply = yield calls.batch(reads | {key: calls.find_method(name) for key, name in methods.items()})
    middle = (began + (yield Now())) / 2
    results: Mapping[str, Reply | ApiError] = reply.result
    scopes = _scopes(results["scopes"])
    found = [_credential(results["profile"], scopes), _scopes_found(scopes)]
    known = {name: results[key] for key, name in methods.items()}
    found += [_methods(scope, known) for scope in METHODS if scope in scopes]
    if "bizproc" in scopes:
        found.append((yield from _workflows()))
    return [*found, _clock(results["time"], middle)]


def _scopes(outcome: Reply | ApiError) -> list[str]:
    if isinstance(outcome, ApiError):
        raise outcome
    if not isinstance(outcome.result, list):
        raise UnreadableReplyError("scope", text="the reply is not a list")
    return sorted(escape_controls(str(scope)) for scope in outcome.result)


def _scopes_found(scopes: Sequence[str]) -> Finding:
    granted = f"granted: {', '.join(scopes[:NAMED]) or 'none'}{' and more' if len(scopes) > NAMED else ''}"
    missing = [f"{scope} ({use})" for scope, use in SCOPES.items() if scope not in scopes]
    text = f"{granted}; missing: {', '.join(missing)}" if missing else granted
    if {"bizproc", "task"} & {*scopes}:
        return Finding("scopes", "ok", text)
    return Finding("scopes", "defect", f"{text}. Add 'bizproc' or 'task' to the webhook's (or application's) scopes.")


def _credential(outcome: Reply | ApiError, scopes: Sequence[str]) -> Finding:
    """Check whose credential it is, and whether that user is an administrator where one is needed."""
    if isinstance(outcome, ApiError):
        return defect_of(outcome)
    profile = outcome.result if isinstance(outcome.result, Mapping) else {}
    user = f"user {escape_controls(str(profile.get('ID')))}"
    if profile.get("ADMIN") is True:
        return Finding("administrator", "ok", f"{user} is an administrator")
    if "bizproc" not in scopes:
        return Finding("administrator", "ok", f"{user} is not an administrator; none is needed for flows they created")
    text = f"{user} is not an administrator, so workflows can be neither listed nor ended. "
    return Finding("administrator", "defect", f"{text}Have an administrator make the webhook (or authorise).")


def _methods(scope: str, known: Mapping[str, Reply | ApiError]) -> Finding:
    """Check whether the portal has the methods of a scope."""
    missing = [name for name in METHODS[scope] if not _available(known[name])]
    if not missing:
        return Finding("methods", "ok", f"all methods for {SCOPES[scope]} are available")
    text = f"not available: {', '.join(missing)}. "
    if scope == "bizproc":
        return Finding("methods", "defect", f"{text}The portal's plan or edition may lack workflows, or be outdated.")
    # The documentation does not say whether method.get knows methods of this newer kind.
    return Finding("methods", "warning", f"{text}The portal's plan may lack flows; read one to find out.")


def _available(outcome: Reply | ApiError) -> bool:
    result: Any = None if isinstance(outcome, ApiError) else outcome.result
    return isinstance(result, Mapping) and result.get("isExisting") is True and result.get("isAvailable") is True


def _workflows() -> Plan[Finding]:
    try:
        listed: Reply = yield calls.list_workflows(select=["ID"])
    except RejectedError as error:
        return Finding("workflows", "defect", text_of(error))
    except ApiError as error:
        return defect_of(error)
    return Finding("workflows", "ok", f"can be listed, started and ended ({listed.total} are running)")


def _clock(outcome: Reply | ApiError, now: float) -> Finding:
    """Compare the portal's clock with ours.

    :param now: the Unix time here when it was read, about.
    """
    try:
        theirs = datetime.fromisoformat(outcome.result).timestamp() if isinstance(outcome, Reply) else None
    except (TypeError, ValueError):
        theirs = None
    if theirs is None:
        return Finding("clock", "warning", f"the portal does not report its time: {_reason(outcome)}")
    ahead = theirs - now
    if abs(ahead) <= CLOCK_TOLERANCE:
        return Finding("clock", "ok", f"within {CLOCK_TOLERANCE:.0f} s of the portal's")
    text = f"the portal's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's. "
    return Finding("clock", "warning", f"{text}Filters go by the portal's clock: synchronise this machine's with NTP.")


def _reason(outcome: Reply | ApiError) -> str:
    return outcome.reason if isinstance(outcome, ApiError) else "server.time returned no ISO date"
