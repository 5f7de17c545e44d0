"""Starting a workflow, once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.errors import StartUnclearError
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflow_ids
from airflow_provider_workflows.rest.errors import UnknownOutcomeError, UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, exponential_backoff, poll_until, send

log = logging.getLogger(__name__)

#: How often a start whose reply was lost is looked for: for about a minute, as the portal cuts a request at 60 s.
LOOKS = 7


@dataclass(frozen=True, slots=True)
class Start:
    """What to start, and on what.

    :param template_id: id of the template.
    :param document_id: module, document type and element, e.g. ``("crm", "CCrmDocumentLead", "LEAD_1")``.
    """

    template_id: int
    document_id: tuple[str, str, str]

    def alike(self, since: datetime | None = None) -> WorkflowFilter:
        """Return the filter of the running workflows of this template on this document.

        :param since: only those started then or later.
        """
        module_id, entity, element = self.document_id
        wanted = {"TEMPLATE_ID": self.template_id, "MODULE_ID": module_id, "ENTITY": entity, "DOCUMENT_ID": element}
        return WorkflowFilter.parse(wanted | ({">=STARTED": since} if since else {}))


def workflows_alike(start: Start, since: datetime | None = None) -> Plan[list[str]]:
    """Read the ids of the running workflows of a template on a document.

    :param start: the template and the document.
    :param since: only those started then or later.
    """
    return (yield from find_workflow_ids(start.alike(since)))


def start_workflow(start: Start, parameters: Mapping[str, Any] | None = None, known: Iterable[str] = ()) -> Plan[str]:
    """Start a workflow, once: the portal has no key by which it would know a repeat.

    After a lost reply it looks for the workflow that may have been started. It never sends the start again.

    :param start: the template and the document.
    :param parameters: the template's parameters.
    :param known: ids that :func:`workflows_alike` gave before.
    :returns: the workflow's id.
    :raises StartUnclearError: if the reply was lost, and not exactly one new workflow runs.
    """
    call = calls.start_workflow(start.template_id, start.document_id, parameters)
    try:
        reply: Reply = yield from send(call)
        if isinstance(reply.result, str) and reply.result:
            return reply.result
        raise UnreadableReplyError(call.method, text="the result is no workflow id")
    except UnknownOutcomeError as error:
        failure = error
    look = partial(find_started, start, known=known)
    found = yield from poll_until(look, exponential_backoff(LOOKS), "looking for the lost start")
    if found is None:
        raise StartUnclearError(failure.call, text=f"{failure.reason} No new workflow of this template runs.")
    log.warning("The reply to the start was lost; workflow %s is new since, and is taken for it", found)
    return found


def find_started(start: Start, *, known: Iterable[str] = (), since: datetime | None = None) -> Plan[str | None]:
    """Find the one running workflow of a template on a document that is new.

    :param start: the template and the document.
    :param known: ids that :func:`workflows_alike` gave before.
    :param since: only those started then or later.
    :raises StartUnclearError: if there are several.
    """
    before = set(known)
    found = [one for one in (yield from workflows_alike(start, since)) if one not in before]
    if len(found) > 1:
        raise StartUnclearError("bizproc.workflow.start", text=f"any of these may be it: {', '.join(found)}")
    return found[0] if found else None
