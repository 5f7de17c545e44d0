"""Sensors for Domo's workflow instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import PokeReturnValue

from airflow_provider_workflows.domo.cancelling import check_instance_ids
from airflow_provider_workflows.domo.models import COMPLETED, TERMINAL_STATUSES, Instance
from airflow_provider_workflows.domo.watching import NotCompletedError, note_unknown, read_instance
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.plans import TOLERANCE
from airflow_provider_workflows.rest.redaction import escape_controls
from airflow_provider_workflows.sensors.deferrable import DeferrableSensor
from airflow_provider_workflows.tasks.arguments import as_ids, check_final, check_one_of
from airflow_provider_workflows.tasks.base import SensorArguments
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE
from airflow_provider_workflows.tasks.domo import DomoTask
from airflow_provider_workflows.triggers.domo import InstancesTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


def _id_of(value: Any, argument: str) -> str:
    ids = check_instance_ids(as_ids(value, argument))
    if len(ids) != 1:
        raise ArgumentError(f"{argument} must be one id, not {len(ids)}; map the sensor over them")
    return ids[0]


class DomoWorkflowSensor(DomoTask, DeferrableSensor):
    """Waits until a workflow instance is in a terminal status: COMPLETED, FAILED or CANCELED.

    Fails on a terminal status that is not wanted. A status that Domo's documentation does not know is logged, and
    waited out. Returns the instance as Domo shows it, with ``id`` and ``status``.

    .. seealso:: API page "Start a Workflow"

    :param instance_id: id of the instance, or what ``DomoStartOperator`` returns. (templated)
    :param wanted_statuses: terminal statuses at which the task succeeds.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``. It polls every ``poke_interval`` there too.
    :param tolerance: how long polls in the triggerer may fail one after the other, where trying again can help.
    :param domo_conn_id: id of the Airflow connection. (templated)
    :raises NotCompletedError: if it ended with a status that is not wanted.
    """

    template_fields: Sequence[str] = (*DomoTask.template_fields, "instance_id")
    operator_extra_links = (InstanceLink(),)

    def __init__(
        self,
        *,
        instance_id: str | Mapping[str, Any] | XComArg,
        wanted_statuses: Sequence[str] = (COMPLETED,),
        deferrable: bool = DEFAULT_DEFERRABLE,
        tolerance: timedelta | float = TOLERANCE,
        domo_conn_id: str = DomoHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(deferrable=deferrable, tolerance=tolerance, domo_conn_id=domo_conn_id, **kwargs)
        self.instance_id = instance_id
        self.wanted_statuses = wanted_statuses
        self._check_made()

    def _check(self) -> None:
        super()._check()
        statuses = sorted(TERMINAL_STATUSES)
        if isinstance(self.wanted_statuses, str) or not self.wanted_statuses:
            raise ArgumentError(f"wanted_statuses must be a list of some of {statuses}, not {self.wanted_statuses!r}")
        for status in self.wanted_statuses:
            check_one_of(status, "wanted_statuses", statuses)
        check_final(self.instance_id, "instance_id", _id_of)

    def _id(self) -> str:
        return _id_of(self.instance_id, "instance_id")

    def _poll(self, context: Context) -> PokeReturnValue:
        self._show_list(context)
        instance = self._run_poll(read_instance(self._id()))
        if instance is None:
            return PokeReturnValue(is_done=False)
        self._tell(context, instance)
        if not instance.terminal:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._judge(instance))

    def _show_list(self, context: Context) -> None:
        """Push a link to the list, until the answer has the model, which the address of the instance's own page has."""
        if not self._shown:
            self._show(context, InstanceLink(), InstanceLink.url(self.hook.get_conn().account.base_url))

    def _tell(self, context: Context, instance: Instance) -> None:
        note_unknown(instance)
        self._show(context, InstanceLink(), InstanceLink.url(self.hook.get_conn().account.base_url, instance))
        self.log.info("Instance %s is %s", instance.id, escape_controls(instance.status or "about to start"))

    def _judge(self, instance: Instance) -> dict[str, Any]:
        if instance.status not in self.wanted_statuses:
            raise NotCompletedError(instance, retry_helps=False)
        return instance.model_dump(by_alias=True, mode="json")

    def _trigger(self, deadline: float) -> InstancesTrigger:
        return InstancesTrigger(
            domo_conn_id=self.domo_conn_id,
            instance_ids=[self._id()],
            poll_interval=self.poke_interval,
            deadline=deadline,
            tolerance=self.tolerance,
        )

    def _result(self, event: dict[str, Any], context: Context) -> dict[str, Any]:
        self._show_list(context)
        instance = self.hook.run(read_instance(self._id()))
        self._tell(context, instance)
        return self._judge(instance)
