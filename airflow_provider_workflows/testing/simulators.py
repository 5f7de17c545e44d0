"""The two simulated systems as a test sees them: what it puts there, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow_provider_workflows.simulator import Control

#: Makes an Airflow connection lead to the simulator: its id, and its type.
Connect = Callable[[str, str], None]


class _System:
    """What both have.

    :param control: of the simulator, for all that is not here: settings, faults, users, tasks, requests.
    :param connect: makes an Airflow connection lead to it.
    """

    conn_type: str

    def __init__(self, control: Control, connect: Connect) -> None:
        self.control = control
        self._connect = connect

    def connect(self, conn_id: str) -> None:
        """Have another Airflow connection lead here, until the test is over.

        :param conn_id: its id; the default one of the type is there already.
        """
        self._connect(conn_id, self.conn_type)

    def _started(self) -> list[str]:
        return [entry["id"] for entry in self.control.journal("start") if entry["vendor"] == self.conn_type]


class Bitrix24Simulator(_System):
    """A simulated Bitrix24 portal. Lists of ids are in the order in which they came into the portal."""

    conn_type = "bitrix24"

    def add_workflows(self, count: int = 1, **fields: Any) -> list[str]:
        """Put running workflows into the portal.

        :param count: how many.
        :param fields: what ``bizproc.workflow.instances`` returns of each, e.g. ``TEMPLATE_ID``, ``STARTED`` (a
            date or its ISO text), ``OWNED_UNTIL`` (the end of its lock: one that has ended makes it stuck); and
            ``ends_after``, seconds after which it finishes by itself.
        :returns: their ids.
        """
        return self.control.add_workflows([_as_json(fields)] * count)

    def add_template(self, id: int, **fields: Any) -> None:
        """Put a template into the portal, so that workflows can be started with it.

        :param id: its id.
        :param fields: what ``bizproc.workflow.template.list`` returns of it; it suits any document without ``ENTITY``.
        """
        self.control.add_templates([{"ID": id, **fields}])

    def add_flow(self, **fields: Any) -> int:
        """Put a task flow into the portal.

        :param fields: of the flow, e.g. ``id``, ``name``, ``active``.
        :returns: its id.
        """
        return self.control.add_flow(**fields)

    @property
    def workflows(self) -> dict[str, dict[str, Any]]:
        """All workflows, those that have ended too: id to fields, with ``state`` and ``status_text``."""
        rows: dict[str, dict[str, Any]] = self.control.state()["bitrix24"]["workflows"]
        return rows

    @property
    def started(self) -> list[str]:
        """Ids of the workflows that were started through the API."""
        return self._started()

    @property
    def running(self) -> list[str]:
        """Ids of the workflows that run."""
        return self._in_state("running")

    @property
    def terminated(self) -> list[str]:
        """Ids of the workflows that were terminated; their record is kept."""
        return self._in_state("terminated")

    @property
    def killed(self) -> list[str]:
        """Ids of the workflows that were killed; their record is erased."""
        return self._in_state("killed")

    @property
    def finished(self) -> list[str]:
        """Ids of the workflows that came to their own end."""
        return self._in_state("finished")

    @property
    def flows(self) -> dict[int, dict[str, Any]]:
        """All task flows: id to fields, with ``active``."""
        return {int(id): fields for id, fields in self.control.state()["bitrix24"]["flows"].items()}

    def _in_state(self, state: str) -> list[str]:
        return [id for id, row in self.workflows.items() if row["state"] == state]


class DomoSimulator(_System):
    """A simulated Domo account. Lists of ids are in the order in which they came into the account."""

    conn_type = "domo"

    def add_model(self, **fields: Any) -> str:
        """Put a workflow model into the account, so that it can be started.

        :param fields: ``id``, ``name``, ``message_name``, ``versions``, any of which may be left out.
        :returns: its id.
        """
        return self.control.add_domo_models([fields])[0]

    def add_instances(self, count: int = 1, *, status: str | None = "IN_PROGRESS", **fields: Any) -> list[str]:
        """Put workflow instances into the account.

        :param count: how many.
        :param status: their status, ``None`` for not started yet.
        :param fields: what the API has of each, and ``finishes_after``, seconds after which they complete, or are in
            ``final_status``.
        :returns: their ids.
        """
        return self.control.add_domo_instances([{"status": status, **_as_json(fields)}] * count)

    @property
    def statuses(self) -> dict[str, str | None]:
        """Status of each instance, by its id."""
        return {id: row["status"] for id, row in self.control.state()["domo"]["instances"].items()}

    @property
    def started(self) -> list[str]:
        """Ids of the instances that were started through the API."""
        return self._started()

    @property
    def running(self) -> list[str]:
        """Ids of the instances that have not ended, those among them that have not started yet."""
        return [id for id, status in self.statuses.items() if status in (None, "IN_PROGRESS")]

    @property
    def completed(self) -> list[str]:
        """Ids of the instances that are COMPLETED."""
        return self._with_status("COMPLETED")

    @property
    def failed(self) -> list[str]:
        """Ids of the instances that are FAILED."""
        return self._with_status("FAILED")

    @property
    def canceled(self) -> list[str]:
        """Ids of the instances that are CANCELED."""
        return self._with_status("CANCELED")

    def _with_status(self, wanted: str) -> list[str]:
        return [id for id, status in self.statuses.items() if status == wanted]


def _as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
