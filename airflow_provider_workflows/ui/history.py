"""What Airflow itself knows of earlier tasks: clean-ups with their reports, and Domo's models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select

from airflow_provider_workflows.links.domo import InstanceLink

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

    :param clean_ups: the latest reports, the last one first.
    :param models: Domo's models that tasks worked on, by the account's host, the last one first.
    """

    clean_ups: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, list[str]] = field(default_factory=dict)


def read(may_see: Callable[[str], bool]) -> History:
    """Return what tasks have pushed: of reports those of Dags that the user may see, of models all.

    Models are shown to who may see the connection, and are the same for all of them.

    :param may_see: whether the user may see a Dag's XComs.
    """
    seen, allowed = History(), dict[str, bool]()
    same = and_(
        XComModel.dag_id == TaskInstance.dag_id,
        XComModel.run_id == TaskInstance.run_id,
        XComModel.task_id == TaskInstance.task_id,
        XComModel.map_index == TaskInstance.map_index,
    )
    keys = ("return_value", InstanceLink().xcom_key)
    with create_session() as session:
        rows = session.execute(
            select(XComModel, TaskInstance.operator, TaskInstance.state)
            .join(TaskInstance, same)
            .where(
                XComModel.key.in_(keys),
                TaskInstance.operator.in_((*REPORTING, "DomoStartOperator", "DomoWorkflowSensor")),
            )
            .order_by(XComModel.timestamp.desc())
            .limit(LATEST)
        )
        for xcom, operator, state in rows:
            value = _plain(xcom.value)
            if xcom.key != "return_value":
                _note_model(seen, value)
                continue
            if xcom.dag_id not in allowed:
                allowed[xcom.dag_id] = may_see(xcom.dag_id)
            is_report = operator in REPORTING and isinstance(value, dict)
            if is_report and allowed[xcom.dag_id] and len(seen.clean_ups) < SHOWN:
                seen.clean_ups.append(_clean_up(xcom, operator or "", state, value))
    return seen


def _plain(stored: Any) -> Any:
    """Return an XCom as plain JSON: the web server makes no objects of what Dags write."""
    try:
        return json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        return stored


def _note_model(seen: History, url: Any) -> None:
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return
    names = [unquote(part) for part in parts.path.split("/")]
    if names[1:3] == ["workflows", "instances"] and len(names) == 6:
        models = seen.models.setdefault(parts.netloc, [])
        if names[3] not in models:
            models.append(names[3])


def _clean_up(xcom: Any, operator: str, state: str | None, report: dict[str, Any]) -> dict[str, Any]:
    # Any Dag may have an operator of such a name, and whatever it returns.
    failures = report.get("failures")
    first = failures[0] if isinstance(failures, list) and failures else None
    place = "/".join(quote(part, safe="") for part in (xcom.dag_id, "runs", xcom.run_id, "tasks", xcom.task_id))
    return {
        "dag": xcom.dag_id,
        "task": xcom.task_id,
        "operator": operator.removesuffix("Operator"),
        "state": state or "",
        "at": xcom.timestamp.isoformat(),
        "page": f"dags/{place}",
        "dry_run": report.get("dry_run") is True,
        "reason": str(first.get("reason", "")) if isinstance(first, dict) else "",
        **{name: report.get(name) if isinstance(report.get(name), int) else 0 for name in COUNTS},
    }
