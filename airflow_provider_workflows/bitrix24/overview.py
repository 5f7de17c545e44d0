"""What runs on a portal, in two requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import PAGE, Call, Reply
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import workflows_of
from airflow_provider_workflows.bitrix24.models import Workflow
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.plans import Now, Plan
from airflow_provider_workflows.rest.redaction import escape_controls

#: The age groups, from the youngest on, and the days that each begins with.
AGES = {"under a day": 0, "a day to a week": 1, "a week to a month": 7, "over a month": 30}
#: How many templates are counted one by one: with their ages they fill one batch.
TEMPLATES = 12
#: How many pages of the oldest and of the latest workflows are looked through for templates.
SAMPLED_PAGES = 4
#: Since when a workflow's lock must have ended; Bitrix24 calls it stuck then.
STUCK_FOR = timedelta(minutes=5)
#: How many of the stuck ones are named.
NAMED = 10


@dataclass(frozen=True, slots=True)
class Overview:
    """What runs on a portal.

    :param running: how many workflows.
    :param stuck: how many of them are stuck.
    :param by_age: how many of them are how old, as in :data:`AGES`.
    :param by_template: the same for the templates that have most, by id.
    :param names: what the portal calls its templates, by id.
    :param longest_stuck: the first of those that are stuck, the oldest first.
    """

    running: int
    stuck: int
    by_age: Mapping[str, int]
    by_template: Mapping[int, Mapping[str, int]]
    names: Mapping[int, str]
    longest_stuck: list[Workflow]


def read_overview() -> Plan[Overview]:
    """Count what runs on a portal, in two requests, each sent once.

    Counts come from the portal's own totals, so they are right for any number of workflows. Templates are counted one
    by one if they are among the first that the portal lists, or among the oldest or latest workflows.

    :raises ApiError: if it cannot be told.
    """
    now = datetime.fromtimestamp((yield Now()), UTC)
    samples = {
        f"{order}{page}": calls.list_workflows(
            select=["ID", "TEMPLATE_ID"], order={"STARTED": order}, start=page * PAGE
        )
        for order in ("asc", "desc")
        for page in range(SAMPLED_PAGES)
    }
    stuck = calls.list_workflows(
        select=["ID", "TEMPLATE_ID", "STARTED"],
        filters=WorkflowFilter.parse({}, stuck_for=STUCK_FOR).params(),
        order={"STARTED": "asc"},
    )
    named = {"stuck": stuck, "templates": calls.list_templates()}
    first: Reply = yield calls.batch(named | samples | _by_age({}, now, "all"))
    seen = [one.template_id for key in samples for one in workflows_of(_reply(first, key))]
    sampled = Counter(id for id in seen if id is not None)
    names = _names(first.result["templates"])
    candidates = [id for id, _ in sampled.most_common()] + [id for id in names if id not in sampled]
    counted = candidates[:TEMPLATES]
    by_template: dict[int, Mapping[str, int]] = {}
    if counted:
        commands = {key: call for id in counted for key, call in _by_age({"TEMPLATE_ID": id}, now, f"t{id}").items()}
        second: Reply = yield calls.batch(commands)
        by_template = {id: _ages(second, f"t{id}") for id in counted}
    stuck_ones = _reply(first, "stuck")
    return Overview(
        running=_total(first, "all0"),
        stuck=stuck_ones.total or 0,
        by_age=_ages(first, "all"),
        by_template={id: ages for id, ages in by_template.items() if sum(ages.values())},
        names=names,
        longest_stuck=workflows_of(stuck_ones)[:NAMED],
    )


def _by_age(filters: Mapping[str, Any], now: datetime, name: str) -> dict[str, Call]:
    """Return the calls that count those that are at least as old as each age begins with."""

    def at_least(days: int) -> dict[str, Any]:
        older = {"<STARTED": (now - timedelta(days=days)).isoformat()} if days else {}
        return WorkflowFilter.parse({**filters, **older}).params()

    return {f"{name}{days}": calls.list_workflows(select=["ID"], filters=at_least(days)) for days in AGES.values()}


def _ages(reply: Reply, name: str) -> dict[str, int]:
    at_least = [_total(reply, f"{name}{days}") for days in AGES.values()] + [0]
    # Some end between two counts.
    return {age: max(0, at_least[nth] - at_least[nth + 1]) for nth, age in enumerate(AGES)}


def _reply(batch: Reply, key: str) -> Reply:
    outcome: Reply | ApiError = batch.result[key]
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def _total(batch: Reply, key: str) -> int:
    return _reply(batch, key).total or 0


def _names(outcome: Reply | ApiError) -> dict[int, str]:
    """Return the names of templates; none if the portal does not return them."""
    rows = outcome.result if isinstance(outcome, Reply) and isinstance(outcome.result, list) else []
    return {int(row["ID"]): escape_controls(str(row.get("NAME") or "")) for row in rows if str(row.get("ID")).isdigit()}
