"""Bulk clean-up: list, check, end, list again. Ends nothing that was not seen, and never more than was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from airflow_provider_workflows.bitrix24.calls import Call
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflows
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Plan

#: How many workflows a report shows as a sample.
SAMPLE = 20
AGES = {"over a year": 365, "over 90 days": 90, "over 30 days": 30, "over 7 days": 7}


class TooManyWorkflowsError(ProviderError):
    """More workflows match than may be ended; none was.

    :param found: how many match.
    :param allowed: how many may be ended.
    """

    def __init__(self, found: int, allowed: int) -> None:
        super().__init__(found, allowed)
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        return (
            f"{self.found} workflows match, more than max_workflows={self.allowed}; none was ended. "
            "Narrow the filter, or raise max_workflows"
        )


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """What is kept of a workflow until it is ended.

    :param template_id: its template.
    :param started: its start, as ISO 8601.
    """

    template_id: int | None
    started: str | None

    @classmethod
    def of(cls, workflow: Workflow) -> WorkflowSummary:
        """Keep what is needed of a row."""
        started = workflow.started
        return cls(workflow.template_id, started.isoformat() if isinstance(started, datetime) else started)


#: Finds what is to be ended, by id. It is run again afterwards, to see what is left.
Selector: TypeAlias = Callable[[], Plan[dict[str, WorkflowSummary]]]


@dataclass(slots=True)
class CleanUpReport:
    """What a clean-up found and did.

    :param end: what became of each workflow; empty in a dry run.
    :param found: how many matched.
    :param by_template: template to how many matched.
    :param by_age: age to how many matched.
    :param sample: the first of them.
    :param appeared: ids that matched only afterwards; they were not touched.
    :param dry_run: whether nothing was to be ended.
    """

    end: EndReport
    found: int
    by_template: dict[str, int] = field(default_factory=dict)
    by_age: dict[str, int] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    dry_run: bool = False

    def json(self) -> dict[str, Any]:
        """Return it as an XCom value."""
        return self.end.json() | {
            "requested": self.found,
            "by_template": self.by_template,
            "by_age": self.by_age,
            "sample": self.sample,
            "appeared": self.appeared,
            "dry_run": self.dry_run,
        }


def matching(wanted: WorkflowFilter) -> Selector:
    """Find the running workflows that match a filter."""
    select = sorted({"STARTED", "TEMPLATE_ID"} | wanted.fields)

    def find() -> Plan[dict[str, WorkflowSummary]]:
        return (yield from find_workflows(wanted, WorkflowSummary.of, select=select))

    return find


@dataclass(slots=True)
class CleanUp:
    """How far a clean-up is, so that it can be laid aside during a long pause.

    :param report: what it found and did so far; ``None`` before it has found anything.
    :param left: ids that it found and has not dealt with yet.
    """

    report: CleanUpReport | None = None
    left: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any] | None:
        """Return it as an XCom value; ``None`` if nothing is lost by starting again."""
        if self.report is None:
            return None
        settled = self.report.end.settled
        return {
            "left": [workflow_id for workflow_id in self.left if workflow_id not in settled],
            "end": self.report.end.save(),
            "report": {name: getattr(self.report, name) for name in _DESCRIPTION},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> CleanUp:
        """Read what :meth:`json` gave."""
        if value is None:
            return cls()
        return cls(CleanUpReport(EndReport.load(value["end"]), **value["report"]), value["left"])


#: What a report tells besides what became of each.
_DESCRIPTION = ("found", "by_template", "by_age", "sample", "appeared", "dry_run")


def clean_up(
    find: Selector,
    end: Callable[[str], Call],
    *,
    max_workflows: int | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    so_far: CleanUp | None = None,
) -> Plan[CleanUpReport]:
    """End what a finder finds, and look again.

    :param find: finds them.
    :param end: gives the call that ends one.
    :param max_workflows: how many may be ended at most.
    :param dry_run: end nothing, only report.
    :param now: the present, for ages.
    :param so_far: kept up to date while the work goes on; one that was begun is gone on with.
    :raises TooManyWorkflowsError: if more are found; none is ended then.
    """
    so_far = so_far or CleanUp()
    if so_far.report is None:
        seen = yield from find()
        report = _describe(seen, now or datetime.now(UTC))
        report.dry_run = dry_run
        if max_workflows is not None and len(seen) > max_workflows and not dry_run:
            raise TooManyWorkflowsError(len(seen), max_workflows)
        so_far.report, so_far.left = report, list(seen)
        del seen
    report, left = so_far.report, so_far.left
    if dry_run or not report.found:
        return report
    yield from end_workflows(left, end, report=report.end)
    if report.end.stopped_by is None:
        matching_now = yield from find()
        known = report.end.settled
        report.appeared = [workflow_id for workflow_id in matching_now if workflow_id not in known]
        report.end.still_running([workflow_id for workflow_id in matching_now if workflow_id in known])
    return report


def _describe(seen: Mapping[str, WorkflowSummary], now: datetime) -> CleanUpReport:
    return CleanUpReport(
        end=EndReport(requested=len(seen)),
        found=len(seen),
        by_template=dict(Counter(str(one.template_id) for one in seen.values()).most_common()),
        by_age=dict(Counter(_age(one.started, now) for one in seen.values()).most_common()),
        sample=[{"id": workflow_id} | asdict(seen[workflow_id]) for workflow_id in list(seen)[:SAMPLE]],
    )


def _age(started: str | None, now: datetime) -> str:
    try:
        age = now - datetime.fromisoformat(started or "")
    except (ValueError, TypeError):
        return "unknown"
    return next((words for words, days in AGES.items() if age > timedelta(days=days)), "up to 7 days")
