"""Bulk clean-up: list, check, end, list again. Ends only what it has listed, and never more than was asked for.

What lasts for longer than a worker should wait goes on later with what :meth:`CleanUp.save` keeps, which stays small
however many workflows there are: counts, the first ids, and how far the first list was read. What is left to be ended
is not kept but listed again, so that nothing is ended that does not match any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from airflow_provider_workflows.bitrix24.calls import PAGE, Call, Reply
from airflow_provider_workflows.bitrix24.ending import check_workflow_ids, end_workflows
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.bitrix24.selecting import Selector, WorkflowSummary
from airflow_provider_workflows.rest.ending import SHOWN_IDS, EndReport
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Now, Plan, Step, intercept

#: How many workflows a report shows as a sample.
SAMPLE = 20
AGES = {"over a year": 365, "over 90 days": 90, "over 30 days": 30, "over 7 days": 7}
#: How many are listed at once after a pause: two requests, and never much work that a further pause could lose.
PART = 50 * PAGE
#: How many are listed at once before, if there may be a pause.
FIRST_PART = 4 * PART
#: How many ids of what is left are kept over a pause, to tell exactly what became of them.
KEPT_LEFT = 500
#: How many are kept of those that had ended before.
KEPT_ALREADY_ENDED = 500
#: How often the whole list is read while further ones begin to match.
MOST_LISTS = 5
BEGAN_TO_MATCH = "it began to match while others were ended; run the task again to end it"

T = TypeVar("T")


class TooManyWorkflowsError(ProviderError):
    """More workflows match than may be ended.

    :param found: how many match.
    :param allowed: how many may be ended.
    :param ended: how many this task had ended before it saw that.
    """

    advice = "Narrow the filter, or raise max_workflows."

    def __init__(self, found: int, allowed: int, ended: int = 0) -> None:
        super().__init__(found, allowed, ended)
        self.found = found
        self.allowed = allowed
        self.ended = ended

    @property
    def what(self) -> str:
        """What went wrong."""
        ended = f"{self.ended} of them were ended, and no more are" if self.ended else "none was ended"
        return f"{self.found} workflows match, more than max_workflows={self.allowed}; {ended}"


@dataclass(slots=True)
class _Done:
    """What was done before a pause, or by earlier tries.

    :param ended: how many were ended, and so on.
    :param ended_ids: the first of them.
    """

    ended: int = 0
    already_ended: int = 0
    moved_on: int = 0
    ended_ids: list[str] = field(default_factory=list)
    already_ended_ids: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.ended + self.already_ended + self.moved_on


@dataclass(slots=True)
class CleanUpReport:
    """What a clean-up found and did.

    :param end: what became of each workflow since the last pause; empty in a dry run.
    :param found: how many matched.
    :param by_template: template to how many matched, the most frequent first.
    :param by_age: age to how many matched, the most frequent first.
    :param sample: the first of them.
    :param appeared: the first ids of those that match and were started later than the task; they were not touched.
    :param done: what was done before the last pause, and by earlier tries.
    :param done_earlier: how many earlier tries of the task have ended.
    :param earlier: their ids, until the first list is read: what is in that list was not ended.
    """

    end: EndReport = field(default_factory=lambda: EndReport(requested=0))
    found: int = 0
    by_template: Counter[str] = field(default_factory=Counter)
    by_age: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    done: _Done = field(default_factory=_Done)
    done_earlier: int = 0
    earlier: set[str] = field(default_factory=set)

    @property
    def settled(self) -> int:
        """How many have a known outcome in this try."""
        return self.done.count - self.done_earlier + len(self.end.settled)

    def add(self, shown: Mapping[str, WorkflowSummary], now: float) -> None:
        """Describe workflows that match."""
        if not_ended := self.earlier & shown.keys():
            self.earlier -= not_ended
            self.done.ended -= len(not_ended)
            self.done.ended_ids = [id for id in self.done.ended_ids if id not in not_ended]
            self.done_earlier -= len(not_ended)
        self.found += len(shown)
        self.end.requested = self.found
        self.by_template.update(str(one.template_id) for one in shown.values())
        self.by_age.update(_age(one, now) for one in shown.values())
        self.by_template, self.by_age = (Counter(dict(some.most_common())) for some in (self.by_template, self.by_age))
        first = list(shown)[: SAMPLE - len(self.sample)]
        self.sample += [
            {"id": one, "template_id": shown[one].template_id, "started": shown[one].started} for one in first
        ]

    def json(self) -> dict[str, Any]:
        """Return it as an XCom value."""
        told, done = self.end.json(), asdict(self.done)
        told |= {name: (done[name] + told[name]) for name in ("ended", "already_ended", "moved_on")}
        told |= {name: (done[name] + told[name])[:SHOWN_IDS] for name in ("ended_ids", "already_ended_ids")}
        return told | {
            "requested": max(self.found, self.settled) + self.done_earlier,
            "by_template": dict(self.by_template),
            "by_age": dict(self.by_age),
            "sample": self.sample,
            "appeared": self.appeared,
        }


@dataclass(slots=True)
class CleanUp:
    """How far a clean-up is.

    :param report: what it found and did so far.
    :param began: Unix time at which it began, by the portal's clock: what is started later is left alone.
    :param listed: whether the first list was read to its end.
    :param listed_to: where the first list goes on.
    :param left: ids that are to be ended, as far as they are known; some of them may be settled.
    :param was_paused: whether it goes on after a pause.
    """

    report: CleanUpReport = field(default_factory=CleanUpReport)
    began: float | None = None
    listed: bool = False
    listed_to: str | None = None
    left: list[str] = field(default_factory=list)
    was_paused: bool = False

    @property
    def progress(self) -> tuple[Any, ...]:
        """A value that changes whenever work was done that survives a pause."""
        return self.listed, self.listed_to, self.report.settled - len(self.report.end.failed)

    def count_earlier(self, ended: Sequence[str], perhaps_ended: Sequence[str]) -> None:
        """Take in what earlier tries of the task have ended.

        :param ended: ids of those that were.
        :param perhaps_ended: ids of those that may have been; whether they run is read in the end.
        """
        if not self.listed:
            self.report.earlier = set(ended)
        if not self.was_paused:
            self.report.done.ended += len(ended)
            self.report.done.ended_ids += ended[:SHOWN_IDS]
            self.report.done_earlier = len(ended)
        self.add_left(perhaps_ended)

    def add_left(self, ids: Iterable[str]) -> None:
        """Note that these are to be ended; repeated ids count once."""
        self.left[:] = dict.fromkeys([*self.left, *ids])

    def is_new(self, workflow_id: str, summary: WorkflowSummary, known: Collection[str]) -> bool:
        """Return whether a workflow was started later than the task.

        :param known: what was listed before. That decides where the portal does not send the start as ISO 8601, and
            for those that were started in the same second as the task, as the portal sends whole seconds.
        """
        started, began = summary.started_at, self.began or 0.0
        if started is None or int(started.timestamp()) == int(began):
            return bool(known) and workflow_id not in known
        return started.timestamp() > began

    def save(self) -> dict[str, Any]:
        """Return what is needed to go on after a pause, as JSON of bounded size."""
        report, end = self.report, self.report.end
        settled = end.settled
        left = [one for one in self.left if one not in settled]
        # What failed is tried again: it is still in the list.
        left = [*end.failed, *sorted(left, key=lambda one: one not in end.unknown)][:KEPT_LEFT]
        told = report.json()
        return {
            "began": self.began,
            "listed": self.listed,
            "listed_to": self.listed_to,
            "left": left,
            "unknown": [one for one in left if one in end.unknown],
            "found": report.found,
            "by_template": told["by_template"],
            "by_age": told["by_age"],
            "sample": report.sample,
            "done_earlier": report.done_earlier,
            "done": {name: told[name] for name in ("ended", "already_ended", "moved_on", "ended_ids")}
            | {"already_ended_ids": told["already_ended_ids"][:KEPT_ALREADY_ENDED]},
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Self:
        """Read what :meth:`save` returned."""
        return cls(
            CleanUpReport(
                EndReport(requested=saved["found"], unknown=set(check_workflow_ids(saved["unknown"]))),
                saved["found"],
                Counter(saved["by_template"]),
                Counter(saved["by_age"]),
                saved["sample"],
                done=_Done(**saved["done"]),
                done_earlier=saved["done_earlier"],
            ),
            began=saved["began"],
            listed=saved["listed"],
            listed_to=saved["listed_to"],
            left=check_workflow_ids(saved["left"]),
            was_paused=True,
        )


def clean_up(
    select: Selector,
    end: Callable[[str], Call],
    *,
    max_workflows: int | None = None,
    dry_run: bool = False,
    in_parts: bool = False,
    so_far: CleanUp | None = None,
    announce: Callable[[CleanUpReport], object] = bool,
    about_to_end: Callable[[Mapping[str, WorkflowSummary]], object] = bool,
) -> Plan[CleanUpReport]:
    """End what a selector finds, and list again.

    Lists are checked for a minute: what was seen longer ago is checked again before it is ended.

    :param select: says which are to be ended.
    :param end: returns the call that ends one.
    :param max_workflows: how many may be ended at most.
    :param dry_run: end nothing, only report.
    :param in_parts: read the first list in parts, so that what was read is kept over a pause.
    :param so_far: kept up to date while the work goes on; one from an earlier part is continued.
    :param announce: called with what was found, before the first is ended.
    :param about_to_end: called with those that are ended next, before they are.
    :raises TooManyWorkflowsError: if more are found; none is ended then.
    :raises ApiError: if a list cannot be read; the report in ``so_far`` is true all the same.
    """
    work = so_far or CleanUp()
    report = work.report
    report.end.dry_run = dry_run
    todo: dict[str, WorkflowSummary] = {}
    seen: float | None = None
    if not work.listed:
        seen = yield Now()
        limit = PART if work.was_paused else (FIRST_PART if in_parts else None)
        todo = yield from _note_begin(_list(select, work, limit), work)
        if work.was_paused:
            # What was read before the pause is gone, so the list is read again from its beginning.
            todo = {}
        if not dry_run:
            _check_count(report.found, max_workflows)
        announce(report)
    if dry_run or not (report.found or work.left):
        return report
    report.end.requested = max(report.found, len(work.left))
    yield from _end_listed(select, end, work, todo, seen, max_workflows, about_to_end)
    return report


def _end_listed(
    select: Selector,
    end: Callable[[str], Call],
    work: CleanUp,
    todo: dict[str, WorkflowSummary],
    seen: float | None,
    max_workflows: int | None,
    about_to_end: Callable[[Mapping[str, WorkflowSummary]], object],
) -> Plan[None]:
    """End what was listed, and list again, until nothing is left that is to be ended.

    :param todo: what was listed.
    :param seen: Unix time at which that began.
    """
    report = work.report
    known: Collection[str] = todo.keys()
    lists = 0
    while True:
        if todo:
            _check_count(report.settled + len(todo), max_workflows, report)
            ids = list(todo)
            work.add_left(ids)
            about_to_end(todo)
            yield from end_workflows(ids, end, report=report.end, recheck=select.recheck, seen=seen)
            if report.end.stopped_by is not None:
                return
        seen = yield Now()
        # Those that failed stay at the beginning of the list.
        limit = PART + len(report.end.failed)
        shown = yield from select(limit=limit)
        todo = _to_do(shown, work, known)
        if not todo and len(shown) >= limit:
            shown = yield from select()
            todo = _to_do(shown, work, known)
            limit = len(shown) + 1
        known = known or shown.keys()
        lists += len(shown) < limit
        if lists > MOST_LISTS:
            report.end.failed |= dict.fromkeys(todo, BEGAN_TO_MATCH)
            todo = {}
        if not todo:
            yield from _conclude(shown, work, known)
            return


def _list(select: Selector, work: CleanUp, limit: int | None) -> Plan[dict[str, WorkflowSummary]]:
    """Read the first list, and describe what is in it.

    :param limit: how many are read at once; what was read is kept over a pause.
    :returns: what was read.
    """
    read: dict[str, WorkflowSummary] = {}
    while True:
        shown = yield from select(since=work.listed_to, limit=limit)
        part = {one: summary for one, summary in shown.items() if not work.is_new(one, summary, ())}
        is_last = limit is None or len(shown) < limit
        if limit is not None and not is_last:
            # There may be more at the last position, so that one is read again as a whole.
            last = select.position(*list(shown.items())[-1])
            part = {one: summary for one, summary in part.items() if select.position(one, summary) != last}
            if last is None or not part:
                limit = None if last is None else 2 * limit
                continue
            work.listed_to = last
        work.report.add(part, work.began or 0.0)
        read |= part
        if is_last:
            work.listed = True
            return read


def _note_begin(plan: Plan[T], work: CleanUp) -> Plan[T]:
    """Run a plan, and note when its first call was answered, by the portal's clock."""

    def perform(step: Step) -> Plan[Any]:
        result = yield step
        if work.began is None and isinstance(result, Reply):
            work.began = result.at.timestamp() if result.at else (yield Now())
        return result

    return intercept(plan, perform)


def _check_count(count: int, most: int | None, report: CleanUpReport | None = None) -> None:
    if most is not None and count > most:
        raise TooManyWorkflowsError(count, most, report.json()["ended"] if report else 0)


def _to_do(shown: Mapping[str, WorkflowSummary], work: CleanUp, known: Collection[str]) -> dict[str, WorkflowSummary]:
    """Return those of a list that are still to be ended."""
    settled = work.report.end.settled
    return {
        one: summary for one, summary in shown.items() if one not in settled and not work.is_new(one, summary, known)
    }


def _conclude(shown: Mapping[str, WorkflowSummary], work: CleanUp, known: Collection[str]) -> Plan[None]:
    """Complete the report, with a list in which nothing is left to be ended."""
    report, settled = work.report, work.report.end.settled
    new = [one for one, summary in shown.items() if one not in settled and work.is_new(one, summary, known)]
    report.appeared = new[:SHOWN_IDS]
    report.end.still_running([one for one in shown if one in settled])
    gone = [one for one in work.left if one not in settled and one not in shown]
    running = yield from running_workflows(gone)
    for workflow_id in gone:
        if workflow_id in running:
            report.end.moved_on.append(workflow_id)
        else:
            report.end.gone(workflow_id)
    # Which others went during a pause cannot be known.
    report.done.moved_on += max(0, report.found - report.settled)


def _age(summary: WorkflowSummary, now: float) -> str:
    if summary.started_at is None:
        return "unknown"
    age = datetime.fromtimestamp(now, UTC) - summary.started_at
    return next((words for words, days in AGES.items() if age > timedelta(days=days)), "up to 7 days")
