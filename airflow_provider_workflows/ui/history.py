"""What Airflow's database knows of earlier tasks: clean-ups with their reports, and Domo's models.

No public interface of Airflow's lists what tasks of certain operators have returned, for all Dags and the latest first:
:func:`_rows` asks its database, and nothing else here does. Where it cannot, the page says so and goes on without.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_workflows.links.domo import InstanceLink

log = logging.getLogger(__name__)

#: The operators whose reports are shown.
REPORTING = (
    "CleanUpWorkflowsOperator",
    "CleanUpEmployeeWorkflowsOperator",
    "TerminateWorkflowOperator",
    "KillWorkflowOperator",
    "DomoCancelOperator",
)
#: How many of the latest tasks are looked through, and how many are shown.
LATEST, SHOWN = 200, 15
#: The counts of a report.
COUNTS = ("requested", "ended", "already_ended", "moved_on", "failed")


@dataclass(slots=True)
class History:
    """What Airflow knows.

    :param clean_ups: the latest reports, the last one first; ``None`` if they cannot be read.
    :param models: Domo's models that tasks worked on, by the account's host, the last one first.
    """

    clean_ups: list[dict[str, Any]] | None = field(default_factory=list)
    models: dict[str, list[str]] = field(default_factory=dict)


def read(may_see: Callable[[str], bool]) -> History:
    """Return what tasks have pushed: of reports those of Dags that the user may see, of models all.

    Models are shown to who may see the connection, and are the same for all of them.

    :param may_see: whether the user may see a Dag's XComs.
    """
    try:
        rows = _rows()
    except Exception:
        log.exception("What earlier tasks have reported cannot be read from this Airflow's database")
        return History(clean_ups=None)
    clean_ups, models, allowed = list[dict[str, Any]](), dict[str, list[str]](), dict[str, bool]()
    for row in rows:
        value = _plain(row.value)
        if row.key != "return_value":
            _note_model(models, value)
            continue
        if row.dag_id not in allowed:
            allowed[row.dag_id] = may_see(row.dag_id)
        is_report = row.operator in REPORTING and isinstance(value, dict)
        if is_report and allowed[row.dag_id] and len(clean_ups) < SHOWN:
            clean_ups.append(_clean_up(row, value))
    return History(clean_ups, models)


def _rows() -> list[Any]:
    """Return the latest XComs of our tasks, with the tasks' operators and states."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import and_, select

    columns = ("dag_id", "run_id", "task_id", "map_index")
    same = and_(*(getattr(XComModel, name) == getattr(TaskInstance, name) for name in columns))
    wanted = (
        select(
            *(getattr(XComModel, name) for name in ("dag_id", "run_id", "task_id", "key", "value", "timestamp")),
            TaskInstance.operator,
            TaskInstance.state,
        )
        .join(TaskInstance, same)
        .where(
            XComModel.key.in_(("return_value", InstanceLink().xcom_key)),
            TaskInstance.operator.in_((*REPORTING, "DomoStartOperator", "DomoWorkflowSensor")),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(LATEST)
    )
    with create_session() as session:
        return list(session.execute(wanted))


def _plain(stored: Any) -> Any:
    """Return an XCom as plain JSON: the web server makes no objects of what Dags write."""
    try:
        return json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        return stored


def _note_model(models: dict[str, list[str]], url: Any) -> None:
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return
    names = [unquote(part) for part in parts.path.split("/")]
    if names[1:3] == ["workflows", "instances"] and len(names) == 6:
        of_host = models.setdefault(parts.netloc, [])
        if names[3] not in of_host:
            of_host.append(names[3])


def _clean_up(row: Any, report: dict[str, Any]) -> dict[str, Any]:
    # Any Dag may have an operator of such a name, and whatever it returns.
    failures = report.get("failures")
    first = failures[0] if isinstance(failures, list) and failures else None
    place = "/".join(quote(part, safe="") for part in (row.dag_id, "runs", row.run_id, "tasks", row.task_id))
    return {
        "dag": row.dag_id,
        "task": row.task_id,
        "operator": row.operator.removesuffix("Operator"),
        "state": row.state or "",
        "at": row.timestamp.isoformat(),
        "page": f"dags/{place}",
        "dry_run": report.get("dry_run") is True,
        "reason": str(first.get("reason", "")) if isinstance(first, dict) else "",
        **{name: report.get(name) if isinstance(report.get(name), int) else 0 for name in COUNTS},
    }
