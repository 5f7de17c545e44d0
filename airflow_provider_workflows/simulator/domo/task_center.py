"""The queues of Domo's Task Center, and the tasks in them that people have to do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.domo.instances import Instance, stamp

DEFAULT_QUEUE = "168ecd84-4a15-45f6-89d9-021fbbce0481"


@dataclass
class Queue:
    """
    One queue.

    :param permissions: what was said of users' and groups' permissions, by their ids
    """

    id: str
    name: str
    owner: str
    created: float
    permissions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def full(self) -> dict[str, Any]:
        """Return the queue as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": "",
            "active": True,
            "taskLevelFiltersEnabled": False,
            "taskLevelFilters": None,
            "owner": self.owner,
            "createdBy": self.owner,
            "createdOn": stamp(self.created),
            "updatedBy": self.owner,
            "updatedOn": stamp(self.created),
        }


@dataclass
class Task:
    """One task; an instance waits for it."""

    id: str
    queue: str
    instance: Instance
    assigned_to: str
    created: float
    assigned_by: str
    assigned: float
    updated: float
    updated_by: str
    assignee_type: str = "USER"
    status: str = "OPEN"
    version: int = 1
    outputs: dict[str, Any] = field(default_factory=dict)
    locked: float | None = None
    completed: float | None = None
    completed_by: str | None = None

    def full(self) -> dict[str, Any]:
        """Return the task as the API shows it."""
        return {
            "id": self.id,
            "attributes": [],
            "queueId": self.queue,
            "version": self.version,
            "createdOn": stamp(self.created),
            "createdBy": self.instance.created_by,
            "updatedOn": stamp(self.updated),
            "updatedBy": self.updated_by,
            "completedOn": None if self.completed is None else stamp(self.completed),
            "completedBy": self.completed_by,
            "assignedOn": stamp(self.assigned),
            "assignedBy": self.assigned_by,
            "assignedTo": self.assigned_to,
            "assigneeType": self.assignee_type,
            "lockedOn": None if self.locked is None else stamp(self.locked),
            "lockedBy": None if self.locked is None else self.updated_by,
            "status": self.status,
            "tags": [],
            "comments": [],
            "sourceSystem": "ODYSSEY",
            "sourceInfo": {
                "modelId": self.instance.model.id,
                "modelVersion": self.instance.version,
                "instanceId": self.instance.id,
                "deploymentId": self.instance.deployment,
                "instanceCreatedBy": self.instance.created_by,
                # The engine's own numbers, which lead nowhere in this API.
                "taskKey": _engine_key(self.id),
                "workflowInstanceId": _engine_key(self.instance.id),
                "elementInstanceKey": _engine_key(f"{self.id} element"),
            },
            "displayType": "ENIGMA_FORM",
            "inputVariables": {},
            "outputVariables": self.outputs,
        }


def _engine_key(id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, id).int % 10**16)


class TaskCenter:
    """
    All queues and tasks; one queue is there from the start.

    :param clock: the time at which things happen to tasks
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queues: dict[str, Queue] = {}
        self.tasks: dict[str, Task] = {}

    def add_queue(self, fields: dict[str, Any], user: str) -> Queue:
        """
        Put a queue into the account.

        :param fields: ``id`` and ``name``, either of which may be left out
        :param user: whose it is
        :raises ValueError: for an unknown field
        """
        if fields.keys() - {"id", "name"}:
            raise ValueError(f"A queue has id and name, not {fields!r}")
        id = str(fields.get("id") or uuid.uuid4())
        self.queues[id] = Queue(id, str(fields.get("name", "Approvals")), user, self._clock.time())
        return self.queues[id]

    def add(self, instance: Instance, fields: dict[str, Any], user: str) -> Task:
        """
        Have an instance wait for somebody.

        :param instance: the instance
        :param fields: ``id``, ``queueId`` and ``assignedTo``, any of which may be left out
        :param user: to whom it is assigned if that is left out, and who did it
        :raises ValueError: for an unknown queue
        """
        queue = fields.get("queueId", DEFAULT_QUEUE)
        if queue not in self.queues:
            raise ValueError(f"There is no queue {queue!r}")
        now = self._clock.time()
        id = str(fields.get("id") or uuid.uuid4().hex[:14].upper())
        task = Task(id, queue, instance, str(fields.get("assignedTo", user)), now, user, now, now, user)
        self.tasks[id] = task
        return task

    def void_all(self, instance: Instance, user: str) -> None:
        """
        Let nobody have to do anything for an instance any more.

        :param instance: the instance, which is cancelled
        :param user: who does it
        """
        for task in self.tasks.values():
            if task.instance is instance and task.status == "OPEN":
                self.change(task, user, status="VOIDED")

    def save(self, task: Task, outputs: dict[str, Any], user: str) -> None:
        """
        Keep what was filled in so far, which makes no other version of a task.

        :param task: the task
        :param outputs: what was filled in
        :param user: who did it
        """
        task.outputs = {**task.outputs, **outputs}
        task.updated = task.locked = self._clock.time()
        task.updated_by = user

    def change(self, task: Task, user: str, **fields: Any) -> None:
        """
        Change a task, of which there is another version then.

        :param task: the task
        :param user: who does it
        :param fields: what differs from now on
        """
        task.updated, task.updated_by = self._clock.time(), user
        task.version += 1
        for name, value in fields.items():
            setattr(task, name, value)
        if "assigned_to" in fields:
            task.assigned, task.assigned_by = task.updated, user
        if task.status == "COMPLETED":
            task.completed, task.completed_by = task.updated, user
