"""One call of the Domo API, and what can come of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_workflows.simulator.world import World

PAGE = 100
_WORKFLOW, _QUEUES = "/api/workflow", "/api/queues/v1"
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
    "versions": ("GET", f"{_WORKFLOW}/v2/models/{{}}/versions"),
    "version": ("GET", f"{_WORKFLOW}/v[12]/models/{{}}/versions/{{}}"),
    "definition": ("GET", f"{_WORKFLOW}/v2/models/{{}}/versions/{{}}/definition"),
    "starts": ("GET", f"{_WORKFLOW}/v1/models/{{}}/versions/{{}}/starts"),
    "queues": ("GET", _QUEUES),
    "queue": ("GET", f"{_QUEUES}/{{}}"),
    "tasks": ("POST", f"{_QUEUES}/tasks/list"),
    "task": ("GET", f"{_QUEUES}/{{}}/tasks/{{}}"),
    "save_task": ("PUT", f"{_QUEUES}/{{}}/tasks/{{}}/outputs"),
    "complete_task": ("POST", f"{_QUEUES}/{{}}/tasks/{{}}/complete"),
    "assign_task": ("PUT", f"{_QUEUES}/{{}}/tasks/{{}}/assign"),
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

    def page(self, rows: list[Any]) -> list[Any]:
        """
        Return the wanted page of a list.

        :param rows: the whole list
        :raises DomoError: if limit and offset are no counts
        """
        given = [self.query.get("offset", "0"), self.query.get("limit", str(PAGE))]
        if not all(re.fullmatch("[0-9]{1,9}", number) for number in given):
            raise DomoError(400, "limit and offset are counts")
        offset, limit = map(int, given)
        return rows[offset : offset + limit]


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
