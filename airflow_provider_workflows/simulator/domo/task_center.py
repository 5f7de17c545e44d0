"""The queues of Domo's Task Center, and the tasks in them that people have to do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.domo.instances import Instance, stamp

DEFAULT_QUEUE = "168ecd84-4a15-45f6-89d9-021fbbce0481"


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
    status: str = "OPEN"
    version: int = 1
    outputs: dict[str, Any] = field(default_factory=dict)
    completed: float | None = None
    completed_by: str | None = None

    def full(self) -> dict[str, Any]:
        """Return the task as the API shows it."""
        return {
            "id": self.id,
            "queueId": self.queue,
            "version": self.version,
            "createdOn": stamp(self.created),
            "createdBy": self.instance.created_by,
            "assignedOn": stamp(self.assigned),
            "assignedBy": self.assigned_by,
            "assignedTo": self.assigned_to,
            "assigneeType": "USER",
            "completedOn": None if self.completed is None else stamp(self.completed),
            "completedBy": self.completed_by,
            "status": self.status,
            "sourceSystem": "ODYSSEY",
            "sourceInfo": {
                "modelId": self.instance.model.id,
                "modelVersion": self.instance.version,
                "instanceId": self.instance.id,
                "instanceCreatedBy": self.instance.created_by,
                # The engine's own number, which leads nowhere in this API.
                "workflowInstanceId": str(uuid.uuid5(uuid.NAMESPACE_OID, self.instance.id).int % 10**16),
            },
            "displayType": "ENIGMA_FORM",
            "outputVariables": self.outputs,
        }


class TaskCenter:
    """
    All queues and tasks; one queue is there from the start.

    :param clock: the time at which things happen to tasks
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queues = {DEFAULT_QUEUE: "Approvals"}
        self.tasks: dict[str, Task] = {}

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
        task = Task(id, queue, instance, str(fields.get("assignedTo", user)), now, user, now)
        self.tasks[id] = task
        return task

    def void(self, instance: Instance) -> None:
        """
        Let nobody have to do anything for an instance any more.

        :param instance: the instance, which is cancelled
        """
        for task in self.tasks.values():
            if task.instance is instance and task.status == "OPEN":
                task.status = "VOIDED"
                task.version += 1

    def complete(self, task: Task, outputs: dict[str, Any], user: str) -> None:
        """
        Do what was to be done.

        :param task: the task
        :param outputs: what was filled in
        :param user: who did it
        """
        task.status, task.completed, task.completed_by = "COMPLETED", self._clock.time(), user
        task.outputs = {**task.outputs, **outputs}
        task.version += 1

    def assign(self, task: Task, to: str, user: str) -> None:
        """
        Have somebody else do it.

        :param task: the task
        :param to: who is to do it
        :param user: who says so
        """
        task.assigned_to, task.assigned_by, task.assigned = to, user, self._clock.time()
        task.version += 1
