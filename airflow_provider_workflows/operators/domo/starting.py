"""The operator that starts a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow_provider_workflows.domo.cancelling import cancel_instances, check_instance_ids
from airflow_provider_workflows.domo.models import COMPLETED, Instance
from airflow_provider_workflows.domo.starting import (
    StartRequest,
    check_message_name,
    check_model_id,
    check_version,
)
from airflow_provider_workflows.domo.watching import NotCompletedError, read_instance, unfinished
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.plans import TOLERANCE, Plan
from airflow_provider_workflows.rest.redaction import escape_controls
from airflow_provider_workflows.rest.start_once import check_inputs
from airflow_provider_workflows.tasks.arguments import check_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE
from airflow_provider_workflows.tasks.domo import DomoTask
from airflow_provider_workflows.tasks.starting import WEEK, StartOperator
from airflow_provider_workflows.triggers.domo import InstancesTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


class DomoStartOperator(DomoTask, StartOperator):
    """Starts a workflow, once.

    Safe to retry: a start whose reply was lost is not sent again. The task looks for instances of the model that are
    new; if there are any, it fails and names them, and so do its retries, as Domo does not say who started an instance
    for what. A retry goes on with what an earlier try started, unless that was cancelled or failed: from Airflow 3.3 on
    it knows by the task state store; before, it cannot know, and fails in the same way if anything is new since the
    start of the Dag run. When the task is cleared, it starts another one.

    Returns the instance as Domo shows it, with ``id``, ``status``, ``modelId`` and ``modelVersion``, ready for
    ``DomoCancelOperator`` and ``DomoWorkflowSensor``. With ``wait_for_completion`` the status is COMPLETED.

    .. seealso:: API page "Start a Workflow"

    :param model_id: id of the workflow model. (templated)
    :param version: a deployed and active version, e.g. ``1.1.0``. (templated)
    :param message_name: title of the model's Start shape, usually ``Start <workflow name>``. (templated)
    :param data: input values, by name. (templated)
    :param wait_for_completion: wait until it is COMPLETED; fail if it is FAILED or CANCELED.
    :param poll_interval: seconds between two polls while waiting.
    :param wait_timeout: seconds to wait at most, a week by default.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help; an hour.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param cancel_on_kill: cancel the instance when the task is killed, marked failed or cleared while it waits, or
        waits too long. While it is deferred, from Airflow 3.3 on.
    :param sole_starter: nothing else starts this version of the model while this task may, so that the one new instance
        is taken for a start whose reply was lost.
    :param domo_conn_id: id of the Airflow connection. (templated)
    :raises StartNotFoundError: if there is nothing to start under these names.
    :raises StartUnclearError: if the reply was lost.
    :raises NotCompletedError: if it is FAILED or CANCELED at its end.
    :raises StillRunningError: if it has not ended in time.
    """

    template_fields: Sequence[str] = (*DomoTask.template_fields, "model_id", "version", "message_name", "data")
    template_fields_renderers: ClassVar[dict[str, str]] = {"data": "json"}
    operator_extra_links = (InstanceLink(),)
    ui_color = "#7fc29b"

    def __init__(
        self,
        *,
        model_id: str | XComArg,
        version: str | XComArg,
        message_name: str | XComArg,
        data: Mapping[str, Any] | XComArg | None = None,
        wait_for_completion: bool = False,
        poll_interval: float = 30.0,
        wait_timeout: float = WEEK,
        tolerance: float = TOLERANCE,
        deferrable: bool = DEFAULT_DEFERRABLE,
        cancel_on_kill: bool = True,
        sole_starter: bool = False,
        domo_conn_id: str = DomoHook.default_conn_name,
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
            domo_conn_id=domo_conn_id,
            **kwargs,
        )
        self.model_id: Any = model_id
        self.version: Any = version
        self.message_name: Any = message_name
        self.data: Any = data
        self._seen: dict[str, Instance] = {}
        self._check_made()

    def _check(self) -> None:
        super()._check()
        check_final(self.model_id, "model_id", check_model_id)
        check_final(self.version, "version", check_version)
        check_final(self.message_name, "message_name", check_message_name)
        if self.data is not None:
            check_final(self.data, "data", check_inputs)

    @property
    def _request(self) -> StartRequest:
        return StartRequest(self.model_id, self.version, self.message_name, self.data)

    def _about(self) -> str:
        return f"model {self.model_id}, version {self.version}, with message {self.message_name!r}"

    def _show(self, started: str | None, context: Context) -> str:
        instance = started and Instance(id=started, model_id=self.model_id, model_version=self.version)
        url = InstanceLink.url(self.hook.get_conn().account.base_url, instance or None)
        InstanceLink().push(context, url)
        return url

    def _left(self, started: str) -> Plan[list[str]]:
        return unfinished([started], self._seen)

    def _trigger(self, started: str, deadline: float) -> InstancesTrigger:
        return InstancesTrigger(
            domo_conn_id=self.domo_conn_id,
            instance_ids=[started],
            poll_interval=self.poll_interval,
            deadline=deadline,
            tolerance=self.tolerance,
            cancel_on_kill=self.cancel_on_kill,
        )

    def _id_in(self, event: Mapping[str, Any]) -> str:
        (started,) = check_instance_ids(event["instance_ids"])
        return started

    def _cancel(self, started: str) -> EndReport:
        # Another hook, as this may come while the task's own is at work.
        return DomoHook(self.domo_conn_id).run(cancel_instances([started]))

    def _result(self, started: str, request: Any, context: Context) -> dict[str, Any]:
        seen: Instance | None = request.instance
        if seen is None or seen.id != started or self.wait_for_completion:
            seen = self.hook.run(read_instance(started))
        result = seen.model_dump(by_alias=True, mode="json")
        if self.wait_for_completion and seen.status != COMPLETED:
            context["ti"].xcom_push(key="return_value", value=result)
            raise NotCompletedError(seen)
        self.log.info("Instance %s is %s", started, escape_controls(seen.status or "about to start"))
        return result
