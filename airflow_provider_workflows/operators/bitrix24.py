"""Operators for Bitrix24's workflows and flows."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.clean_up import CleanUp, Finder, clean_up, matching
from airflow_provider_workflows.bitrix24.employees import find_employee, waiting_for
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids, end_workflows
from airflow_provider_workflows.bitrix24.filters import FilterError, WorkflowFilter
from airflow_provider_workflows.bitrix24.flow_changes import differences, parse_changes
from airflow_provider_workflows.bitrix24.flows import FlowTransition, change_flow, switch_flow
from airflow_provider_workflows.bitrix24.listing import find_workflows, running_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.bitrix24.starting import (
    Start,
    find_started,
    start_workflow,
    workflows_alike,
)
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import FlowLink, WorkflowLink
from airflow_provider_workflows.operators.arguments import as_document_id, as_ids, as_number, as_switch
from airflow_provider_workflows.operators.deferring import DEFAULT_DEFERRABLE, lay_aside, take_up
from airflow_provider_workflows.operators.reports import finish
from airflow_provider_workflows.operators.start_record import StartRecord
from airflow_provider_workflows.operators.starting import StartOperator
from airflow_provider_workflows.rest.client import LONG_PAUSE
from airflow_provider_workflows.rest.plans import Pause, PauseDueError, Plan
from airflow_provider_workflows.rest.progress import Stats
from airflow_provider_workflows.triggers.bitrix24 import WorkflowsEndedTrigger
from airflow_provider_workflows.triggers.pause import PauseTrigger
from airflow_provider_workflows.triggers.polling import read_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class Bitrix24Operator(BaseOperator):
    """What all Bitrix24 operators have.

    :param bitrix24_conn_id: id of the Airflow connection to the portal.
    """

    template_fields: Sequence[str] = ("bitrix24_conn_id",)
    ui_color = "#2fc6f6"
    ui_fgcolor = "#ffffff"

    def __init__(self, *, bitrix24_conn_id: str = Bitrix24Hook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook; the connection is read at its first use."""
        return Bitrix24Hook(self.bitrix24_conn_id)


class _EndWorkflowsOperator(Bitrix24Operator):
    """Ends running workflows.

    :param workflow_id: one id or a list of them.
    """

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "workflow_id")
    operator_extra_links = (WorkflowLink(),)

    def __init__(self, *, workflow_id: str | Sequence[str | Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id

    @abstractmethod
    def _end(self, workflow_id: str) -> Call:
        """Give the call that ends a workflow."""

    def execute(self, context: Context) -> dict[str, Any]:
        """End the workflows and return the report."""
        ids = check_workflow_ids(as_ids(self.workflow_id, "workflow_id"))
        # Airflow looks for an address also where there is no one thing to link to.
        base_url = self.hook.get_conn().portal.base_url
        WorkflowLink().push(context, WorkflowLink.url(base_url, ids[0]) if len(ids) == 1 else "")
        report = self.hook.run(end_workflows(ids, self._end, in_flight=self.hook.get_conn().in_flight))
        return finish(context, report.json(), report.stopped_by)


class TerminateWorkflowOperator(_EndWorkflowsOperator):
    """Stops running workflows and keeps their record (``bizproc.workflow.terminate``).

    Safe to retry: a workflow that runs no more counts as ``already_ended``, and after a lost reply the task
    reads whether the workflow still runs before it sends anything again. Up to 50 workflows go in one request.

    Returns the report ``{"requested": <number>, "ended": [ids], "already_ended": [ids],
    "failed": {id: reason}, "dry_run": false}``. If any failed, the report is pushed to XCom and the task fails.

    .. seealso:: API page "Stop Active Workflow bizproc.workflow.terminate"

    :param workflow_id: one id, a list of ids, or rows of ``ListWorkflowsOperator``. (templated)
    :param status: status text to show on the record. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    template_fields: Sequence[str] = (*_EndWorkflowsOperator.template_fields, "status")

    def __init__(self, *, status: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.status = status

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

    def _end(self, workflow_id: str) -> Call:
        return calls.kill_workflow(workflow_id)


class StartWorkflowOperator(Bitrix24Operator, StartOperator):
    """Starts a workflow on a document, once (``bizproc.workflow.start``).

    Safe to retry: a start whose reply was lost is not sent again; the task looks for the running workflow of this
    template and document that is new. A retry goes on with what an earlier try started. From Airflow 3.3 on it
    knows by the task state store; before, it looks for one that started since the Dag run did. A workflow that
    ended within moments cannot be found so: Bitrix24 lists running ones only. When the task is cleared, it starts
    another one.

    Returns the workflow's id, ready for :class:`TerminateWorkflowOperator`.

    .. seealso:: API page "Start a Business Process bizproc.workflow.start"

    :param template_id: id of the template. (templated)
    :param document_id: module, document type and element, e.g. ``["crm", "CCrmDocumentLead", "LEAD_1"]``. (templated)
    :param parameters: the template's parameters, by name. (templated)
    :param wait_for_completion: wait until it runs no more. Bitrix24 does not tell how it ended.
    :param poll_interval: seconds between two looks while waiting.
    :param wait_timeout: seconds to wait at most, a week by default.
    :param deferrable: wait in the triggerer, and leave the worker to others; default: Airflow's option
        ``[operators] default_deferrable``.
    :param cancel_on_kill: terminate the workflow when the task is killed, marked failed or cleared while it waits, or
        waits too long. While it is deferred, from Airflow 3.3 on.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises StartUnclearError: if the reply was lost, and not exactly one new workflow runs.
    :raises StillRunningError: if it has not ended in time.
    """

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "template_id", "document_id", "parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    operator_extra_links = (WorkflowLink(),)
    ui_color = "#7fc29b"

    def __init__(
        self,
        *,
        template_id: int | str,
        document_id: Sequence[str],
        parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template_id = template_id
        self.document_id = document_id
        self.parameters = parameters

    def _check(self) -> None:
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise ValueError(f"parameters must be a mapping of names to values, not {type(self.parameters).__name__}")
        as_document_id(self.document_id, "document_id")
        as_number(self.template_id, "template_id")

    @property
    def _what(self) -> Start:
        return Start(as_number(self.template_id, "template_id"), as_document_id(self.document_id, "document_id"))

    def _earlier(self, record: StartRecord, context: Context) -> str | None:
        note = record.read()
        if note and "id" in note:
            return str(note["id"])
        if note:
            return self.hook.run(find_started(self._what, known=note["known"]))
        if record.is_retry and not record.kept:
            return self.hook.run(find_started(self._what, since=context["dag_run"].start_date))
        return None

    def _start(self, record: StartRecord) -> str:
        known = self.hook.run(workflows_alike(self._what))
        record.write(known=known)
        return self.hook.run(start_workflow(self._what, self.parameters, known))

    def _show(self, started: str, context: Context) -> None:
        WorkflowLink().push(context, WorkflowLink.url(self.hook.get_conn().portal.base_url, started))

    def _left(self, started: str) -> Plan[set[str]]:
        return running_workflows([started])

    def _trigger(self, started: str, deadline: float) -> WorkflowsEndedTrigger:
        return WorkflowsEndedTrigger(
            bitrix24_conn_id=self.bitrix24_conn_id,
            workflow_ids=[started],
            poll_interval=self.poll_interval,
            deadline=deadline,
            cancel_on_kill=self.cancel_on_kill,
        )

    def _cancel(self, started: str) -> dict[str, str]:
        return Bitrix24Hook(self.bitrix24_conn_id).run(end_workflows([started], calls.terminate_workflow)).failed

    def _result(self, started: str, context: Context) -> str:
        return started


class ListWorkflowsOperator(Bitrix24Operator):
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

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "filters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json"}

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        stuck_for: timedelta | None = None,
        limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.stuck_for = stuck_for
        self.limit = limit

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the workflows."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be 1 or more, not {self.limit}")
        wanted = WorkflowFilter.parse(self.filters, stuck_for=self.stuck_for)
        in_flight = self.hook.get_conn().in_flight
        rows = self.hook.run(find_workflows(wanted, Workflow.row, limit=self.limit, in_flight=in_flight))
        self.log.info("%d running workflows match %s", len(rows), wanted.params() or "an empty filter")
        return list(rows.values())


def _add(effort: dict[str, Any], stats: Stats) -> dict[str, Any]:
    """Add what a client has done to what was done before a pause."""
    return effort | {
        "requests": effort["requests"] + stats.requests,
        "refusals": effort["refusals"] + stats.refusals,
        "paused": effort["paused"] + stats.paused,
    }


class _CleanUpOperator(Bitrix24Operator):
    """Lists, checks, ends, lists again.

    :param action: ``terminate`` or ``kill``.
    :param status: status text to show on the record.
    :param max_workflows: how many may be ended at most.
    :param dry_run: end nothing, only report.
    :param deferrable: pause in the triggerer.
    """

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "status", "max_workflows", "is_dry_run")

    def __init__(
        self,
        *,
        action: Literal["terminate", "kill"] = "terminate",
        status: str | None = None,
        max_workflows: int | str | None = None,
        dry_run: bool | str = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.action = action
        self.status = status
        self.max_workflows = max_workflows
        # Airflow's operators have a method dry_run().
        self.is_dry_run = dry_run

    @abstractmethod
    def _finder(self) -> Finder:
        """Give what finds the workflows, or refuse what would find too much."""

    def execute(self, context: Context) -> dict[str, Any]:
        """End what was found and return the report."""
        if self.action not in {"terminate", "kill"}:
            raise ValueError(f"action must be 'terminate' or 'kill', not {self.action!r}")
        if self.action == "kill" and self.status is not None:
            raise ValueError("status goes with action 'terminate': 'kill' leaves no record to show it on")
        return self._go_on(context, CleanUp(), {"began": time.time(), "requests": 0, "refusals": 0, "paused": 0.0})

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Go on after a pause in the triggerer."""
        read_event(event)
        work = take_up(context)
        return self._go_on(context, CleanUp.from_json(work["so_far"]), work["effort"])

    def _go_on(self, context: Context, so_far: CleanUp, effort: dict[str, Any]) -> dict[str, Any]:
        most = None if self.max_workflows is None else as_number(self.max_workflows, "max_workflows")
        dry_run = as_switch(self.is_dry_run, "dry_run")
        client = self.hook.get_conn()
        plan = clean_up(
            self._finder(),
            self._end,
            max_workflows=most,
            dry_run=dry_run,
            in_flight=client.in_flight,
            so_far=so_far,
        )
        try:
            report = client.run(plan, longest_pause=LONG_PAUSE if self.deferrable else None)
        except PauseDueError as due:
            self._pause(context, due.pause, so_far, _add(effort, client.stats))
        effort = _add(effort, client.stats)
        done = report.json() | {
            "seconds": round(time.time() - effort["began"], 1),
            "requests": effort["requests"],
            "refusals": effort["refusals"],
            "paused_seconds": round(effort["paused"], 1),
        }
        self.log.info(
            "%d workflows match; by template: %s; by age: %s; the first: %s",
            report.found, report.by_template, report.by_age, [one["id"] for one in report.sample],
        )  # fmt: skip
        if report.appeared:
            self.log.warning("%d more match meanwhile, and were not touched", len(report.appeared))
        if dry_run:
            self.log.info("Dry run: nothing was ended")
            return done
        return finish(context, done, report.end.stopped_by)

    def _pause(self, context: Context, pause: Pause, so_far: CleanUp, effort: dict[str, Any]) -> NoReturn:
        """Leave the worker to others until the pause is over."""
        until = time.time() + pause.seconds
        self.log.warning("Deferred for %.0f s: %s", pause.seconds, pause.reason)
        effort = effort | {"paused": effort["paused"] + pause.seconds}
        lay_aside(context, {"so_far": so_far.json(), "effort": effort})
        self.defer(trigger=PauseTrigger(until=until), method_name="execute_complete")

    def _end(self, workflow_id: str) -> Call:
        if self.action == "kill":
            return calls.kill_workflow(workflow_id)
        return calls.terminate_workflow(workflow_id, self.status)


class CleanUpWorkflowsOperator(_CleanUpOperator):
    """Ends all running workflows that match a filter: lists them, checks, ends, and lists again.

    Made for ten or a hundred thousand of them: batches with several requests under way, kept within the portal's
    limits, with progress in the log. Only workflows of the first list are ended; one that starts meanwhile and
    matches is left and reported as ``appeared``. Safe to retry: the retry goes on with what is left.

    Returns the report of ``TerminateWorkflowOperator``, and ``by_template``, ``by_age``, ``sample``, ``appeared``,
    ``seconds``, ``requests``, ``refusals`` and ``paused_seconds``.

    .. seealso:: API page "How to Mass Finish Workflows with Date Filter"

    :param filters: Bitrix24's FILTER object, as for ``ListWorkflowsOperator``. (templated)
    :param stuck_for: only workflows whose lock ended this long ago; Bitrix24 calls them stuck after 5 minutes.
    :param all_workflows: an empty filter is refused unless this is true.
    :param action: ``terminate`` keeps the record, ``kill`` erases it. ``kill`` needs ``filters`` that name a
        template, a date or an id.
    :param status: status text to show on the record, with ``terminate``. (templated)
    :param max_workflows: if more match, none is ended and the task fails. (templated)
    :param dry_run: end nothing, only report what would be ended. (templated, as ``is_dry_run``)
    :param deferrable: spend the portal's pauses of more than a minute in the triggerer, and leave the worker to
        others; default: Airflow's option ``[operators] default_deferrable``.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises FilterError: if the filter is not one that Bitrix24 would apply, or is too wide; nothing is sent then.
    :raises TooManyWorkflowsError: if more than ``max_workflows`` match; none is ended then.
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    template_fields: Sequence[str] = (*_CleanUpOperator.template_fields, "filters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json"}
    ui_color = "#1a8fb8"

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        stuck_for: timedelta | None = None,
        all_workflows: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.stuck_for = stuck_for
        self.all_workflows = all_workflows

    def _finder(self) -> Finder:
        wanted = WorkflowFilter.parse(self.filters, stuck_for=self.stuck_for)
        if not wanted.conditions and not self.all_workflows:
            raise FilterError("filters is empty, which means every running workflow; say so with all_workflows=True")
        named = WorkflowFilter.parse(self.filters)
        if self.action == "kill" and not any(condition.narrows for condition in named.conditions):
            raise FilterError(
                "filters must name a TEMPLATE_ID, an ID or a date (STARTED, MODIFIED, OWNED_UNTIL) with action 'kill', "
                "which nobody can take back"
            )
        return matching(wanted, self.hook.get_conn().in_flight)


class CleanUpEmployeeWorkflowsOperator(_CleanUpOperator):
    """Ends the running workflows that wait for an employee who has left.

    Finds the user, the open workflow tasks of that user on all pages, and ends their workflows, with the same care
    and the same report as :class:`CleanUpWorkflowsOperator`. An employee who is still active is refused.

    .. seealso:: API page "How to Complete Business Processes of a Terminated Employee"

    :param user_id: id of the user; or give ``name`` and ``last_name``. (templated)
    :param name: first name of a dismissed employee. (templated)
    :param last_name: last name. (templated)
    :param action: ``terminate`` keeps the record, ``kill`` erases it.
    :param status: status text to show on the record, with ``terminate``. (templated)
    :param max_workflows: if more are found, none is ended and the task fails. (templated)
    :param dry_run: end nothing, only report what would be ended. (templated, as ``is_dry_run``)
    :param deferrable: spend the portal's pauses of more than a minute in the triggerer, and leave the worker to
        others; default: Airflow's option ``[operators] default_deferrable``.
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scopes ``bizproc`` and ``user``. (templated)
    :raises EmployeeError: if there is no such dismissed employee, or more than one; nothing is ended then.
    :raises TooManyWorkflowsError: if more than ``max_workflows`` are found; none is ended then.
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    template_fields: Sequence[str] = (*_CleanUpOperator.template_fields, "user_id", "name", "last_name")
    ui_color = "#1a8fb8"

    def __init__(
        self,
        *,
        user_id: int | str | None = None,
        name: str | None = None,
        last_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.user_id = user_id
        self.name = name
        self.last_name = last_name

    def _finder(self) -> Finder:
        if (self.user_id is None) != bool(self.name and self.last_name):
            raise ValueError("give either user_id, or name and last_name")
        user_id = None if self.user_id is None else as_number(self.user_id, "user_id")
        user = self.hook.run(find_employee(user_id=user_id, name=self.name, last_name=self.last_name))
        self.log.info("User %d, %s %s, is dismissed", user.id, user.name, user.last_name)
        return waiting_for(user.id, self.hook.get_conn().in_flight)


class _FlowOperator(Bitrix24Operator):
    """Works on one flow.

    :param flow_id: id of the flow.
    """

    template_fields: Sequence[str] = (*Bitrix24Operator.template_fields, "flow_id")
    operator_extra_links = (FlowLink(),)

    def __init__(self, *, flow_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id

    @property
    def _id(self) -> int:
        if not re.fullmatch(r"[1-9]\d*", str(self.flow_id).strip()):
            raise ValueError(f"flow_id must be the number of a flow, not {self.flow_id!r}")
        return int(self.flow_id)

    def _push_link(self, context: Context, transition: FlowTransition) -> None:
        base_url, flow = self.hook.get_conn().portal.base_url, transition.after
        FlowLink().push(context, FlowLink.url(base_url, flow.id, flow.owner_id))


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

    def __init__(self, *, active: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.active = active

    def execute(self, context: Context) -> dict[str, Any]:
        """Bring the flow into the wanted state and return the state before and after."""
        transition = self.hook.run(switch_flow(self._id, as_switch(self.active, "active")))
        self._push_link(context, transition)
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

    def __init__(self, *, changes: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.changes = changes

    def execute(self, context: Context) -> dict[str, Any]:
        """Change the flow and return what changed."""
        transition = self.hook.run(change_flow(self._id, parse_changes(self.changes)))
        self._push_link(context, transition)
        changed = differences(transition.before, transition.after)
        beside = sorted(set(changed) - set(self.changes))
        if beside:
            self.log.warning("Fields of flow %d that changed besides: %s", self._id, ", ".join(beside))
        self.log.info("Flow %d %r: %s", self._id, transition.after.name, changed or "nothing to change")
        return {"flow_id": self._id, "changed": changed}
