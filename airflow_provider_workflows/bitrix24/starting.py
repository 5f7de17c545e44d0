"""What is started in Bitrix24: a template, on a document. ``rest.start_once`` starts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflow_ids, find_workflows, read_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, send
from airflow_provider_workflows.rest.start_once import Candidate, ForeignIdError


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A template to start on a document. Its target are both: a document may have several workflows of a template.

    :param template_id: id of the template.
    :param document_id: module, document type and element, e.g. ``("crm", "CCrmDocumentLead", "LEAD_1")``.
    :param parameters: the template's parameters.
    """

    template_id: int
    document_id: tuple[str, str, str]
    parameters: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The method."""
        return "bizproc.workflow.start"

    def same_target(self, since: datetime | None = None) -> WorkflowFilter:
        """Return the filter of the running workflows of this template on this document.

        :param since: only those started then or later.
        """
        module_id, entity, element = self.document_id
        wanted = {"TEMPLATE_ID": self.template_id, "MODULE_ID": module_id, "ENTITY": entity, "DOCUMENT_ID": element}
        return WorkflowFilter.parse(wanted | ({">=STARTED": since} if since else {}))

    def existing(self) -> Plan[list[str]]:
        """Read the ids of the running workflows of this template on this document."""
        return (yield from find_workflow_ids(self.same_target()))

    def start(self) -> Plan[str]:
        """Start it, and return the workflow's id. A start whose reply is lost is not sent again."""
        reply: Reply = yield from send(calls.start_workflow(self.template_id, self.document_id, self.parameters))
        if isinstance(reply.result, str) and reply.result:
            return reply.result
        raise UnreadableReplyError(self.name, text="the result is no workflow id")

    def find_new(self, known: Iterable[str], since: datetime | None) -> Plan[list[Candidate]]:
        """Read the running workflows of this template on this document, except what is known or older."""
        before = set(known)
        running = yield from find_workflows(self.same_target(since), _as_candidate)
        return [one for one in running.values() if one.id not in before]

    def reconnect(self, id: str) -> Plan[bool]:
        """Go on with a workflow that was started, also if it has ended: the portal does not tell how."""
        target = self.same_target()
        running = yield from read_workflows(check_workflow_ids([id]), target.matches)
        if not all(running.values()):
            raise ForeignIdError(self.name, text=f"workflow {id} is of another template or document")
        return True


def _as_candidate(workflow: Workflow) -> Candidate:
    return Candidate(workflow.id, f"started {workflow.started} by user {workflow.started_by}")
