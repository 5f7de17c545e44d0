"""Operators for Domo's workflows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_workflows.domo.plans import cancel_instances, check_instance_ids
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.operators.arguments import as_ids
from airflow_provider_workflows.operators.reports import finish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instance_id = instance_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel the instances and return the report."""
        ids = check_instance_ids(as_ids(self.instance_id, "instance_id"))
        account = self.hook.get_conn().account
        report = self.hook.run(
            cancel_instances(
                ids,
                wait_for=self.wait_timeout if self.wait_for_completion else None,
                poll_interval=self.poll_interval,
                path=account.instance_path,
            )
        )
        # Airflow looks for an address also where there is no one thing to link to.
        seen = list(report.instances.values())
        InstanceLink().push(context, InstanceLink.url(account.base_url, seen[0]) if len(seen) == 1 else "")
        return finish(context, report.json(), report.stopped_by)
