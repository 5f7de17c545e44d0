"""What is started in Bitrix24: a template, on a document. ``rest.start_once`` starts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Reply
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids
from airflow_provider_workflows.bitrix24.errors import DocumentLimitError, WorkflowError
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflow_ids, find_workflows, read_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.errors import ApiError, ArgumentError, UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan, send
from airflow_provider_workflows.rest.start_once import Candidate, ForeignIdError, check_inputs

#: What Bitrix24's workflow runtime reads for itself out of a workflow's parameters, in exactly this case: who starts
#: it, which id it has, whether it goes beyond the limit of workflows on a document, and the like.
RUNTIME_KEYS = frozenset(
    {
        "TargetUser",
        "ModifiedDocumentField",
        "UseForcedTracking",
        "IgnoreSimultaneousProcessesLimit",
        "DocumentEventType",
        "__DocumentType",
        "PreGeneratedWorkflowId",
    }
)
#: As many workflows may run at once on a CRM item in Bitrix24's cloud; portals that were customers before May 2017, and
#: self-hosted ones, may have more.
DOCUMENT_LIMIT = 2


def check_names(parameters: Iterable[str]) -> None:
    """Check the names of a template's parameters.

    :raises ArgumentError: if one is the runtime's own.
    """
    for name in parameters:
        if name in RUNTIME_KEYS:
            raise ArgumentError(
                f"parameters: {name!r} is reserved: Bitrix24's workflow runtime reads it for itself. "
                "Leave it out, or give the template's parameter another name"
            )


@dataclass(slots=True)
class StartRequest:
    """A template to start on a document. Its target are both: a document may have several workflows of a template.

    :param template_id: id of the template.
    :param document_id: module, document type and element, e.g. ``("crm", "CCrmDocumentLead", "LEAD_1")``.
    :param parameters: the template's parameters.
    :raises ArgumentError: if a parameter has a name that the portal's runtime reads for itself, or is no JSON.
    """

    template_id: int
    document_id: tuple[str, str, str]
    parameters: Mapping[str, Any] | None = field(default=None, repr=False)
    #: Ids of the workflows that ran on the document before the start.
    _before: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.parameters is not None:
            check_inputs(self.parameters, "parameters")
            check_names(self.parameters)

    @property
    def name(self) -> str:
        """The method."""
        return "bizproc.workflow.start"

    def same_target(self, since: datetime | None = None) -> WorkflowFilter:
        """Return the filter of the running workflows of this template on this document.

        :param since: only those started then or later.
        """
        return self._on_document(**{"TEMPLATE_ID": self.template_id} | ({">=STARTED": since} if since else {}))

    def _on_document(self, **wanted: Any) -> WorkflowFilter:
        module_id, entity, element = self.document_id
        return WorkflowFilter.parse(wanted | {"MODULE_ID": module_id, "ENTITY": entity, "DOCUMENT_ID": element})

    def existing(self) -> Plan[list[str]]:
        """Read the ids of the running workflows on this document, of this template and of others."""
        self._before = yield from find_workflow_ids(self._on_document())
        return self._before

    def start(self) -> Plan[str]:
        """Start it, and return the workflow's id. A start whose reply is lost is not sent again.

        :raises DocumentLimitError: if it was refused, and as many workflows ran on the document as may.
        """
        try:
            reply: Reply = yield from send(calls.start_workflow(self.template_id, self.document_id, self.parameters))
        except WorkflowError as error:
            yield from self._check_place(error)
            raise
        if isinstance(reply.result, str) and reply.result:
            return reply.result
        raise UnreadableReplyError(self.name, text="the result is no workflow id")

    def _check_place(self, refusal: WorkflowError) -> Plan[None]:
        """Raise ``DocumentLimitError`` if the start was refused because the document has too many workflows."""
        try:
            after = yield from find_workflow_ids(self._on_document())
        except ApiError:
            return
        # One that had the place may have ended between the refusal and this reading.
        around = {*self._before, *after}
        if len(around) >= DOCUMENT_LIMIT:
            text = f"{len(around)} workflows ran on this document. The portal says: {refusal.text}"
            raise DocumentLimitError(self.name, code=refusal.code, http_status=refusal.http_status, text=text) from None

    def find_new(self, known: Iterable[str], since: datetime | None) -> Plan[list[Candidate]]:
        """Read the running workflows of this template on this document, except what is known or older."""
        before = set(known)
        running = yield from find_workflows(self.same_target(since), _as_candidate)
        return [one for one in running.values() if one.id not in before]

    def reconnect(self, id: str) -> Plan[bool]:
        """Go on with a workflow that was started, also if it has ended: the portal does not say how."""
        target = self.same_target()
        running = yield from read_workflows(check_workflow_ids([id]), target.matches)
        if not all(running.values()):
            raise ForeignIdError(self.name, text=f"workflow {id} is of another template or document")
        return True


def _as_candidate(workflow: Workflow) -> Candidate:
    return Candidate(workflow.id, f"started {workflow.started} by user {workflow.started_by}")
