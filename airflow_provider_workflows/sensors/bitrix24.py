"""Sensors for Bitrix24's workflows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import PokeReturnValue
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import StartTriggerArgs

from airflow_provider_workflows.bitrix24.ending import check_workflow_ids
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import watch_workflows
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.plans import TOLERANCE
from airflow_provider_workflows.sensors.deferrable import DeferrableSensor
from airflow_provider_workflows.tasks.arguments import is_final
from airflow_provider_workflows.tasks.base import SensorArguments
from airflow_provider_workflows.tasks.bitrix24 import FilteringTask
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE
from airflow_provider_workflows.triggers.bitrix24 import RunningWorkflowsTrigger
from airflow_provider_workflows.triggers.polling import unexpected_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


def _is_plain(value: Any) -> bool:
    """Return whether Airflow can start a trigger with a value of a filter: a template, yes; something from XCom, no."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    # Airflow's triggerer hangs on xcom_pull in a template.
    return "xcom" not in value if isinstance(value, str) else is_final(value)


class RunningWorkflowsSensor(FilteringTask, DeferrableSensor):
    """Waits until the number of matching running workflows lies in a range.

    By default it waits for at least one; ``min_count=0, max_count=0`` waits until none is left. A poll takes one
    request; up to 50 deferred sensors of one portal share one. Returns the ids of up to 1,000 of the workflows, the
    oldest first, ready for ``TerminateWorkflowOperator``.

    .. seealso:: API page "Get a list of running workflows bizproc.workflow.instances"

    :param filters: Bitrix24's FILTER object, as for ``ListWorkflowsOperator``. (templated)
    :param stuck_for: only workflows whose lock ended this long ago; Bitrix24 calls them stuck after 5 minutes.
    :param min_count: the range's lower end.
    :param max_count: its upper end; ``None`` for no upper end.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``. It polls every ``poke_interval`` there too.
    :param tolerance: how long polls in the triggerer may fail one after the other, where trying again can help.
    :param start_from_trigger: with ``deferrable``, on Airflow 3.3 and later: have the first poll in the triggerer too,
        and need no worker until there is something to report. Not for mapped tasks, where Airflow does not do it.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises FilterError: if the filter is not one that Bitrix24 would apply; nothing is sent then.
    """

    operator_extra_links = (WorkflowLink(),)
    ui_color = "#bbed21"

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | XComArg | None = None,
        stuck_for: timedelta | None = None,
        min_count: int = 1,
        max_count: int | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        tolerance: timedelta | float = TOLERANCE,
        start_from_trigger: bool = False,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(
            filters=filters,
            stuck_for=stuck_for,
            deferrable=deferrable,
            tolerance=tolerance,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self.min_count = min_count
        self.max_count = max_count
        self._check_made()
        # One map index of a mapped task is made by a worker that runs it already.
        self.start_from_trigger = start_from_trigger and deferrable and AIRFLOW_V_3_3_PLUS and not self._is_map_index
        if self.start_from_trigger:
            self.start_trigger_args = self._start_trigger_args()

    def _check(self) -> None:
        super()._check()
        if self.min_count < 0 or (self.max_count is not None and self.max_count < self.min_count):
            raise ArgumentError(
                f"max_count ({self.max_count}) must be min_count ({self.min_count}) or more, and min_count 0 or more"
            )

    def _start_trigger_args(self) -> StartTriggerArgs:
        """Return what Airflow starts the trigger from. It fills in the templates there."""
        filters = {} if self.filters is None else self.filters
        if not isinstance(filters, Mapping) or not all(map(_is_plain, filters.values())):
            raise ArgumentError("start_from_trigger: filters must be a mapping of values or templates, not from XCom")
        if not _is_plain(self.bitrix24_conn_id):
            raise ArgumentError("start_from_trigger: bitrix24_conn_id must be a value or a template, not from XCom")
        trigger = self._trigger_for(
            {key: value.isoformat() if isinstance(value, date) else value for key, value in filters.items()}, None
        )
        path, arguments = trigger.serialize()
        # From then on Airflow's scheduler keeps the time.
        return StartTriggerArgs(path, "execute_complete", arguments, timeout=timedelta(seconds=self.timeout))

    def _show_list(self, context: Context) -> None:
        self._show(context, WorkflowLink(), WorkflowLink.url(self.hook.get_conn().portal.base_url))

    def _poll(self, context: Context) -> PokeReturnValue:
        self._show_list(context)
        wanted = self._wanted()
        seen = self._run_poll(watch_workflows(wanted, min_count=self.min_count, max_count=self.max_count))
        if seen is None:
            return PokeReturnValue(is_done=False)
        self.log.info("%d running workflows match %s", seen.count, wanted.params() or "an empty filter")
        return PokeReturnValue(is_done=seen.ids is not None, xcom_value=seen.ids)

    def _trigger(self, deadline: float) -> RunningWorkflowsTrigger:
        return self._trigger_for(WorkflowFilter.parse(self.filters).params(), deadline)

    def _trigger_for(self, filters: Mapping[str, Any], deadline: float | None) -> RunningWorkflowsTrigger:
        return RunningWorkflowsTrigger(
            bitrix24_conn_id=self.bitrix24_conn_id,
            filters=filters,
            stuck_for=None if self.stuck_for is None else self.stuck_for.total_seconds(),
            min_count=self.min_count,
            max_count=self.max_count,
            poll_interval=self.poke_interval,
            deadline=deadline,
            tolerance=self.tolerance,
        )

    def _result(self, event: dict[str, Any], context: Context) -> list[str]:
        self._show_list(context)
        ids = event.get("workflow_ids")
        if not isinstance(ids, list):
            raise unexpected_event(event)
        check_workflow_ids(ids)
        self.log.info("%d running workflows were seen", len(ids))
        return ids
