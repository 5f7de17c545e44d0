"""The workflows of the portal, running and ended."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

from airflow_provider_workflows.simulator.bitrix24.dates import iso, timestamp
from airflow_provider_workflows.simulator.bitrix24.listing import (
    Column,
    Condition,
    matching,
    ordered,
)
from airflow_provider_workflows.simulator.clock import Clock

STUCK_SECONDS = 300
PAUSE_SECONDS = 7 * 86_400
TASK_SECONDS = 86_400
STATES = ("running", "waiting", "finished", "terminated", "killed")
VIEWS = 16
DOCUMENTS = (
    ("crm", "CCrmDocumentDeal", "DEAL_{}"),
    ("crm", "CCrmDocumentLead", "LEAD_{}"),
    ("lists", "Bitrix\\Lists\\BizprocDocumentLists", "{}"),
)


@dataclass(slots=True)
class Workflow:
    """
    One workflow; dates are whole seconds since 1970, as the database keeps them.

    :param paused: whether it is at a pause, with nothing that will wake it; no method shows that
    """

    id: str
    started: int
    modified: int
    owned_until: int | None = None
    module_id: str = "crm"
    entity: str = "CCrmDocumentDeal"
    document_id: str = "DEAL_1"
    started_by: int = 1
    template_id: int = 1
    state: str = "running"
    status_text: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    paused: bool = False

    @property
    def document(self) -> tuple[str, str]:
        """What it runs on: module and ID."""
        return self.module_id, self.document_id

    def full(self, offset: str) -> dict[str, Any]:
        """
        All there is to know, for the control path.

        :param offset: the server's offset from UTC
        """
        fields = {name: show(self, name, offset) for name in COLUMNS}
        own = {name: getattr(self, name) for name in ("state", "status_text", "parameters", "paused")}
        return {**fields, **own}


COLUMNS: dict[str, Column] = {
    "ID": Column("text", attrgetter("id")),
    "MODIFIED": Column("date", attrgetter("modified")),
    "OWNED_UNTIL": Column("date", attrgetter("owned_until")),
    "MODULE_ID": Column("text", attrgetter("module_id")),
    "ENTITY": Column("text", attrgetter("entity")),
    "DOCUMENT_ID": Column("text", attrgetter("document_id")),
    "STARTED": Column("date", attrgetter("started")),
    "STARTED_BY": Column("int", attrgetter("started_by")),
    "TEMPLATE_ID": Column("int", attrgetter("template_id")),
}


def show(row: Workflow, name: str, offset: str) -> str | None:
    """
    Return a field as the portal shows it: numbers as text, dates in the server's time.

    :param row: the workflow
    :param name: the field
    :param offset: the server's offset from UTC
    """
    value = COLUMNS[name].get(row)
    if value is None:
        return None
    return iso(value, offset) if COLUMNS[name].kind == "date" else str(value)


def uniqid(seconds: float, tail: int | None = None) -> str:
    """
    Return an ID as PHP's ``uniqid('', true)`` makes it: the time in 13 hexadecimal digits, a digit, a dot, 8 digits.

    :param seconds: the time
    :param tail: the nine digits at the end, random if left out
    """
    tail = random.randrange(10**9) if tail is None else tail  # noqa: S311
    return f"{int(seconds):08x}{int(seconds * 1e6) % 10**6:05x}{tail // 10**8}.{tail % 10**8:08d}"


class Workflows:
    """
    All workflows by ID.

    Listing 100,000 of them page by page must not sort them for each page, so each filter and order that is asked for
    leaves a sorted view, which loses its ended workflows when it is next read. An order is sorted once for all filters,
    as a database's index is.

    :param clock: the time at which they end
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[str, Workflow] = {}
        self._running: dict[str, Workflow] = {}
        self._ends: list[tuple[float, str]] = []
        self._views: dict[tuple[Any, Any], tuple[int, list[Workflow]]] = {}
        self._waiting: dict[tuple[str, str], deque[Workflow]] = {}
        self._ended = 0

    def add(self, row: Workflow, ends_after: float | None = None) -> None:
        """
        Put a workflow into the portal.

        :param row: the workflow
        :param ends_after: seconds after which it finishes by itself
        """
        self.rows[row.id] = row
        self._views.clear()
        if row.state == "waiting":
            self._waiting.setdefault(row.document, deque()).append(row)
        if row.state == "running":
            self._running[row.id] = row
            if ends_after is not None:
                heapq.heappush(self._ends, (self._clock.time() + ends_after, row.id))

    def change(self, id: str, fields: dict[str, Any]) -> None:
        """
        Change a workflow.

        :param id: its ID
        :param fields: attributes that differ from now on
        """
        for name, value in fields.items():
            setattr(self.rows[id], name, value)
        self._views.clear()

    def running(self, id: str) -> Workflow | None:
        """
        Return a workflow, if it is running.

        :param id: its ID
        """
        self.settle()
        return self._running.get(id)

    def end(self, row: Workflow, state: str, status_text: str | None = None) -> None:
        """
        End a workflow.

        :param row: the workflow
        :param state: ``terminated``, ``killed`` or ``finished``
        :param status_text: what to show as its status
        """
        row.state, row.status_text, row.modified = state, status_text, int(self._clock.time())
        self._running.pop(row.id, None)
        self._ended += 1
        waiting = self._waiting.get(row.document)
        if waiting:
            following = waiting.popleft()
            following.state, following.started = "running", row.modified
            self.add(following)

    def on(self, document: tuple[str, str]) -> int:
        """
        Return how many workflows run on a document.

        :param document: its module and ID
        """
        self.settle()
        return sum(row.document == document for row in self._running.values())

    def disturb(self, end: int, start: int, template_id: int, now: float) -> None:
        """
        Do what others do while a list is read: the oldest workflows end, and new ones start.

        :param end: how many end
        :param start: how many start
        :param template_id: the template of those that start
        :param now: when they start
        """
        for row in list(islice(self._running.values(), end)):
            self.end(row, "finished")
        for _ in range(start):
            self.add(Workflow(uniqid(now), int(now), int(now), template_id=template_id))

    def settle(self) -> None:
        """Finish the workflows whose time has come."""
        while self._ends and self._ends[0][0] <= self._clock.time():
            row = self._running.get(heapq.heappop(self._ends)[1])
            if row is not None:
                self.end(row, "finished")

    def view(self, wanted: tuple[Condition, ...], by: tuple[tuple[str, bool], ...]) -> list[Workflow]:
        """
        Return the running workflows that meet the conditions, sorted.

        :param wanted: the conditions
        :param by: the fields to sort by
        """
        self.settle()
        key = (wanted, by)
        if key not in self._views:
            if wanted:
                rows = matching(self.view((), by), wanted, COLUMNS)
            else:
                rows = ordered(list(self._running.values()), by, COLUMNS)
            if len(self._views) >= VIEWS:
                self._views.pop(next(iter(self._views)))
        else:
            seen, rows = self._views[key]
            if seen != self._ended:
                rows = [row for row in rows if row.state == "running"]
        self._views[key] = (self._ended, rows)
        return rows

    def has_tasks(self, id: str) -> bool:
        """
        Whether the portal still knows the tasks of a workflow: for a day after its end.

        :param id: the workflow's ID; one that nobody has put there counts as running
        """
        row = self.rows.get(id)
        return row is None or row.state in ("running", "waiting") or row.modified > self._clock.time() - TASK_SECONDS

    def paused_too_long(self, now: float) -> list[Workflow]:
        """
        Return the running workflows that are paused with nothing to wake them, and have not changed for a week.

        :param now: the time
        """
        self.settle()
        return [
            row
            for row in self._running.values()
            if row.paused
            and row.modified < now - PAUSE_SECONDS
            and (row.owned_until is None or row.owned_until < now - STUCK_SECONDS)
        ]

    def stuck(self) -> int:
        """How many running workflows are stuck: their lock ended more than five minutes ago."""
        latest = self._clock.time() - STUCK_SECONDS
        return sum(row.owned_until is not None and row.owned_until < latest for row in self._running.values())


def from_fields(fields: dict[str, Any], offset: str, now: int) -> Workflow:
    """
    Return a workflow from the nine fields of the API, any of which may be left out.

    :param fields: the fields, and ``state``, ``status_text`` or ``paused`` if wanted
    :param offset: the server's offset, for dates without one
    :param now: when it started if that is left out
    :raises ValueError: for an unknown field or state, or an unreadable date
    """
    known = {*COLUMNS, "state", "status_text", "parameters", "paused"}
    if fields.get("state", "running") not in STATES or not isinstance(fields.get("paused", False), bool):
        raise ValueError(f"state is one of {', '.join(STATES)}, and paused true or false")
    if fields.keys() - known:
        raise ValueError(f"A workflow has no field {', '.join(sorted(fields.keys() - known))}")
    values = {}
    for name, value in fields.items():
        column = COLUMNS.get(name)
        if column and column.kind == "date" and value is not None:
            seconds = timestamp(str(value), offset, now)
            if seconds is None:
                raise ValueError(f"{name} is no date: {value!r}")
            value = seconds
        elif column and value is not None:
            value = int(value) if column.kind == "int" else str(value)
        values[name.lower()] = value
    started = values.setdefault("started", now)
    values.setdefault("modified", started)
    values.setdefault("id", uniqid(started + random.random()))  # noqa: S311
    return Workflow(**values)


def generated(
    count: int,
    stuck: int,
    templates: int,
    seed: int,
    now: int,
    started_from: int,
    started_to: int,
    started_by: int = 20,
    paused: int = 0,
) -> list[Workflow]:
    """
    Many made-up workflows, the same ones for the same seed.

    :param count: how many
    :param stuck: how many of them are stuck
    :param templates: over how many templates they spread
    :param seed: of the random numbers
    :param now: the time
    :param started_from: when the first may have started
    :param started_to: when the last may have started
    :param started_by: how many users started them
    :param paused: how many of them are paused for too long
    :raises ValueError: if too few can be stuck, or paused
    """
    chance = random.Random(seed)  # noqa: S311
    starts = sorted(chance.uniform(started_from, started_to) for _ in range(count))
    are_stuck = set(chance.sample(range(count), stuck))
    rows = []
    for number, started in enumerate(starts):
        template = chance.randint(1, templates)
        module_id, entity, document = DOCUMENTS[template % len(DOCUMENTS)]
        modified = int(chance.uniform(started, max(started, now - 3600)))
        owned_until = None
        if number in are_stuck:
            owned_until = now - chance.randint(2 * STUCK_SECONDS, 86_400)
        elif chance.random() < 0.05:
            owned_until = now + 240  # at work just now
        rows.append(
            Workflow(
                id=uniqid(started, chance.randrange(10**9)),
                started=int(started),
                modified=modified,
                owned_until=owned_until,
                module_id=module_id,
                entity=entity,
                document_id=document.format(number + 1),
                started_by=chance.randint(1, started_by),
                template_id=template,
            )
        )
    long_ago = now - 8 * 86_400
    old = [row for row in rows if row.owned_until is None and row.started < long_ago]
    for row in chance.sample(old, paused):
        row.paused, row.modified = True, min(row.modified, long_ago)
    return rows
