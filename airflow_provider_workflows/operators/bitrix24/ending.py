"""Operators that end certain running workflows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids, end_workflows
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.operators.bitrix24.base import Bitrix24Operator
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.tasks.arguments import as_ids, check_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.reports import finish, reporting

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


#: One id, a list of ids, or of rows.
WorkflowIds: TypeAlias = str | Sequence[str | Mapping[str, Any]]


def _ids_of(value: Any, argument: str) -> list[str]:
    return check_workflow_ids(as_ids(value, argument))


class _EndWorkflowsOperator(Bitrix24Operator):
    """Ends running workflows.

    :param workflow_id: one id or a list of them.
    """

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "workflow_id")
    operator_extra_links = (WorkflowLink(),)

    def __init__(self, *, workflow_id: WorkflowIds | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id

    def _check(self) -> None:
        check_final(self.workflow_id, "workflow_id", _ids_of)

    @abstractmethod
    def _end(self, workflow_id: str) -> Call:
        """Return the call that ends a workflow."""

    def execute(self, context: Context) -> dict[str, Any]:
        """End the workflows and return the report."""
        ids = _ids_of(self.workflow_id, "workflow_id")
        # Airflow looks for an address also where there is no one thing to link to.
        base_url = self.hook.get_conn().portal.base_url
        WorkflowLink().push(context, WorkflowLink.url(base_url, ids[0]) if len(ids) == 1 else "")
        report = EndReport(requested=len(ids))
        with reporting(context, report):
            self.hook.run(end_workflows(ids, self._end, report=report))
        return finish(context, report)


class TerminateWorkflowOperator(_EndWorkflowsOperator):
    """Stops running workflows and keeps their record (``bizproc.workflow.terminate``).

    Safe to retry: a workflow that runs no more counts as ``already_ended``, and after a lost reply the task
    reads whether the workflow still runs before it sends anything again. Up to 50 workflows go in one request.

    Returns the report: the counts ``requested``, ``ended``, ``already_ended``, ``moved_on``, ``failed``; ``dry_run``;
    ``ended_ids`` and ``already_ended_ids`` (the first 1,000); and ``failures``, a list of
    ``{"reason", "count", "ids"}`` (the first 100 ids of each). It is pushed to XCom however the task ends; if any
    failed, the task fails.

    .. seealso:: API page "Stop Active Workflow bizproc.workflow.terminate"

    :param workflow_id: one id, a list of ids, or rows of ``ListWorkflowsOperator``. (templated)
    :param status: status text to show on the record. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    template_fields: Sequence[str] = (*_EndWorkflowsOperator.template_fields, "status")

    def __init__(
        self,
        *,
        workflow_id: WorkflowIds | XComArg,
        status: str | XComArg | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(workflow_id=workflow_id, bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.status: Any = status
        self._check_made()

    def _end(self, workflow_id: str) -> Call:
        return calls.terminate_workflow(workflow_id, self.status)


class KillWorkflowOperator(_EndWorkflowsOperator):
    """Stops running workflows and *erases* their record (``bizproc.workflow.kill``). Nobody can bring it back.

    Safe to retry, and reports, as :class:`TerminateWorkflowOperator` does.

    .. seealso:: API page "Delete Running Process bizproc.workflow.kill"

    :param workflow_id: one id, a list of ids, or rows of ``ListWorkflowsOperator``. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    ui_color = "#c0392b"

    def __init__(
        self,
        *,
        workflow_id: WorkflowIds | XComArg,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(workflow_id=workflow_id, bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self._check_made()

    def _end(self, workflow_id: str) -> Call:
        return calls.kill_workflow(workflow_id)
