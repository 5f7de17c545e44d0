"""The operator that starts a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids, end_workflows
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.bitrix24.starting import StartRequest, check_names
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.plans import TOLERANCE, Plan
from airflow_provider_workflows.rest.start_once import check_inputs
from airflow_provider_workflows.tasks.arguments import as_document_id, as_positive_int, check_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.bitrix24 import Bitrix24Task
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE
from airflow_provider_workflows.tasks.starting import WEEK, StartOperator
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsEndedTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


class StartWorkflowOperator(Bitrix24Task, StartOperator):
    """Starts a workflow on a document, once (``bizproc.workflow.start``).

    Safe to retry: a start whose reply was lost is not sent again. The task looks for running workflows of this template
    and document that are new; if there are any, it fails and names them, and so do its retries, as Bitrix24 does not
    say who started a workflow for what. A retry goes on with what an earlier try started: from Airflow 3.3 on it knows
    by the task state store; before, it cannot know, and fails in the same way if anything started since the Dag run
    did. A workflow that ended within moments is not found: Bitrix24 lists running ones only. When the task is cleared,
    it starts another one.

    Returns the workflow's id, ready for :class:`TerminateWorkflowOperator`.

    .. seealso:: API page "Start a Business Process bizproc.workflow.start"

    :param template_id: id of the template. (templated)
    :param document_id: module, document type and element, e.g. ``["crm", "CCrmDocumentLead", "LEAD_1"]``. (templated)
    :param parameters: the template's parameters, by name. Names that the portal's workflow runtime reads for itself
        (``PreGeneratedWorkflowId``, ``IgnoreSimultaneousProcessesLimit`` and the like) are refused. (templated)
    :param wait_for_completion: wait until it runs no more. Bitrix24 does not say how it ended.
    :param poll_interval: seconds between two polls while waiting.
    :param wait_timeout: seconds to wait at most, a week by default.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help; an hour.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param cancel_on_kill: terminate the workflow when the task is killed, marked failed or cleared while it waits, or
        waits too long. While it is deferred, from Airflow 3.3 on.
    :param sole_starter: nothing else starts this template on this document while this task may, so that the one new
        workflow is taken for a start whose reply was lost.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises DocumentLimitError: if as many workflows ran on the document as may; nothing was started, a retry can help.
    :raises StartUnclearError: if the reply was lost.
    :raises StillRunningError: if it has not ended in time.
    """

    template_fields: Sequence[str] = (*Bitrix24Task.template_fields, "template_id", "document_id", "parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    operator_extra_links = (WorkflowLink(),)
    ui_color = "#7fc29b"

    def __init__(
        self,
        *,
        template_id: int | str | XComArg,
        document_id: Sequence[str] | XComArg,
        parameters: Mapping[str, Any] | XComArg | None = None,
        wait_for_completion: bool = False,
        poll_interval: float = 30.0,
        wait_timeout: float = WEEK,
        tolerance: float = TOLERANCE,
        deferrable: bool = DEFAULT_DEFERRABLE,
        cancel_on_kill: bool = True,
        sole_starter: bool = False,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(
            wait_for_completion=wait_for_completion,
            poll_interval=poll_interval,
            wait_timeout=wait_timeout,
            tolerance=tolerance,
            deferrable=deferrable,
            cancel_on_kill=cancel_on_kill,
            sole_starter=sole_starter,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self.template_id = template_id
        self.document_id = document_id
        self.parameters: Any = parameters
        self._check_made()

    def _check(self) -> None:
        super()._check()
        if self.parameters is not None:
            check_final(self.parameters, "parameters", check_inputs)
        # Airflow renders no keys, so these are known also where a value is a template.
        if isinstance(self.parameters, Mapping):
            check_names(self.parameters)
        check_final(self.document_id, "document_id", as_document_id)
        check_final(self.template_id, "template_id", as_positive_int)

    @property
    def _request(self) -> StartRequest:
        return StartRequest(
            as_positive_int(self.template_id, "template_id"),
            as_document_id(self.document_id, "document_id"),
            self.parameters,
        )

    def _about(self) -> str:
        document = "/".join(as_document_id(self.document_id, "document_id"))
        return f"a workflow of template {self.template_id} on {document}"

    def _show(self, started: str | None, context: Context) -> str:
        url = WorkflowLink.url(self.hook.get_conn().portal.base_url, started)
        WorkflowLink().push(context, url)
        return url

    def _left(self, started: str) -> Plan[set[str]]:
        return running_workflows([started])

    def _trigger(self, started: str, deadline: float) -> WorkflowsEndedTrigger:
        return WorkflowsEndedTrigger(
            bitrix24_conn_id=self.bitrix24_conn_id,
            workflow_ids=[started],
            poll_interval=self.poll_interval,
            deadline=deadline,
            tolerance=self.tolerance,
            cancel_on_kill=self.cancel_on_kill,
        )

    def _id_in(self, event: Mapping[str, Any]) -> str:
        (started,) = check_workflow_ids(event["workflow_ids"])
        return started

    def _cancel(self, started: str) -> EndReport:
        # Another hook, as this may come while the task's own is at work.
        return Bitrix24Hook(self.bitrix24_conn_id).run(end_workflows([started], calls.terminate_workflow))

    def _result(self, started: str, request: Any, context: Context) -> str:
        if self.wait_for_completion:
            self.log.info("Workflow %s runs no more", started)
        return started
