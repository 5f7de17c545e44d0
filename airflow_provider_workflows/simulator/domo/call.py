"""One call of the Domo API, and what can come of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator.world import World

PAGE = 100
_WORKFLOW, _QUEUES, _AUDITS = "/api/workflow", "/api/queues/v1", "/api/audit/v1/user-audits"
PATHS = {
    "me": ("GET", "/api/content/v2/users/me"),
    "start": ("POST", f"{_WORKFLOW}/v1/instances/message"),
    "list": ("GET", f"{_WORKFLOW}/v1/instances"),
    "transactions": ("GET", f"{_WORKFLOW}/v1/instances/transactions"),
    "get": ("GET", f"{_WORKFLOW}/v1/instances/{{}}"),
    "status": ("GET", f"{_WORKFLOW}/v1/instances/{{}}/status"),
    "cancel": ("POST", f"{_WORKFLOW}/v1/instances/{{}}/cancel"),
    "executions": ("GET", f"{_WORKFLOW}/v2/executions"),
    "execution": ("GET", f"{_WORKFLOW}/v2/executions/{{}}"),
    "models": ("GET", f"{_WORKFLOW}/v[12]/models"),
    "model": ("GET", f"{_WORKFLOW}/v1/models/{{}}"),
    "permissions": ("GET", f"{_WORKFLOW}/v1/models/{{}}/permissions"),
    "set_permissions": ("POST", f"{_WORKFLOW}/v1/models/{{}}/permissions"),
    "versions": ("GET", f"{_WORKFLOW}/v2/models/{{}}/versions"),
    "version": ("GET", f"{_WORKFLOW}/v[12]/models/{{}}/versions/{{}}"),
    "definition": ("GET", f"{_WORKFLOW}/v2/models/{{}}/versions/{{}}/definition"),
    "starts": ("GET", f"{_WORKFLOW}/v1/models/{{}}/versions/{{}}/starts"),
    "queues": ("GET", _QUEUES),
    "queue": ("GET", f"{_QUEUES}/{{}}"),
    "queue_permissions": ("POST", f"{_QUEUES}/{{}}/permissions"),
    "queue_tasks": ("GET", f"{_QUEUES}/{{}}/tasks"),
    "tasks": ("POST", f"{_QUEUES}/tasks/list"),
    "task": ("GET", f"{_QUEUES}/{{}}/tasks/{{}}"),
    "save_task": ("PUT", f"{_QUEUES}/{{}}/tasks/{{}}/outputs"),
    "complete_task": ("POST", f"{_QUEUES}/{{}}/tasks/{{}}/complete"),
    "assign_task": ("PUT", f"{_QUEUES}/{{}}/tasks/{{}}/assign"),
    "move_task": ("PUT", f"{_QUEUES}/{{}}/tasks/{{}}/move"),
    "void_task": ("POST", f"{_QUEUES}/{{}}/tasks/{{}}/void"),
    "audits": ("GET", _AUDITS),
    "audit_types": ("GET", f"{_AUDITS}/objectTypes"),
    "switch_version": ("PUT", f"{_WORKFLOW}/v2/models/{{}}/versions/{{}}"),
}
PATTERNS = [(name, verb, re.compile(path.replace("{}", "([^/]+)") + "/?")) for name, (verb, path) in PATHS.items()]


class DomoError(Exception):
    """
    An error reply.

    :param status: the HTTP status
    :param message: what the reply says, which may be nothing
    """

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


@dataclass
class Call:
    """
    One call.

    :param world: the account
    :param ids: what stands in the address: instance, or model and version
    :param query: the parameters
    :param body: the body, as JSON has it
    """

    world: World
    ids: tuple[str, ...]
    query: dict[str, str]
    body: Any

    def page(self, rows: list[Any], size: int = PAGE) -> list[Any]:
        """
        Return the wanted page of a list.

        :param rows: the whole list
        :param size: of a page, if the call does not say
        :raises DomoError: if limit and offset are no counts
        """
        offset = self.count("offset", 0)
        return rows[offset : offset + self.count("limit", size)]

    def count(self, name: str, default: int | None = None) -> int:
        """
        Return a parameter that is a count.

        :param name: its name
        :param default: if it is left out; None if it may not be
        :raises DomoError: if it is no count
        """
        given = self.query.get(name, "" if default is None else str(default))
        if not re.fullmatch("[0-9]{1,15}", given):
            raise DomoError(400, f"{name} is a count")
        return int(given)

    def entries(self, permissions: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """
        Return what the body says of users' and groups' permissions, by their ids.

        :param permissions: those there are
        :raises DomoError: if it is no list of such entries
        """
        entries: list[Any] = self.body if isinstance(self.body, list) else [None]
        for entry in entries:
            given = entry.get("permissions") if isinstance(entry, dict) else None
            fits = isinstance(given, list) and all(isinstance(one, str) and one in permissions for one in given)
            if not fits or not isinstance(entry.get("id"), str) or entry.get("type") not in ("USER", "GROUP"):
                one_of = ", ".join(permissions)
                raise DomoError(400, f"Each entry has id, type (USER or GROUP) and permissions ({one_of})")
        return {entry["id"]: entry for entry in entries}


def find(verb: str, path: str) -> tuple[str, tuple[str, ...]]:
    """
    Return a name for the method that is called, and the ids in its address.

    :param verb: of the HTTP request
    :param path: of the HTTP request
    """
    for name, wanted, pattern in PATTERNS:
        match = pattern.fullmatch(path)
        if match and verb == wanted:
            return name, match.groups()
    return f"{verb} {path}", ()
