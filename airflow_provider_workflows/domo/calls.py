"""Domo's workflow endpoints, one function each, which returns an immutable call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an endpoint.

    :param name: what it is called in logs and errors.
    :param path: path below the account's host; empty where the account holds the path.
    :param repeatable: whether doing it twice has the same effect and result as once.
    :param instance_id: the instance that is read.
    :param gives_list: whether the reply is a JSON list, and not an object.
    """

    name: str
    http_method: str
    path: str
    body: Mapping[str, Any] | None = None
    repeatable: bool = False
    gives_list: bool = False
    instance_id: str | None = None

    def __str__(self) -> str:
        return self.name


def path_part(text: str) -> str:
    """Return a text as one part of a path, wherever it came from.

    :raises ValueError: for an empty text or dots, with which the path would lead elsewhere.
    """
    if not text.strip("."):
        raise ValueError(f"{text!r} is not an id")
    return quote(text, safe="")


def start_instance(model_id: str, version: str, message_name: str, data: Mapping[str, Any] | None = None) -> Call:
    """Start a workflow (API page "Start a Workflow").

    :param model_id: the workflow model's id.
    :param version: a deployed and active version, e.g. ``1.1.0``.
    :param message_name: title of the Start shape, usually ``Start <workflow name>``.
    :param data: input values.
    """
    body = {"messageName": message_name, "version": version, "modelId": model_id, "data": dict(data or {})}
    return Call("start workflow", "POST", "/api/workflow/v1/instances/message", body)


def cancel_instance(instance_id: str) -> Call:
    """Cancel a workflow instance (API page "Cancel a Workflow"); takes effect after the reply.

    :param instance_id: the instance's id, not the model's.
    """
    return Call(f"cancel instance {instance_id}", "POST", f"/api/workflow/v1/instances/{path_part(instance_id)}/cancel")


def get_instance(instance_id: str) -> Call:
    """Read a workflow instance. Undocumented by Domo, so the account holds the path."""
    return Call(f"read instance {instance_id}", "GET", "", repeatable=True, instance_id=instance_id)


def list_instances(model_id: str, limit: int = 100, offset: int = 0) -> Call:
    """List the latest instances of a workflow model, the newest first. Undocumented by Domo.

    :param limit: how many.
    :param offset: how many of the newest to leave out.
    """
    query = urlencode({"modelId": model_id, "limit": limit, "offset": offset, "sort": "createdOn:desc"})
    return Call("list instances", "GET", f"/api/workflow/v1/instances?{query}", repeatable=True, gives_list=True)


def get_permissions(model_id: str) -> Call:
    """Read who has which rights on a workflow model. Undocumented by Domo."""
    path = f"/api/workflow/v1/models/{path_part(model_id)}/permissions"
    return Call(f"read permissions of model {model_id}", "GET", path, repeatable=True)


def get_current_user() -> Call:
    """Read the token's own user: the cheapest way to find out whether the token works. Undocumented by Domo."""
    return Call("read current user", "GET", "/api/content/v2/users/me", repeatable=True)
