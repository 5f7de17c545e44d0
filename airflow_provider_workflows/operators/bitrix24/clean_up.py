"""Operators that list, check, end, and list again."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, Unpack

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.clean_up import CleanUp, CleanUpReport, clean_up
from airflow_provider_workflows.bitrix24.filters import FilterError, narrows, parse_key
from airflow_provider_workflows.bitrix24.selecting import Selector, WorkflowSummary, matching
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.plans import Pause, PauseDueError
from airflow_provider_workflows.rest.progress import LONG_PAUSE, Stats
from airflow_provider_workflows.rest.redaction import escape_controls
from airflow_provider_workflows.tasks.arguments import (
    as_bool,
    as_positive_int,
    check_final,
    check_one_of,
    is_final,
)
from airflow_provider_workflows.tasks.base import LINE, TaskArguments
from airflow_provider_workflows.tasks.bitrix24 import Bitrix24Task, FilteringTask
from airflow_provider_workflows.tasks.deferring import DEFAULT_DEFERRABLE, pack, unpack
from airflow_provider_workflows.tasks.reports import EndingTask, finish
from airflow_provider_workflows.triggers.pause import PauseTrigger
from airflow_provider_workflows.triggers.polling import unexpected_event, validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


log = logging.getLogger(__name__)

#: How many of a kind the log names.
SHOWN = 5

Action: TypeAlias = Literal["terminate", "kill"]


@dataclass(frozen=True, slots=True)
class TotalStats:
    """What a clean-up has cost before a pause.

    :param began: Unix time at which it began.
    :param stalled_since: Unix time of the first pause after which nothing was done.
    """

    began: float
    requests: int = 0
    refusals: int = 0
    paused: float = 0.0
    stalled_since: float | None = None

    def add(self, stats: Stats, pause: Pause, stalled_since: float) -> TotalStats:
        """Return it with what a client has done, and a pause."""
        return TotalStats(
            self.began,
            self.requests + stats.requests,
            self.refusals + stats.refusals,
            self.paused + stats.paused + pause.seconds,
            stalled_since,
        )

    def json(self, stats: Stats) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "seconds": round(Bitrix24Hook.clock.time() - self.began, 1),
            "requests": self.requests + stats.requests,
            "refusals": self.refusals + stats.refusals,
            "paused_seconds": round(self.paused + stats.paused, 1),
        }


def _most(counts: Mapping[Any, int]) -> str:
    """Return the most frequent ones."""
    shown = sorted(counts.items(), key=lambda one: -one[1])[:SHOWN]
    more = f", and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    return ", ".join(f"{name}: {count}" for name, count in shown) + more or "none"


def _rows(shown: Mapping[str, WorkflowSummary]) -> Iterator[dict[str, Any]]:
    """Return what is recorded of workflows."""
    for workflow_id, one in shown.items():
        yield {
            "id": workflow_id,
            "template": one.template_id,
            "document": one.document_id,
            "started": one.started,
            "started_by": one.started_by,
        }


class _CleanUpOperator(EndingTask, Bitrix24Task):
    """Lists, checks, ends, lists again."""

    template_fields: Sequence[str] = (
        *Bitrix24Task.template_fields,
        "status",
        "max_workflows",
        "is_dry_run",
        "record_path",
    )
    operator_extra_links = (WorkflowLink(),)

    def __init__(
        self,
        *,
        action: Action,
        status: str | XComArg | None,
        max_workflows: int | str | XComArg | None,
        dry_run: bool | str | XComArg,
        deferrable: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.action = action
        self.status: Any = status
        self.max_workflows = max_workflows
        # Airflow's operators have a method dry_run().
        self.is_dry_run = dry_run

    def _check(self) -> None:
        super()._check()
        check_one_of(self.action, "action", ("terminate", "kill"))
        if self.action == "kill" and self.status is not None:
            raise ArgumentError("status goes with action 'terminate': 'kill' leaves no record to show it on")
        if self.max_workflows is not None:
            check_final(self.max_workflows, "max_workflows", as_positive_int)
        check_final(self.is_dry_run, "dry_run", as_bool)

    @abstractmethod
    def _selector(self, work: CleanUp) -> Selector:
        """Return what finds the workflows, or refuse what would find too much.

        :param work: how far the clean-up is.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """End what was found and return the report."""
        return self._go_on(context, CleanUp(), TotalStats(began=self.hook.clock.time()))

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Go on after a pause in the triggerer."""
        validate_event(event)
        if "checkpoint" not in event:
            raise unexpected_event(event)
        saved = unpack(event["checkpoint"])
        return self._go_on(context, CleanUp.load(saved["work"]), TotalStats(**saved["totals"]))

    def _go_on(self, context: Context, work: CleanUp, totals: TotalStats) -> dict[str, Any]:
        most = None if self.max_workflows is None else as_positive_int(self.max_workflows, "max_workflows")
        client, clock = self.hook.get_conn(), self.hook.clock
        WorkflowLink().push(context, WorkflowLink.url(client.portal.base_url))
        report, before = work.report, work.progress
        stalled = 0.0 if totals.stalled_since is None else clock.time() - totals.stalled_since

        def told() -> dict[str, Any]:
            return report.json() | totals.json(client.stats)

        with self._reported(context, report.end, work.left, told) as reporting:
            work.count_earlier(reporting.earlier.ended, reporting.earlier.perhaps_ended)
            plan = clean_up(
                self._selector(work),
                self._end,
                max_workflows=most,
                dry_run=as_bool(self.is_dry_run, "dry_run"),
                in_parts=self.deferrable,
                so_far=work,
                announce=self._announce,
                about_to_end=lambda rows: reporting.about_to_end(_rows(rows)),
            )
            longest = LONG_PAUSE if self.deferrable else None
            try:
                client.run(plan, longest_pause=longest, retry_timeout=max(0.0, self.hook.retry_timeout - stalled))
            except PauseDueError as due:
                since = totals.stalled_since if before == work.progress else None
                since = clock.time() if since is None else since
                self._pause(context, due.pause, work, totals.add(client.stats, due.pause, since))
            if report.appeared:
                self.log.warning(
                    "%d workflows that match were started after this task, and are left alone", len(report.appeared)
                )
            if report.end.stopped_by is not None and not report.end.failed:
                raise report.end.stopped_by
        return finish(context, report.end, told())

    def _announce(self, report: CleanUpReport) -> None:
        """Log what is about to be ended, before anything is."""
        log.info(
            "%s: %s %d running workflows of %s",
            self.hook.get_conn().portal.base_url,
            "a dry run finds" if report.end.dry_run else f"about to {self.action}",
            report.found,
            self._described(),
        )
        for told in (
            f"By template: {_most(report.by_template)}",
            f"By age: {_most(report.by_age)}",
            f"The first: {', '.join(one['id'] for one in report.sample[:SHOWN]) or 'none'}",
        ):
            # What is longer is cut off on the screen.
            for line in wrap(told, LINE, subsequent_indent="  "):
                log.info("%s", line)

    @abstractmethod
    def _described(self) -> str:
        """Return which workflows are meant, for the log."""

    def _pause(self, context: Context, pause: Pause, work: CleanUp, totals: TotalStats) -> NoReturn:
        """Leave the worker to others until the pause is over."""
        self.log.warning("Deferred for %.0f s: %s. So far: %s", pause.seconds, pause.reason, work.report.end)
        # Nobody is there to push it if the task is ended while it is deferred.
        context["ti"].xcom_push(key="return_value", value=work.report.json())
        checkpoint = pack({"work": work.save(), "totals": asdict(totals)})
        trigger = PauseTrigger(until=self.hook.clock.time() + pause.seconds, checkpoint=checkpoint)
        self.defer(trigger=trigger, method_name="execute_complete")

    def _end(self, workflow_id: str) -> Call:
        if self.action == "kill":
            return calls.kill_workflow(workflow_id)
        return calls.terminate_workflow(workflow_id, self.status)


class CleanUpWorkflowsOperator(_CleanUpOperator, FilteringTask):
    """Ends all running workflows that match a filter: lists them, checks, ends, and lists again.

    Made for ten or a hundred thousand of them: batches with several requests under way, kept within the portal's
    limits, with progress in the log. Only workflows that were started before the task are ended; one that starts
    meanwhile and matches is left and reported as ``appeared``. What was seen over a minute ago is checked again
    before it is ended, and counted as ``moved_on`` if it matches no more. Safe to retry: the retry goes on with what is
    left.

    Returns the report of ``TerminateWorkflowOperator``, and ``by_template``, ``by_age``, ``sample``, ``appeared``,
    ``seconds``, ``requests``, ``refusals`` and ``paused_seconds``.

    .. seealso:: API page "How to Mass Finish Workflows with Date Filter"

    :param filters: Bitrix24's FILTER object, as for ``ListWorkflowsOperator``. (templated)
    :param stuck_for: only workflows whose lock ended this long ago; Bitrix24 calls them stuck after 5 minutes.
    :param all_workflows: without ``filters`` and ``stuck_for``, or with empty ``filters``, the task is refused unless
        this is true.
    :param action: ``terminate`` keeps the record, ``kill`` erases it. ``kill`` needs ``filters`` that name a
        template, a date or an id.
    :param status: status text to show on the record, with ``terminate``. (templated)
    :param max_workflows: if more match, none is ended and the task fails. (templated)
    :param dry_run: end nothing, only report what would be ended. (templated, as ``is_dry_run``)
    :param deferrable: spend the portal's pauses of more than a minute in the triggerer, and leave the worker to
        others; default: Airflow's option ``[operators] default_deferrable``.
    :param record_path: where to keep the record of what is ended, as JSON lines: a local path, or one such as
        ``s3://aws_default@bucket/record.jsonl``. (templated)
    :param bitrix24_conn_id: id of the Airflow connection. The credential's user must be a portal
        administrator, with scope ``bizproc``. (templated)
    :raises FilterError: if the filter is not one that Bitrix24 would apply, or is too wide; nothing is sent then.
    :raises TooManyWorkflowsError: if more than ``max_workflows`` match; none is ended then.
    :raises NotAllEndedError: if any workflow could not be ended.
    """

    template_fields: Sequence[str] = (*_CleanUpOperator.template_fields, "filters")
    ui_color = "#1a8fb8"
    _if_all_are_meant = "if that is meant, set all_workflows=True"

    def __init__(
        self,
        *,
        filters: Mapping[str, Any] | XComArg | None = None,
        stuck_for: timedelta | None = None,
        all_workflows: bool = False,
        action: Action = "terminate",
        status: str | XComArg | None = None,
        max_workflows: int | str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        record_path: str | XComArg | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(
            filters=filters,
            stuck_for=stuck_for,
            action=action,
            status=status,
            max_workflows=max_workflows,
            dry_run=dry_run,
            deferrable=deferrable,
            record_path=record_path,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self.all_workflows = all_workflows
        self._needs_filters = not all_workflows and (self._needs_filters or stuck_for is None)
        self._check_made()

    def _check(self) -> None:
        super()._check()
        known = isinstance(self.filters, Mapping) or is_final(self.filters)
        if self.action == "kill" and known and not any(narrows(*parse_key(key)) for key in self.filters or ()):
            raise FilterError(
                "filters must name a TEMPLATE_ID, an ID or a date (STARTED, MODIFIED, OWNED_UNTIL) with action 'kill', "
                "which cannot be undone"
            )

    def _selector(self, work: CleanUp) -> Selector:
        # After a pause, stuck_for still counts from the task's beginning.
        now = None if work.began is None else datetime.fromtimestamp(work.began, UTC)
        return matching(self._wanted(now), recorded=self.record_path is not None)

    def _described(self) -> str:
        return f"{self.filters or 'all templates'}" + (f", stuck for {self.stuck_for}" if self.stuck_for else "")


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
    :param record_path: where to keep the record of what is ended, as JSON lines: a local path, or one such as
        ``s3://aws_default@bucket/record.jsonl``. (templated)
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
        user_id: int | str | XComArg | None = None,
        name: str | XComArg | None = None,
        last_name: str | XComArg | None = None,
        action: Action = "terminate",
        status: str | XComArg | None = None,
        max_workflows: int | str | XComArg | None = None,
        dry_run: bool | str | XComArg = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        record_path: str | XComArg | None = None,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        **kwargs: Unpack[TaskArguments],
    ) -> None:
        super().__init__(
            action=action,
            status=status,
            max_workflows=max_workflows,
            dry_run=dry_run,
            deferrable=deferrable,
            record_path=record_path,
            bitrix24_conn_id=bitrix24_conn_id,
            **kwargs,
        )
        self.user_id = user_id
        self.name: Any = name
        self.last_name: Any = last_name
        self._check_made()

    def _check(self) -> None:
        super()._check()
        if self.user_id is not None:
            check_final(self.user_id, "user_id", as_positive_int)
        known = is_final([self.user_id, self.name, self.last_name])
        if known and (self.user_id is None) != bool(self.name and self.last_name):
            raise ArgumentError("give either user_id, or name and last_name")

    def _selector(self, work: CleanUp) -> Selector:
        # Here, as no Dag file needs it.
        from airflow_provider_workflows.bitrix24.employees import find_employee, waiting_for

        user_id = None if self.user_id is None else as_positive_int(self.user_id, "user_id")
        user = self.hook.run(find_employee(user_id=user_id, name=self.name, last_name=self.last_name))
        self.log.info("User %d, %s, is dismissed", user.id, escape_controls(f"{user.name} {user.last_name}"))
        return waiting_for(user.id, recorded=self.record_path is not None)

    def _described(self) -> str:
        return f"user {self.user_id}" if self.user_id is not None else f"user {self.name} {self.last_name}"
