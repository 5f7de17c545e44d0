"""The task flows of the portal."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.dates import iso
from airflow_provider_workflows.simulator.clock import Clock

DISTRIBUTION_TYPES = ("manually", "queue", "himself")
INTEGERS = ("groupId", "ownerId", "templateId", "plannedCompletionTime")
TEXTS = ("name", "description", "distributionType")
FLAGS = ("matchWorkTime", "responsibleCanChangeDeadline", "notifyAtHalfTime", "taskControl")
NOTICES = ("notifyOnQueueOverflow", "notifyOnTasksInProgressOverflow", "notifyWhenEfficiencyDecreases")
PAIRS = ("responsibleList", "taskCreators")
EVERYBODY = [["meta-user", "all-users"]]


def defaults() -> dict[str, Any]:
    """Return what stands in for the fields that a create or an update is not given."""
    return {
        "description": "",
        "templateId": 0,
        "matchWorkTime": True,
        "responsibleCanChangeDeadline": False,
        "notifyAtHalfTime": False,
        "taskControl": False,
        "notifyOnQueueOverflow": None,
        "notifyOnTasksInProgressOverflow": None,
        "notifyWhenEfficiencyDecreases": None,
        "taskCreators": [list(pair) for pair in EVERYBODY],
    }


class Flows:
    """
    All flows by ID, and which of them are pinned.

    :param clock: the time at which they are made
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[int, dict[str, Any]] = {}
        self.pinned: set[int] = set()
        self._groups = 100

    def new(self, fields: dict[str, Any], creator: int, offset: str) -> dict[str, Any]:
        """
        Return a new flow, which is active.

        :param fields: the fields that are given, of the flow object
        :param creator: who makes it
        :param offset: the server's offset from UTC
        """
        flow = {
            "id": 1 + max(self.rows, default=516),
            "creatorId": creator,
            "ownerId": creator,
            "groupId": fields.get("groupId") or self.new_group(),
            "efficiency": 100,
            "active": True,
            "plannedCompletionTime": 3600,
            "activity": iso(self._clock.time(), offset),
            "name": "",
            "distributionType": "manually",
            "responsibleList": [["user", str(creator)]],
            "demo": False,
            "trialFeatureEnabled": False,
            **defaults(),
            **fields,
        }
        flow["name"] = flow["name"] or f"Flow {flow['id']}"
        flow.setdefault("team", flow["responsibleList"])
        self.rows[flow["id"]] = flow
        return flow

    def dismiss(self, users: set[str]) -> None:
        """
        Take employees out of all flows; one that is left with nobody is distributed by its administrator.

        :param users: their IDs
        """
        for flow in self.rows.values():
            left = [pair for pair in flow["responsibleList"] if not (pair[0] == "user" and pair[1] in users)]
            if left:
                flow["responsibleList"] = left
            else:
                flow.update(distributionType="manually", responsibleList=[["user", str(flow["ownerId"])]])
            flow["team"] = [pair for pair in flow["team"] if not (pair[0] == "user" and pair[1] in users)]

    def new_group(self) -> int:
        """Return the ID of a group made for a flow."""
        self._groups += 1
        return self._groups

    def named(self, name: str, other_than: int) -> bool:
        """
        Whether a flow has a name already.

        :param name: the name
        :param other_than: the flow that may have it
        """
        return any(flow["name"] == name and flow["id"] != other_than for flow in self.rows.values())


def read(given: dict[str, Any]) -> dict[str, Any]:
    """
    Return the fields of a ``flowData`` that the portal knows, in its own types; it ignores the rest.

    :param given: the parameter
    """
    fields: dict[str, Any] = {}
    for name in given:
        value = given[name]
        if name in NOTICES:
            fields[name] = None if value in (None, "") else php.integer(value)
        elif value is None:
            continue
        elif name in INTEGERS:
            fields[name] = php.integer(value)
        elif name in TEXTS:
            fields[name] = str(value)
        elif name in FLAGS:
            fields[name] = php.truth(value)
        elif name in PAIRS:
            fields[name] = _pairs(value)
    return fields


def invalid(given: dict[str, Any]) -> str | None:
    """
    Return the name of a field whose value is not what the documents say, or None.

    :param given: the ``flowData`` of a create or an update
    """
    pairs = _pairs(given.get("responsibleList"))
    if given.get("distributionType") == "manually" and [kind for kind, _ in pairs] not in ([], ["user"]):
        return "responsibleList"  # there is one moderator
    return next((name for name, value in given.items() if value is not None and not _fits(name, value)), None)


def _fits(name: str, value: Any) -> bool:
    if name in PAIRS:
        known = {"user": r"[0-9]+", "department": r"[0-9]+(:F)?"}
        if name == "taskCreators":
            known["meta-user"] = "all-users"
        return all(re.fullmatch(known.get(kind, "(?!)"), id) for kind, id in _pairs(value))
    if name == "distributionType":
        return value in DISTRIBUTION_TYPES
    if name in TEXTS:
        return isinstance(value, str | int | float)
    if name in FLAGS:
        return value in (True, False, 0, 1, "0", "1")
    if name in (*INTEGERS, *NOTICES):
        if not isinstance(value, str | int) or isinstance(value, bool) or not re.fullmatch(r"[0-9]{0,18}", str(value)):
            return False
        return name != "notifyWhenEfficiencyDecreases" or php.integer(value) <= 100
    return True


def _pairs(value: Any) -> list[list[str]]:
    # The pages say object in one place and list of pairs in another; both are read.
    pairs = []
    for key, item in php.entries(value):
        pair = [str(part) for part in php.values(item)]
        if isinstance(item, dict) and len(item) == 1 and not next(iter(item)).isdecimal():
            pair = [next(iter(item)), *pair]
        pairs.append(pair if len(pair) == 2 else [key, "".join(pair)])
    return pairs
