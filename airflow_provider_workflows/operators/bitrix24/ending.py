"""Operators that end certain running workflows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.ending import RECORD_FIELDS, check_workflow_ids, end_workflows, record_row
from airflow_provider_workflows.bitrix24.listing import check_workflows, read_workflows
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.tasks.arguments import as_ids, check_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.bitrix24 import FilteringTask
from airflow_provider_workflows.tasks.reports import EndingTask, finish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


#: One id, a list of ids, or of rows.
WorkflowIds: TypeAlias = str | Sequence[str | Mapping[str, Any]]


def _ids_of(value: Any, argument: str) -> list[str]:
    return check_workflow_ids(as_ids(value, argument))


class _EndWorkflowsOperator(EndingTask, FilteringTask):
    """Ends certain running workflows, if they match."""

    template_fields: Sequence[str] = (*FilteringTask.template_fields, "workflow_id", "record_path")
    operator_extra_links = (WorkflowLink(),)

    def __init__(self, *, workflow_id: WorkflowIds | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id

    def _check(self) -> None:
        super()._check()
        check_final(self.workflow_id, "workflow_id", _ids_of)

    @abstractmethod
    def _end(self, workflow_id: str) -> Call:
        """Return the call that ends a workflow."""

    def execute(self, context: Context) -> dict[str, Any]:
        """End the workflows and return the report."""
        ids = _ids_of(self.workflow_id, "workflow_id")
        wanted = self._wanted()
        base_url = self.hook.get_conn().portal.base_url
        WorkflowLink().push(context, WorkflowLink.url(base_url, ids[0] if len(ids) == 1 else None))
        report = EndReport(requested=len(ids))
        with self._reported(context, report, ids) as reporting:
            if self.record_path:
                rows = self.hook.run(read_workflows(ids, record_row, select=RECORD_FIELDS))
                reporting.about_to_end(rows.get(workflow_id, {"id": workflow_id}) for workflow_id in ids)
            only_if = f", if they still match {wanted.params()}" if wanted.conditions else ""
            self.log.info("Ending %d workflows of %s%s", len(ids), base_url, only_if)
            recheck = partial(check_workflows, wanted=wanted) if wanted.conditions else None
            self.hook.run(end_workflows(ids, self._end, report=report, recheck=recheck))
        return finish(context, report)


class TerminateWorkflowOperator(_EndWorkflowsOperator):
    """Stops running workflows and keeps their record (``bizproc.workflow.terminate``).

    Safe to retry: a workflow that runs no more counts as ``already_ended``, and after a lost reply the task
    reads whether the workflow still runs before it sends anything again. Up to 50 workflows go in one request.

    With ``filters`` or ``stuck_for`` each workflow is checked again shortly before it is ended, and left alone if it
    has moved on since its id was found; that takes one request more for each 50. So give them whenever time has passed
    since then, or the ids come from somebody else.

    Returns the report: the counts ``requested``, ``ended``, ``already_ended``, ``moved_on``, ``failed``; ``dry_run``;
    ``ended_ids`` and ``already_ended_ids`` (the first 1,000); and ``failures``, a list of
    ``{"reason", "count", "ids"}`` (the first 100 ids of each). It is pushed to XCom however the task ends; if any
    failed, the task fails.

    .. seealso:: API page "Stop Active Workflow bizproc.workflow.terminate"

    :param workflow_id: one id, a list of ids, or rows of ``ListWorkflowsOperator``. (templated)
    :param status: status text to show on the record. (templated)
    :param filters: end only those that match this FILTER object, as for ``ListWorkflowsOperator``. (templated)
    :param stuck_for: end only those whose lock ended this long ago.
    :param record_path: where to keep the record of what is ended, as JSON lines: a local path, or one such as
        ``s3://aws_default@bucket/record.jsonl``; takes one request more for each 50. (templated)
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
        filters: Mapping[str, Any] | XComArg | None = None,
        stuck_for: timedelta | None = None,
        record_path: str | XComArg | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(
            workflow_id=workflow_id,
            filters=filters,
            stuck_for=stuck_for,
            record_path=record_path,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self.status: Any = status
        self._check_made()

    def _end(self, workflow_id: str) -> Call:
        return calls.terminate_workflow(workflow_id, self.status)


class KillWorkflowOperator(_EndWorkflowsOperator):
    """Stops running workflows and *erases* their record (``bizproc.workflow.kill``). Nobody can bring it back.

    Safe to retry, and reports, as :class:`TerminateWorkflowOperator` does. Give ``record_path``: nothing else tells
    afterwards what was there.

    .. seealso:: API page "Delete Running Process bizproc.workflow.kill"

    :param workflow_id: one id, a list of ids, or rows of ``ListWorkflowsOperator``. (templated)
    :param filters: end only those that match this FILTER object, as for ``ListWorkflowsOperator``. (templated)
    :param stuck_for: end only those whose lock ended this long ago.
    :param record_path: where to keep the record of what is ended, as JSON lines: a local path, or one such as
        ``s3://aws_default@bucket/record.jsonl``; takes one request more for each 50. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    ui_color = "#c0392b"

    def __init__(
        self,
        *,
        workflow_id: WorkflowIds | XComArg,
        filters: Mapping[str, Any] | XComArg | None = None,
        stuck_for: timedelta | None = None,
        record_path: str | XComArg | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(
            workflow_id=workflow_id,
            filters=filters,
            stuck_for=stuck_for,
            record_path=record_path,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self._check_made()

    def _end(self, workflow_id: str) -> Call:
        return calls.kill_workflow(workflow_id)
