"""Operators for Domo's workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_workflows.domo.cancelling import (
    CancelReport,
    await_cancelled,
    cancel_instances,
    check_instance_ids,
)
from airflow_provider_workflows.domo.errors import NotFoundError
from airflow_provider_workflows.domo.models import COMPLETED, Instance
from airflow_provider_workflows.domo.starting import check_start, find_started, latest_instances, start_instance
from airflow_provider_workflows.domo.watching import read_instance, unfinished
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.operators.starting import StartOperator
from airflow_provider_workflows.rest.errors import RejectedError
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.tasks.arguments import as_ids
from airflow_provider_workflows.tasks.deferring import (
    DEFAULT_DEFERRABLE,
    deadline_after,
    load_checkpoint,
    save_checkpoint,
)
from airflow_provider_workflows.tasks.reports import finish
from airflow_provider_workflows.tasks.start_record import StartRecord
from airflow_provider_workflows.triggers.domo import InstancesTrigger
from airflow_provider_workflows.triggers.polling import validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class NotCompletedError(Exception):
    """A workflow instance ended with a status that was not wanted.

    :param instance: the instance.
    """

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.instance = instance

    def __str__(self) -> str:
        return f"Workflow instance {self.instance.id} is {self.instance.status}; see its execution in Domo"


class DomoOperator(BaseOperator):
    """What all Domo operators have.

    :param domo_conn_id: id of the Airflow connection to the account.
    """

    template_fields: Sequence[str] = ("domo_conn_id",)
    ui_color = "#99ccee"

    def __init__(self, *, domo_conn_id: str = DomoHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domo_conn_id = domo_conn_id

    @cached_property
    def hook(self) -> DomoHook:
        """The hook; the connection is read at its first use."""
        return DomoHook(self.domo_conn_id)

    @property
    def _path(self) -> str:
        """Where one instance is read."""
        return self.hook.get_conn().account.instance_path


class DomoCancelOperator(DomoOperator):
    """Cancels workflow instances.

    Safe to retry: an instance that has finished, or was cancelled before, counts as ``already_ended``. Domo cancels
    after it has answered, so ``ended`` means that Domo took the cancellation; with ``wait_for_completion``, that the
    instance is in a terminal status.

    Returns the report ``{"requested": <number>, "ended": [ids], "already_ended": [ids],
    "failed": {id: reason}, "status": {id: status as last seen}, "dry_run": false}``. If any failed, the report is
    pushed to XCom and the task fails.

    .. seealso:: API page "Cancel a Workflow"

    :param instance_id: one id or a list of them: of instances, not of models. (templated)
    :param wait_for_completion: wait until each is COMPLETED, CANCELED or FAILED.
    :param poll_interval: seconds between two looks while waiting.
    :param wait_timeout: seconds to wait at most; an instance that still runs then has failed to end.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param domo_conn_id: id of the Airflow connection. (templated)
    :raises NotAllEndedError: if any instance could not be cancelled.
    """

    template_fields: Sequence[str] = (*DomoOperator.template_fields, "instance_id")
    operator_extra_links = (InstanceLink(),)

    def __init__(
        self,
        *,
        instance_id: str | list[str],
        wait_for_completion: bool = False,
        poll_interval: float = 5.0,
        wait_timeout: float = 600.0,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instance_id = instance_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel the instances and return the report."""
        ids = check_instance_ids(as_ids(self.instance_id, "instance_id"))
        in_worker = self.wait_for_completion and not self.deferrable
        report = self.hook.run(
            cancel_instances(
                ids,
                wait_for=self.wait_timeout if in_worker else None,
                poll_interval=self.poll_interval,
                path=self._path,
            )
        )
        # Airflow looks for an address also where there is no one thing to link to.
        seen = list(report.instances.values())
        base_url = self.hook.get_conn().account.base_url
        InstanceLink().push(context, InstanceLink.url(base_url, seen[0]) if len(seen) == 1 else "")
        if self.wait_for_completion and self.deferrable and report.still_running and report.stopped_by is None:
            self._wait(report, context)
        return finish(context, report.json(), report.stopped_by)

    def _wait(self, report: CancelReport, context: Context) -> None:
        """Look once, and defer if that is not enough."""
        left = self.hook.run(unfinished(report.still_running, self._path))
        if left:
            save_checkpoint(context, report.json())
            self.defer(
                trigger=InstancesTrigger(
                    domo_conn_id=self.domo_conn_id,
                    instance_ids=left,
                    poll_interval=self.poll_interval,
                    deadline=deadline_after(self.wait_timeout, self.execution_timeout),
                ),
                method_name="execute_complete",
            )
        self.hook.run(await_cancelled(report, 0, self.poll_interval, self._path))

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Read how the instances ended and return the report."""
        waited = self.wait_timeout if validate_event(event) == "timeout" else 0.0
        done = CancelReport.from_json(load_checkpoint(context))
        self.hook.run(await_cancelled(done, waited, self.poll_interval, self._path, waited=waited))
        return finish(context, done.json(), done.stopped_by)


class DomoStartOperator(DomoOperator, StartOperator):
    """Starts a workflow, once.

    Safe to retry: a start whose reply was lost is not sent again; the task looks for the instance that it may have
    started. A retry goes on with what an earlier try started, unless that was cancelled or failed. From Airflow 3.3
    on it knows by the task state store; before, it looks for an instance that is new since the start of the Dag run.
    When the task is cleared, it starts another one.

    Returns the instance as Domo shows it, with ``id``, ``status``, ``modelId`` and ``modelVersion``, ready for
    ``DomoCancelOperator`` and ``DomoWorkflowSensor``. With ``wait_for_completion`` the status is COMPLETED.

    .. seealso:: API page "Start a Workflow"

    :param model_id: id of the workflow model. (templated)
    :param version: a deployed and active version, e.g. ``1.1.0``. (templated)
    :param message_name: title of the model's Start shape, usually ``Start <workflow name>``. (templated)
    :param data: input values, by name. (templated)
    :param wait_for_completion: wait until it is COMPLETED; fail if it is FAILED or CANCELED.
    :param poll_interval: seconds between two looks while waiting.
    :param wait_timeout: seconds to wait at most, a week by default.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param cancel_on_kill: cancel the instance when the task is killed, marked failed or cleared while it waits, or
        waits too long. While it is deferred, from Airflow 3.3 on.
    :param domo_conn_id: id of the Airflow connection. (templated)
    :raises StartNotFoundError: if there is nothing to start under these names.
    :raises StartUnclearError: if the reply was lost, and not exactly one new instance is there.
    :raises NotCompletedError: if it is FAILED or CANCELED at its end.
    :raises StillRunningError: if it has not ended in time.
    """

    template_fields: Sequence[str] = (*DomoOperator.template_fields, "model_id", "version", "message_name", "data")
    template_fields_renderers: ClassVar[dict[str, str]] = {"data": "json"}
    operator_extra_links = (InstanceLink(),)
    ui_color = "#7fc29b"

    #: The instance as it was when it was started.
    _seen: Instance | None = None

    def __init__(
        self,
        *,
        model_id: str,
        version: str,
        message_name: str,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id
        self.version = version
        self.message_name = message_name
        self.data = data

    def _check(self) -> None:
        check_start(self.model_id, self.version, self.message_name, self.data)

    def _earlier(self, record: StartRecord, context: Context) -> str | None:
        note = record.read() or {}
        found: Instance | None
        try:
            if "id" in note:
                found = self.hook.run(read_instance(note["id"], self._path))
            elif note.get("known") is not None:
                found = self.hook.run(find_started(self.model_id, self.version, known=note["known"]))
            elif record.is_retry and not record.kept:
                since = context["dag_run"].start_date
                found = self.hook.run(find_started(self.model_id, self.version, since=since))
            else:
                return None
        except NotFoundError:
            return None
        # What failed is what the retry is for.
        self._seen = found if found and (found.status == COMPLETED or not found.terminal) else None
        return self._seen.id if self._seen else None

    def _start(self, record: StartRecord) -> str:
        try:
            known: list[str] | None = list(self.hook.run(latest_instances(self.model_id)))
        except RejectedError as error:
            self.log.warning("Should the reply be lost, its instance could not be looked for: %s", error)
            known = None
        record.write(known=known)
        started = self.hook.run(start_instance(self.model_id, self.version, self.message_name, self.data, known))
        self._seen = started
        return started.id

    def _show(self, started: str, context: Context) -> None:
        instance = Instance(id=started, model_id=self.model_id, model_version=self.version)
        InstanceLink().push(context, InstanceLink.url(self.hook.get_conn().account.base_url, instance))

    def _left(self, started: str) -> Plan[list[str]]:
        return unfinished([started], self._path)

    def _trigger(self, started: str, deadline: float) -> InstancesTrigger:
        return InstancesTrigger(
            domo_conn_id=self.domo_conn_id,
            instance_ids=[started],
            poll_interval=self.poll_interval,
            deadline=deadline,
            cancel_on_kill=self.cancel_on_kill,
        )

    def _cancel(self, started: str) -> dict[str, str]:
        return DomoHook(self.domo_conn_id).run(cancel_instances([started], path=self._path)).failed

    def _result(self, started: str, context: Context) -> dict[str, Any]:
        if self._seen is not None and not self.wait_for_completion:
            return self._seen.model_dump(by_alias=True, mode="json")
        instance = self.hook.run(read_instance(started, self._path))
        result = instance.model_dump(by_alias=True, mode="json")
        if instance.status != COMPLETED:
            context["ti"].xcom_push(key="return_value", value=result)
            raise NotCompletedError(instance)
        return result
