"""The operator that cancels workflow instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from airflow_provider_workflows.domo.cancelling import (
    WAITING,
    all_seen,
    await_cancelled,
    cancel_instances,
    check_instance_ids,
    describe_instances,
    still_running,
)
from airflow_provider_workflows.domo.models import Instance
from airflow_provider_workflows.domo.watching import Watch
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.plans import SINGLE_POLL, poll_once
from airflow_provider_workflows.rest.seconds import check_poll_interval, check_seconds
from airflow_provider_workflows.tasks.arguments import as_ids, check_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE, deadline_after
from airflow_provider_workflows.tasks.domo import DomoTask
from airflow_provider_workflows.tasks.reports import EndingTask, finish
from airflow_provider_workflows.triggers.domo import InstancesTrigger
from airflow_provider_workflows.triggers.polling import unexpected_event, validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


def _ids_of(value: Any, argument: str) -> list[str]:
    return check_instance_ids(as_ids(value, argument))


class DomoCancelOperator(EndingTask, DomoTask):
    """Cancels workflow instances.

    Safe to retry: an instance that has finished, or was cancelled before, counts as ``already_ended``. Domo cancels
    after it has answered, so ``ended`` means that Domo took the cancellation; with ``wait_for_completion``, that the
    instance is in a terminal status.

    Returns the report of ``TerminateWorkflowOperator``, and ``by_status``: how many instances were last seen in which
    status. It is pushed to XCom however the task ends; if any failed, the task fails.

    .. seealso:: API page "Cancel a Workflow"

    :param instance_id: one id or a list of them: of instances, not of models; or what ``DomoStartOperator`` returns.
        (templated)
    :param wait_for_completion: wait until each is COMPLETED, CANCELED or FAILED.
    :param poll_interval: seconds between two polls while waiting.
    :param wait_timeout: seconds to wait at most; an instance that still runs then has failed to end.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param record_path: where to keep the record of what is cancelled, as JSON lines: a local path, or one such as
        ``s3://aws_default@bucket/record.jsonl``; takes one request more for each instance. (templated)
    :param domo_conn_id: id of the Airflow connection. (templated)
    :raises NotAllEndedError: if any instance could not be cancelled.
    """

    template_fields: Sequence[str] = (*DomoTask.template_fields, "instance_id", "record_path")
    operator_extra_links = (InstanceLink(),)

    def __init__(
        self,
        *,
        instance_id: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | XComArg,
        wait_for_completion: bool = False,
        poll_interval: float = 5.0,
        wait_timeout: float = 600.0,
        deferrable: bool = DEFAULT_DEFERRABLE,
        record_path: str | XComArg | None = None,
        domo_conn_id: str = DomoHook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(record_path=record_path, domo_conn_id=domo_conn_id, **kwargs)
        self.instance_id = instance_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout
        self.deferrable = deferrable
        self._check_made()

    def _check(self) -> None:
        super()._check()
        check_final(self.instance_id, "instance_id", _ids_of)
        check_poll_interval(self.poll_interval)
        check_seconds(self.wait_timeout, "wait_timeout")

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel the instances and return the report."""
        ids = _ids_of(self.instance_id, "instance_id")
        in_worker = self.wait_for_completion and not self.deferrable
        report, seen = EndReport(requested=len(ids)), list[Instance]()
        base_url = self.hook.get_conn().account.base_url
        InstanceLink().push(context, InstanceLink.url(base_url))
        with self._reported(context, report, ids) as reporting:
            if self.record_path:
                reporting.about_to_end(self.hook.run(describe_instances(ids)))
            self.log.info("Cancelling %d instances of %s", len(ids), base_url)
            self.hook.run(
                cancel_instances(
                    ids,
                    wait_for=self.wait_timeout if in_worker else None,
                    poll_interval=self.poll_interval,
                    report=report,
                    seen=seen.append,
                )
            )
            if len(seen) == 1:
                InstanceLink().push(context, InstanceLink.url(base_url, seen[0]))
            if self.wait_for_completion and self.deferrable and still_running(report) and report.stopped_by is None:
                self._wait(report)
        return finish(context, report)

    def _wait(self, report: EndReport) -> None:
        """Poll once, for a minute at most, and defer if that is not enough."""
        deadline = deadline_after(self.wait_timeout, self.execution_timeout)
        watch = Watch(still_running(report))
        self.hook.run(poll_once(lambda: all_seen(watch), WAITING, tolerance=SINGLE_POLL))
        if watch.left:
            self.defer(
                trigger=InstancesTrigger(
                    domo_conn_id=self.domo_conn_id,
                    instance_ids=watch.left,
                    poll_interval=self.poll_interval,
                    deadline=deadline,
                    # Users may edit a task's XComs while it is deferred.
                    checkpoint=report.save(),
                ),
                method_name="execute_complete",
            )
        self.hook.run(await_cancelled(report, 0, self.poll_interval))

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Read how the instances ended and return the report."""
        if not isinstance(event, Mapping) or "checkpoint" not in event:
            raise unexpected_event(event)
        report = EndReport.load(event["checkpoint"])
        with self._reported(context, report):
            waited = self.wait_timeout if validate_event(event) == "timeout" else None
            self.hook.run(await_cancelled(report, 0, self.poll_interval, waited=waited))
        return finish(context, report)
