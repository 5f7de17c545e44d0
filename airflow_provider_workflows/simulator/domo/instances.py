"""The workflow models and instances of the Domo account."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_workflows.simulator.clock import Clock

DEFAULT_MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"
FINAL = ("COMPLETED", "FAILED", "CANCELED")


def stamp(seconds: float) -> str:
    """
    Write a date as Domo does: UTC with milliseconds and Z.

    :param seconds: since 1970
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Model:
    """
    A workflow model.

    :param id: its UUID
    :param name: its name
    :param message_name: the title of its start shape
    :param versions: the versions that are deployed
    :param inactive: those that are turned off
    :param inputs: what a start wants to know: ``paramName``, ``dataType``, ``isList``, ``required`` of each
    :param permissions: what was said of users' and groups' permissions, by their ids
    :param created: when it was made, and its versions deployed
    """

    id: str
    name: str
    message_name: str
    versions: list[str]
    inactive: set[str] = field(default_factory=set)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    permissions: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: float = 0.0

    def active(self) -> list[str]:
        """Return the versions that can be started."""
        return [version for version in self.versions if version not in self.inactive]


@dataclass
class Instance:
    """One run of a model; its status follows from the time and from what was asked of it."""

    id: str
    model: Model
    version: str
    created: float
    created_by: str
    begun: str | None = None  # the status it had when it came into the simulator
    starts_at: float | None = None
    finishes_at: float | None = None
    final_status: str = "COMPLETED"
    cancels_at: float | None = None
    visible: bool = True
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def deployment(self) -> str:
        """The id of the deployment of its version."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.model.id} {self.version}"))

    def status(self, now: float) -> str | None:
        """
        Return the status.

        :param now: the time
        """
        return self._changes(now)[-1][1]

    def _changes(self, now: float) -> list[tuple[float, str | None]]:
        """Return the statuses it has had so far, each with its time."""
        events = [
            (self.starts_at, "IN_PROGRESS"),
            (self.finishes_at, self.final_status),
            (self.cancels_at, "CANCELED"),
        ]
        changes: list[tuple[float, str | None]] = [(self.created, self.begun)]
        due = sorted((at, status) for at, status in events if at is not None and at <= now)
        for at, status in due:
            last = changes[-1][1]
            # COMPLETED and CANCELED are for good, a failed instance can still be canceled
            if last in ("COMPLETED", "CANCELED") or (last == "FAILED" and status != "CANCELED"):
                continue
            changes.append((at, status))
        return changes

    def full(self, now: float) -> dict[str, Any]:
        """
        All there is to know, for the control path.

        :param now: the time
        """
        return {**self.detailed(now), "status": self.status(now), "visible": self.visible, "data": self.data}

    def brief(self, now: float) -> dict[str, Any]:
        """
        Return the fields of the API's WorkflowInstance, but for the status.

        :param now: the time
        """
        return {
            "id": self.id,
            "modelId": self.model.id,
            "modelName": self.model.name,
            "modelVersion": self.version,
            "createdBy": self.created_by,
            "createdOn": stamp(self.created),
            "updatedBy": self.created_by,
            "updatedOn": stamp(self._changes(now)[-1][0]),
        }

    def detailed(self, now: float) -> dict[str, Any]:
        """
        Return the fields of the API's WorkflowInstanceDetailed, but for the status.

        :param now: the time
        """
        return {
            **self.brief(now),
            "deploymentId": self.deployment,
            "bpmnProcessId": f"Process_{self.model.id}_{self.version}_1",
            "bpmnProcessName": f"domo {self.model.name} {self.version} 1",
            "isTestRun": False,
        }

    def listed(self, now: float) -> dict[str, Any]:
        """
        Return the fields that a list of instances adds, but for the status.

        :param now: the time
        """
        extra: dict[str, Any] = {"triggerType": "API"}
        if self.status(now) in FINAL:
            extra["completedOn"] = stamp(self._changes(now)[-1][0])
        if self.status(now) == "FAILED":
            extra["errorMessage"] = "A shape of the workflow failed."
        return {**self.detailed(now), **extra}


class Instances:
    """
    All models and instances by ID; one model is there from the start.

    :param clock: the time that instances go by
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.models: dict[str, Model] = {}
        self.rows: dict[str, Instance] = {}
        self.add_model({"id": DEFAULT_MODEL, "name": "AddTwoNumbers", "versions": ["1.0.0", "1.1.0"]})

    def add_model(self, fields: dict[str, Any]) -> Model:
        """
        Put a model into the account.

        :param fields: ``id``, ``name``, ``message_name``, ``versions`` and ``inputs``, any of which may be left out
        :raises ValueError: for an unknown field
        """
        known = {"id", "name", "message_name", "versions", "inputs"}
        if fields.keys() - known or not isinstance(fields.get("versions", []), list):
            raise ValueError(f"A model has {', '.join(sorted(known))}, and a list of versions, not {fields!r}")
        name = fields.get("name", "Workflow")
        model = Model(
            id=fields.get("id") or str(uuid.uuid4()),
            name=name,
            message_name=fields.get("message_name") or f"Start {name}",
            versions=list(fields.get("versions", ["1.0.0"])),
            inputs=[dict(wanted) for wanted in fields.get("inputs", [])],
            created=self._clock.time(),
        )
        self.models[model.id] = model
        return model

    def add(self, fields: dict[str, Any], user: str) -> Instance:
        """
        Put an instance into the account.

        :param fields: fields of the API's instance, of which ``id``, ``modelId``, ``modelName``, ``modelVersion``,
            ``createdBy``, ``createdOn`` and ``status`` (any word: real accounts may send unknown ones) count; and
            ``starts_after``, ``finishes_after`` (seconds), ``final_status``, ``visible`` and ``data``
        :param user: who is its creator if that is left out
        :raises ValueError: for an unknown field, or what is no status
        """
        known = {"id", "modelId", "modelName", "modelVersion", "createdBy", "createdOn", "status"}
        known |= {"starts_after", "finishes_after", "final_status", "visible", "data"}
        if fields.keys() - known:
            raise ValueError(f"An instance has no field {', '.join(sorted(fields.keys() - known))}")
        status = fields.get("status", "IN_PROGRESS")
        if not isinstance(status, str | None) or fields.get("final_status", "COMPLETED") not in FINAL:
            raise ValueError(f"An instance has no status {status!r}")
        model_id = fields.get("modelId", DEFAULT_MODEL)
        model = self.models.get(model_id)
        if model is None:
            model = self.add_model({"id": model_id, "name": fields.get("modelName", "Workflow"), "versions": []})
        version = fields.get("modelVersion") or (model.versions or ["1.0.0"])[-1]
        if version not in model.versions:
            model.versions.append(version)
        now = self._clock.time()
        created = fields.get("createdOn")
        row = Instance(
            id=fields.get("id") or str(uuid.uuid4()),
            model=model,
            version=version,
            created=datetime.fromisoformat(created).timestamp() if created else now,
            created_by=str(fields.get("createdBy", user)),
            begun=status,
            starts_at=_later(now, fields.get("starts_after")),
            finishes_at=_later(now, fields.get("finishes_after")),
            final_status=fields.get("final_status", "COMPLETED"),
            visible=fields.get("visible", True),
            data=fields.get("data", {}),
        )
        self.rows[row.id] = row
        return row


def _later(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now + seconds
