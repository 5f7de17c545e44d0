"""Operators for task flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow_provider_workflows.bitrix24.flow_changes import check_fields, differences, parse_changes
from airflow_provider_workflows.bitrix24.flows import FlowTransition, change_flow, switch_flow
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import FlowLink
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.tasks.arguments import as_bool, as_positive_int, check_final, final_part, is_final
from airflow_provider_workflows.tasks.base import TaskArguments
from airflow_provider_workflows.tasks.bitrix24 import Bitrix24Task
from airflow_provider_workflows.tasks.run_state import is_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


class _FlowOperator(Bitrix24Task):
    """Works on one flow."""

    template_fields: Sequence[str] = (*Bitrix24Task.template_fields, "flow_id")
    operator_extra_links = (FlowLink(),)

    def __init__(self, *, flow_id: int | str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id

    def _check(self) -> None:
        check_final(self.flow_id, "flow_id", as_positive_int)

    @property
    def _id(self) -> int:
        return as_positive_int(self.flow_id, "flow_id")

    def _run(self, context: Context, plan: Plan[FlowTransition]) -> FlowTransition:
        """Run a plan, with the link there before and, with the flow's owner in it, after it."""
        base_url = self.hook.get_conn().portal.base_url
        FlowLink().push(context, FlowLink.url(base_url, self._id, None))
        transition = self.hook.run(plan)
        FlowLink().push(context, FlowLink.url(base_url, self._id, transition.after.owner_id))
        return transition


class FlowActivateOperator(_FlowOperator):
    """Switches a task flow on or off (``tasks.flow.Flow.activate``, ``.get``).

    Bitrix24's call only toggles, so the operator reads the flow, toggles it if it differs, and reads it again.
    After a lost reply it reads until the state is sure, and never toggles blindly: safe to retry.

    Returns ``{"flow_id": 517, "before": false, "after": true}``.

    .. seealso:: API page "Activate/Deactivate Flow tasks.flow.Flow.activate"

    :param flow_id: id of the flow. (templated)
    :param active: the wanted state; in a template, ``"True"`` or ``"False"``. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be the flow's creator or
        an administrator, with scope ``task``. (templated)
    :raises FlowNotReachedError: if something else keeps switching the flow.
    """

    template_fields: Sequence[str] = (*_FlowOperator.template_fields, "active")

    def __init__(
        self,
        *,
        flow_id: int | str | XComArg,
        active: bool | str | XComArg = True,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(flow_id=flow_id, bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.active = active
        self._check_made()

    def _check(self) -> None:
        super()._check()
        check_final(self.active, "active", as_bool)

    def execute(self, context: Context) -> dict[str, Any]:
        """Bring the flow into the wanted state and return the state before and after."""
        plan = switch_flow(self._id, as_bool(self.active, "active"), again=is_retry(context, self))
        transition = self._run(context, plan)
        words = {True: "on", False: "off"}
        self.log.info(
            "Flow %d %r was %s and is %s",
            self._id, transition.after.name, words[transition.before.active], words[transition.after.active],
        )  # fmt: skip
        return {"flow_id": self._id, "before": transition.before.active, "after": transition.after.active}


class FlowUpdateOperator(_FlowOperator):
    """Changes some fields of a task flow and leaves the others as they are (``tasks.flow.Flow.update``, ``.get``).

    Bitrix24's update resets what it is not given, so the operator reads the flow, merges the changes in, and
    sends the whole. A flow that is as wanted already is not touched: safe to retry.

    Returns ``{"flow_id": 517, "changed": {field: {"before": ..., "after": ...}}}``.

    .. seealso:: API page "Update Flow tasks.flow.Flow.update"

    :param flow_id: id of the flow. (templated)
    :param changes: field to new value: ``name``, ``description``, ``groupId``, ``ownerId``, ``templateId``,
        ``plannedCompletionTime`` (seconds), ``distributionType`` (``manually``, ``queue``, ``himself``),
        ``responsibleList`` and ``taskCreators`` (pairs such as ``["user", 3]``, ``["department", "17:F"]``),
        ``matchWorkTime``, ``responsibleCanChangeDeadline``, ``notifyAtHalfTime``, ``taskControl`` (0 or 1),
        ``notifyOnQueueOverflow``, ``notifyOnTasksInProgressOverflow``, ``notifyWhenEfficiencyDecreases``
        (a number, or ``None`` for never). (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be the flow's creator or
        an administrator, with scope ``task``. (templated)
    :raises FlowChangesError: if a field or value is not one that Bitrix24 takes; nothing is sent then.
    :raises FlowNotReachedError: if the portal does not take the changes.
    """

    template_fields: Sequence[str] = (*_FlowOperator.template_fields, "changes")
    template_fields_renderers: ClassVar[dict[str, str]] = {"changes": "json"}

    def __init__(
        self,
        *,
        flow_id: int | str | XComArg,
        changes: Mapping[str, Any] | XComArg,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(flow_id=flow_id, bitrix24_conn_id=bitrix24_conn_id, **kwargs)
        self.changes: Any = changes
        self._check_made()

    def _check(self) -> None:
        super()._check()
        # Airflow renders values, but no names.
        if isinstance(self.changes, Mapping) or is_final(self.changes):
            check_fields(self.changes)
            if known := final_part(self.changes):
                parse_changes(known)

    def execute(self, context: Context) -> dict[str, Any]:
        """Change the flow and return what changed."""
        transition = self._run(context, change_flow(self._id, parse_changes(self.changes)))
        changed = differences(transition.before, transition.after)
        beside = sorted(set(changed) - set(self.changes))
        if beside:
            self.log.warning("Further fields of flow %d that changed meanwhile: %s", self._id, ", ".join(beside))
        self.log.info("Flow %d %r: %s", self._id, transition.after.name, changed or "nothing to change")
        return {"flow_id": self._id, "changed": changed}
