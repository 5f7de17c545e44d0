"""All that the simulator knows: both systems, the settings, the faults, and what was seen."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator.bitrix24.directory import Directory
from airflow_provider_workflows.simulator.bitrix24.flows import Flows
from airflow_provider_workflows.simulator.bitrix24.limits import LeakyBucket, OperatingTime
from airflow_provider_workflows.simulator.bitrix24.messages import Messages
from airflow_provider_workflows.simulator.bitrix24.sweep import Sweep
from airflow_provider_workflows.simulator.bitrix24.tokens import Tokens
from airflow_provider_workflows.simulator.bitrix24.workflows import Workflow, Workflows
from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.domo.instances import Instances
from airflow_provider_workflows.simulator.domo.task_center import DEFAULT_QUEUE, TaskCenter
from airflow_provider_workflows.simulator.faults import Faults
from airflow_provider_workflows.simulator.settings import Settings

#: The log of requests forgets the oldest ones.
REQUESTS_KEPT = 100_000


@dataclass
class Webhook:
    """
    An incoming webhook besides the one of the settings.

    :param user: whose it is
    :param code: its code
    :param scopes: what it was given, as the settings say if left out
    :param admin: whether its user is an administrator, as the settings say if left out
    """

    user: int
    code: str
    scopes: list[str] | None = None
    admin: bool | None = None

    def __post_init__(self) -> None:
        scopes = [] if self.scopes is None else self.scopes
        if type(self.user) is not int or self.user <= 0 or not isinstance(self.code, str):
            raise ValueError(f"A webhook has a user and a code, not {self.user!r} and {self.code!r}")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValueError(f"A webhook's scopes are a list of texts, not {scopes!r}")
        if not isinstance(self.admin, bool | None):
            raise ValueError(f"A webhook's admin is true or false, not {self.admin!r}")


class World:
    """
    The state behind one simulator; only its event loop touches it, so there are no locks.

    :param clock: the time it goes by
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.reset()

    def reset(self) -> None:
        """Empty everything and go back to the default settings and the time."""
        self.clock.reset()
        self.settings = Settings()
        self.faults = Faults()
        self.requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT)
        self._seen: Counter[str] = Counter()
        self.journal: list[dict[str, Any]] = []
        self.workflows = Workflows(self.clock)
        self.sweep = Sweep()
        self.directory = Directory()
        self.messages = Messages()
        self.webhooks: list[Webhook] = []
        self.flows = Flows(self.clock)
        self.tokens = Tokens(self.settings, self.clock)
        self.bucket = LeakyBucket(self.clock)
        self.operating = OperatingTime(self.clock)
        self.instances = Instances(self.clock)
        self.task_center = TaskCenter(self.clock)
        self.task_center.add_queue({"id": DEFAULT_QUEUE}, self.settings.domo_user)

    def portal_time(self) -> float:
        """Return the Unix time by the portal's clock."""
        return self.clock.time() + self.settings.clock_ahead

    def settle(self) -> None:
        """Let the portal do what it does by itself, up to now."""
        self.workflows.settle()
        if self.settings.sweeps_pauses:
            for row in self.sweep.due(self.workflows, self.settings.server_offset, self.clock.time()):
                self.kill(row)
                self.record("bitrix24", "sweep", row.id)
        else:
            self.sweep = Sweep()

    def kill(self, row: Workflow) -> None:
        """
        End a workflow and erase its record.

        :param row: the workflow
        """
        self.workflows.end(row, "killed")
        self.directory.tasks = [task for task in self.directory.tasks if task.get("WORKFLOW_ID") != row.id]

    def record(self, vendor: str, what: str, id: str | int, **details: Any) -> None:
        """
        Note an effect in the journal.

        :param vendor: ``bitrix24`` or ``domo``
        :param what: what happened, e.g. ``terminate``
        :param id: to which workflow, flow or instance
        :param details: anything else
        """
        self.journal.append({"at": self.clock.time(), "vendor": vendor, "what": what, "id": id, **details})

    def seen(self, vendor: str, method: str, params: Any, commands: Any = None) -> dict[str, Any]:
        """
        Note a request in the log when it comes in; the status is filled in when the reply goes out.

        :param vendor: ``bitrix24`` or ``domo``
        :param method: the method that the HTTP request calls
        :param params: its parameters
        :param commands: of a batch: key, method and parameters of each command
        """
        entry = {
            "at": self.clock.time(),
            "vendor": vendor,
            "method": method,
            "auth": None,
            "params": params,
            "commands": commands,
            "http_status": None,
            "fault": None,
        }
        self.requests.append(entry)
        self._seen[vendor] += 1
        return entry

    def state(self) -> dict[str, Any]:
        """Return the full state of both systems."""
        offset, now = self.settings.server_offset, self.clock.time()
        self.settle()
        return {
            "bitrix24": {
                "workflows": {row.id: row.full(offset) for row in self.workflows.rows.values()},
                "flows": {str(id): dict(flow) for id, flow in self.flows.rows.items()},
                **self.messages.full(),
            },
            "domo": {
                "instances": {row.id: row.full(now) for row in self.instances.rows.values()},
                "tasks": {task.id: task.full() for task in self.task_center.tasks.values()},
                "queues": {
                    queue.id: {**queue.full(), "permissions": queue.permissions}
                    for queue in self.task_center.queues.values()
                },
            },
        }

    def summary(self) -> dict[str, Any]:
        """Return counts only, which stays cheap with many workflows."""
        now = self.clock.time()
        self.settle()
        return {
            "bitrix24": {
                "workflows": Counter(row.state for row in self.workflows.rows.values()),
                "stuck": self.workflows.stuck(),
                "paused_too_long": len(self.workflows.paused_too_long(now)),
                "flows": Counter("active" if flow["active"] else "inactive" for flow in self.flows.rows.values()),
            },
            "domo": {"instances": Counter(str(row.status(now)) for row in self.instances.rows.values())},
            "requests": dict(self._seen),
            "effects": Counter(effect["what"] for effect in self.journal),
        }
