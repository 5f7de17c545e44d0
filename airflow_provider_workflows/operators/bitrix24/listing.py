"""The operator that lists running workflows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow_provider_workflows.bitrix24.listing import find_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.tasks.arguments import as_positive_int
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.bitrix24 import FilteringTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


class ListWorkflowsOperator(FilteringTask):
    """Lists running workflows, the oldest first (``bizproc.workflow.instances``).

    Returns a list of rows under Bitrix24's field names (ID, MODIFIED, OWNED_UNTIL, MODULE_ID, ENTITY,
    DOCUMENT_ID, STARTED, STARTED_BY, TEMPLATE_ID), ready for :class:`TerminateWorkflowOperator`.

    .. seealso:: API page "Get a list of running workflows bizproc.workflow.instances"

    :param filters: Bitrix24's FILTER object, e.g. ``{"<STARTED": "2026-01-01", "TEMPLATE_ID": 12}``. Operators
        ``=`` (or none), ``!=``, ``<``, ``<=``, ``>``, ``>=``; dates without a time zone are UTC. An unknown
        field or operator is an error. ``None``: all running workflows. (templated)
    :param stuck_for: only workflows whose lock ended this long ago; Bitrix24 calls them stuck after 5 minutes.
    :param limit: how many at most; all by default.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises FilterError: if the filter is not one that Bitrix24 would apply; nothing is sent then.
    """

    operator_extra_links = (WorkflowLink(),)

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | XComArg | None = None,
        stuck_for: timedelta | None = None,
        limit: int | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(filters=filters, stuck_for=stuck_for, bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.limit = limit
        self._check_made()

    def _check(self) -> None:
        super()._check()
        if self.limit is not None:
            as_positive_int(self.limit, "limit")

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the workflows."""
        wanted = self._wanted()
        limit = None if self.limit is None else as_positive_int(self.limit, "limit")
        base_url = self.hook.get_conn().portal.base_url
        WorkflowLink().push(context, WorkflowLink.url(base_url))
        rows = self.hook.run(find_workflows(wanted, Workflow.row, limit=limit))
        self.log.info("%d running workflows of %s match %s", len(rows), base_url, wanted.params() or "an empty filter")
        return list(rows.values())
