"""Which workflows a clean-up is to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.batches import read_all
from airflow_provider_workflows.bitrix24.calls import PAGE
from airflow_provider_workflows.bitrix24.ending import RECORD_FIELDS
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import OLDEST_FIRST, check_workflows, find_workflows, workflows_of
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.plans import Plan


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """What is kept of a workflow until it is ended.

    :param template_id: its template.
    :param started: its start, as ISO 8601.
    :param document_id: its document, if that is to be recorded.
    :param started_by: who started it, if that is to be recorded.
    """

    template_id: int | None
    started: str | None
    document_id: str | None = None
    started_by: int | None = None

    @classmethod
    def of(cls, workflow: Workflow) -> WorkflowSummary:
        """Keep what is needed of a row."""
        started = workflow.started
        started = started.isoformat() if isinstance(started, datetime) else started
        return cls(workflow.template_id, started, workflow.document_id, workflow.started_by)

    @property
    def started_at(self) -> datetime | None:
        """Its start; ``None`` if the portal does not send it with a time zone."""
        try:
            moment = datetime.fromisoformat(self.started or "")
        except ValueError:
            return None
        return moment if moment.tzinfo else None


class Selector(Protocol):
    """Says which workflows are to be ended."""

    def __call__(self, *, since: str | None = None, limit: int | None = None) -> Plan[dict[str, WorkflowSummary]]:
        """List them, always in the same order.

        :param since: the position at which the list begins; default: at its beginning.
        :param limit: how many at most; default: all.
        """

    def position(self, workflow_id: str, summary: WorkflowSummary) -> str | None:
        """Return the position of a workflow in the list; ``None`` if it is not known."""

    def recheck(self, workflow_ids: Sequence[str]) -> Plan[Mapping[str, bool]]:
        """Return which of some workflows run, and of each of these whether it is still to be ended."""


@dataclass(frozen=True, slots=True)
class _Matching:
    """The running workflows that match a filter."""

    wanted: WorkflowFilter
    fields: frozenset[str]

    def __call__(self, *, since: str | None = None, limit: int | None = None) -> Plan[dict[str, WorkflowSummary]]:
        wanted = self.wanted if since is None else self.wanted.started_since(datetime.fromisoformat(since))
        select = sorted(self.fields | wanted.fields)
        return (yield from find_workflows(wanted, WorkflowSummary.of, limit=limit, select=select))

    def position(self, workflow_id: str, summary: WorkflowSummary) -> str | None:  # noqa: ARG002
        return summary.started if summary.started_at else None

    def recheck(self, workflow_ids: Sequence[str]) -> Plan[Mapping[str, bool]]:
        # Those whose turn it is come first in the list, as those before them have gone from it.
        most = len(workflow_ids) + PAGE
        listed = set((yield from self(limit=most))) if self.wanted.by_clock else (yield from self._first(most))
        others = [one for one in workflow_ids if one not in listed]
        return dict.fromkeys(listed, True) | (yield from check_workflows(others, self.wanted))

    def _first(self, most: int) -> Plan[set[str]]:
        """Read the first pages with one request. Others may end workflows meanwhile, so it need not be all."""
        select, filters = sorted(self.wanted.fields), self.wanted.params()
        pages = [
            calls.list_workflows(select=select, filters=filters, order=OLDEST_FIRST, start=start)
            for start in range(0, most, PAGE)
        ]
        replies = yield from read_all(pages)
        return {one.id for reply in replies for one in workflows_of(reply) if self.wanted.matches(one)}


def matching(wanted: WorkflowFilter, *, recorded: bool = False) -> Selector:
    """Select the running workflows that match a filter.

    :param recorded: whether their documents, and who started them, are read too.
    """
    return _Matching(wanted, frozenset(RECORD_FIELDS if recorded else ("STARTED", "TEMPLATE_ID")))
