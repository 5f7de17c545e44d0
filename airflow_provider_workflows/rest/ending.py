"""What became of each of many that were to be ended: one report for every vendor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_workflows.rest.errors import ApiError, ProviderError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import ATTEMPTS
from airflow_provider_workflows.rest.redaction import escape_controls

#: Ids that a report shows of those that were ended, or had ended before.
SHOWN_IDS = 1000
#: Ids shown for each reason, number of reasons, and characters of each reason.
SHOWN_FAILED_IDS = 100
SHOWN_REASONS = 10
SHOWN_REASON_LENGTH = 500
SHOWN_STATUS_LENGTH = 50
OTHER_REASONS = "other reasons"
PERHAPS_ENDED = "it may have been ended: the reply was lost"
STILL_RUNNING = "the end was confirmed, but it still runs"


class NotAllEndedError(ProviderError):
    """Some of what was to be ended may still run. The report is in the task's XCom ``return_value``.

    :param failures: ``[{"reason", "count", "ids"}]``, the most frequent first.
    :param failed: how many.
    :param requested: how many were to be ended.
    :param retry_helps: whether a retry may end some of them.
    """

    def __init__(
        self, failures: list[dict[str, Any]], failed: int, requested: int, *, retry_helps: bool = True
    ) -> None:
        super().__init__(failures, failed, requested)
        self.retry_helps = retry_helps
        self.advice = "See the report in XCom return_value; " + (
            "a retry tries again what is left." if retry_helps else "a retry does not help until that is put right."
        )
        self.failures = failures
        self.failed = failed
        self.requested = requested

    @property
    def what(self) -> str:
        """What went wrong."""
        first = "; ".join(f"{_who(failure)}: {failure['reason']}" for failure in self.failures[:3])
        more = "; and for other reasons" if len(self.failures) > 3 else ""
        return f"{self.failed} of {self.requested} could not be ended: {first}{more}"


@dataclass(slots=True)
class EndReport:
    """What became of workflows that were to be ended. It is filled while the work goes on, so it is true at any time.

    :param requested: how many.
    :param ended: ids that do not run any more after our call, or after one whose reply was lost.
    :param already_ended: ids that were not running.
    :param moved_on: ids that run, but no more match what was asked for; they were left alone.
    :param failed: id to reason: these may still run.
    :param statuses: id to the status that the vendor reported last, if any.
    :param dry_run: whether nothing was to be ended.
    :param stopped_by: the error after which no more were tried.
    :param unknown: ids that may have been ended by a call whose reply was lost, or did not confirm it, or by an
        earlier try.
    :param on_ended: called with each id that was ended, in the thread that does the work.
    """

    requested: int
    ended: list[str] = field(default_factory=list)
    already_ended: list[str] = field(default_factory=list)
    moved_on: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str | None] = field(default_factory=dict)
    dry_run: bool = False
    stopped_by: ApiError | None = None
    unknown: set[str] = field(default_factory=set, compare=False)
    on_ended: Callable[[str], object] | None = field(default=None, repr=False, compare=False)
    _reasons: dict[tuple[Any, ...], str] = field(default_factory=dict, repr=False, compare=False)
    _final: set[str] = field(default_factory=set, repr=False, compare=False)
    _lost: Counter[str] = field(default_factory=Counter, repr=False, compare=False)

    @property
    def settled(self) -> set[str]:
        """Ids whose outcome is known."""
        return {*self.ended, *self.already_ended, *self.moved_on, *self.failed}

    @property
    def unsettled(self) -> list[str]:
        """Ids that may have been ended, of which nothing is known for sure."""
        # A copy: the work may still go on in another thread.
        known = {id for id, outcome in self.outcomes.items() if outcome != "failed"}
        return [
            id
            for id in sorted(self.unknown.copy())
            if id not in known and self.failed.get(id, PERHAPS_ENDED).startswith(PERHAPS_ENDED)
        ]

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each whose outcome is known."""
        names = ("ended", "already_ended", "moved_on", "failed")
        return {id: name for name in names for id in tuple(getattr(self, name))}

    def end(self, id: str) -> None:
        """Note that one was ended."""
        self.ended.append(id)
        if self.on_ended:
            self.on_ended(id)

    def gone(self, id: str) -> None:
        """Note that one does not run any more, whoever ended it."""
        if id in self.unknown:
            self.end(id)
        else:
            self.already_ended.append(id)

    def lose(self, errors: Mapping[str, ApiError]) -> None:
        """Note which of the failed calls may have been done all the same."""
        lost = [id for id, error in errors.items() if isinstance(error, UnknownOutcomeError)]
        self.unknown.update(lost)
        self._lost.update(lost)

    def is_to_end_again(self, id: str, error: ApiError) -> bool:
        """Return whether to send another call for one that still runs; if not, note that it could not be ended."""
        again = isinstance(error, UnknownOutcomeError) and self._lost[id] < ATTEMPTS
        if not again:
            self.fail(id, error)
        return again

    def fail(self, id: str, error: ApiError, before: str = "") -> None:
        """Note that one could not be ended. Errors that differ in their trace code only are one reason.

        :param before: what the reason says before the error's own.
        """
        same = (type(error), error.code, error.http_status, error.text, before)
        self.failed[id] = self._reasons.setdefault(same, before + error.reason)
        if not error.retry_helps:
            self._final.add(id)

    def stop(self, error: ApiError, ids: Iterable[str]) -> None:
        """Note that an error ended the work; ids of unknown outcome have failed with it."""
        before = set(self.failed)
        self.give_up(error.message, ids)
        if not error.retry_helps:
            self._final |= self.failed.keys() - before
        self.stopped_by = error

    def give_up(self, reason: str, ids: Iterable[str]) -> None:
        """Note as failed, with a reason, those of the ids whose outcome is unknown."""
        known = self.settled
        for id in ids:
            if id not in known:
                self.failed[id] = f"{PERHAPS_ENDED}: {reason}" if id in self.unknown else reason

    def still_running(self, ids: Iterable[str]) -> None:
        """Correct the report by what was read afterwards."""
        running = {id for id in ids if id not in self.failed}
        if running:
            self.ended = [id for id in self.ended if id not in running]
            self.already_ended = [id for id in self.already_ended if id not in running]
            self.failed |= dict.fromkeys(running, STILL_RUNNING)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Why some failed, the most frequent reason first, with how many and the first ids of each."""
        # A copy: the work may still go on in another thread.
        failed = dict(self.failed)
        counts = Counter(failed.values())
        shown = {reason for reason, _ in counts.most_common(SHOWN_REASONS)}
        groups: dict[str, list[str]] = {}
        for id, reason in failed.items():
            groups.setdefault(reason if reason in shown else OTHER_REASONS, []).append(id)
        return [
            {"reason": _shortened(reason), "count": len(ids), "ids": ids[:SHOWN_FAILED_IDS]}
            for reason, ids in sorted(groups.items(), key=lambda group: (group[0] == OTHER_REASONS, -len(group[1])))
        ]

    @property
    def failure(self) -> NotAllEndedError | None:
        """The error that a task fails with, if any could not be ended."""
        if not self.failed:
            return None
        retry_helps = any(id not in self._final for id in self.failed)
        return NotAllEndedError(self.failures, len(self.failed), self.requested, retry_helps=retry_helps)

    def json(self) -> dict[str, Any]:
        """Return it as JSON of bounded size, however many there are."""
        return {
            "requested": self.requested,
            "ended": len(self.ended),
            "already_ended": len(self.already_ended),
            "moved_on": len(self.moved_on),
            "failed": len(self.failed),
            "dry_run": self.dry_run,
            "ended_ids": self.ended[:SHOWN_IDS],
            "already_ended_ids": self.already_ended[:SHOWN_IDS],
            "failures": self.failures,
        } | ({"by_status": self._by_status()} if self.statuses else {})

    def _by_status(self) -> dict[str, int]:
        # Statuses are the vendor's words.
        counts = Counter(escape_controls(str(status))[:SHOWN_STATUS_LENGTH] for status in tuple(self.statuses.values()))
        return dict(counts.most_common(SHOWN_REASONS))

    def save(self) -> dict[str, Any]:
        """Return all of it as JSON, to go on later."""
        return {
            "requested": self.requested,
            "ended": self.ended,
            "already_ended": self.already_ended,
            "moved_on": self.moved_on,
            "failed": self.failed,
            "statuses": self.statuses,
            "dry_run": self.dry_run,
            "unknown": sorted(self.unknown),
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Self:
        """Read what :meth:`save` returned."""
        return cls(**{**saved, "unknown": set(saved["unknown"])})

    def __str__(self) -> str:
        if self.dry_run:
            return f"A dry run: {self.requested} would be ended, none was"
        return (
            f"Of {self.requested} requested: {len(self.ended)} ended, {len(self.already_ended)} had ended already, "
            f"{len(self.moved_on)} had moved on, {len(self.failed)} failed"
        )


def _who(failure: Mapping[str, Any]) -> str:
    more = failure["count"] - 1
    return f"{failure['ids'][0]} and {more} more" if more else str(failure["ids"][0])


def _shortened(reason: str) -> str:
    return reason if len(reason) <= SHOWN_REASON_LENGTH else f"{reason[: SHOWN_REASON_LENGTH - 1]}…"
