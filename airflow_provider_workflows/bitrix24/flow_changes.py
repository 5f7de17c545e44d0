"""Changes to a flow (API page "Update Flow"): checked, merged into the whole that an update must send."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from airflow_provider_workflows.bitrix24.models import Flow, Pairs
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.rest.spelling import did_you_mean

_USER = ("user", r"[1-9]\d*")
_DEPARTMENT = ("department", r"[1-9]\d*(:F)?")
_EVERYBODY = ("meta-user", "all-users")


class FlowChangesError(ArgumentError):
    """Changes that are not sent, because the portal would refuse or misread them."""


def _responsible(pairs: list[list[str]]) -> list[list[str]]:
    return _known(pairs, _USER, _DEPARTMENT)


def _creators(pairs: list[list[str]]) -> list[list[str]]:
    return _known(pairs, _USER, _DEPARTMENT, _EVERYBODY)


def _known(pairs: list[list[str]], *forms: tuple[str, str]) -> list[list[str]]:
    for kind, entry in pairs:
        if not any(kind == name and re.fullmatch(pattern, entry) for name, pattern in forms):
            shapes = {"user": '["user", "3"]', "department": '["department", "17:F"]'}
            shapes["meta-user"] = '["meta-user", "all-users"]'
            wanted = " or ".join(shapes[name] for name, _ in forms)
            raise ValueError(f"{[kind, entry]} should look like {wanted}")
    return pairs


Id = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class FlowChanges(TypedDict, total=False):
    """Fields of a flow to set, under Bitrix24's names.

    ``plannedCompletionTime`` is in seconds; ``templateId`` 0 means none; the three ``notify...`` numbers are
    thresholds (a number of tasks, a number of tasks, per cent), ``None`` for no notice.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True)  # type: ignore[misc]

    name: Annotated[str, Field(min_length=1)]
    description: str
    groupId: Id
    ownerId: Id
    templateId: Count
    plannedCompletionTime: Id
    distributionType: Literal["manually", "queue", "himself"]
    responsibleList: Annotated[Pairs, Field(min_length=1), AfterValidator(_responsible)]
    taskCreators: Annotated[Pairs, Field(min_length=1), AfterValidator(_creators)]
    matchWorkTime: bool
    responsibleCanChangeDeadline: bool
    notifyAtHalfTime: bool
    taskControl: bool
    notifyOnQueueOverflow: Count | None
    notifyOnTasksInProgressOverflow: Count | None
    notifyWhenEfficiencyDecreases: Annotated[int, Field(ge=0, le=100)] | None


#: The fields that an update sets, and resets where they are left out.
WRITABLE_FIELDS = tuple(FlowChanges.__annotations__)


@cache
def _adapter() -> TypeAdapter[FlowChanges]:
    # Not at import, as only a Dag file with an update needs it.
    return TypeAdapter(FlowChanges)


def check_fields(changes: Mapping[str, Any]) -> None:
    """Check the names of fields to change.

    :raises FlowChangesError: with the names of all fields at fault.
    """
    if not isinstance(changes, Mapping) or not changes:
        raise FlowChangesError("changes must be a mapping of field to new value, with one field at least")
    if "active" in changes:
        raise FlowChangesError("changes: 'active' is not set by an update; use FlowActivateOperator")
    unknown = [name for name in changes if name not in WRITABLE_FIELDS]
    if unknown:
        names = ", ".join(map(repr, unknown))
        meant = did_you_mean(str(unknown[0]), WRITABLE_FIELDS)
        raise FlowChangesError(f"changes: no such field to set: {names}{meant}; there are {', '.join(WRITABLE_FIELDS)}")


def parse_changes(changes: Mapping[str, Any]) -> FlowChanges:
    """Check changes and return them in the portal's own form.

    :param changes: field to new value. Lists of people may be pairs or mappings, switches bools or 0 and 1.
    :raises FlowChangesError: with the names of all fields at fault, and what would be right.
    """
    check_fields(changes)
    try:
        return _adapter().validate_python(dict(changes))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'][:1]))}: {e['msg']}" for e in error.errors())
        raise FlowChangesError(f"changes: {faults}") from None


def merge(flow: Flow, changes: FlowChanges) -> dict[str, Any] | None:
    """Return the whole flow with the changes in it, as an update must send it.

    :returns: the ``flowData`` to send; ``None`` if the flow already is as wanted.
    :raises FlowChangesError: if the changes do not go with the rest of the flow.
    """
    if not unmet(flow, changes):
        return None
    known = flow.model_dump(by_alias=True, exclude_unset=True)
    merged: dict[str, Any] = {name: known[name] for name in WRITABLE_FIELDS if name in known} | dict(changes)
    missing = [name for name in WRITABLE_FIELDS if name not in merged]
    if missing:
        raise FlowChangesError(
            f"the portal does not return {', '.join(missing)} of flow {flow.id}; an update would reset them, "
            "so give them in changes too"
        )
    _check_distribution(merged, changes)
    return {"id": flow.id} | {name: int(value) if isinstance(value, bool) else value for name, value in merged.items()}


def unmet(flow: Flow, changes: FlowChanges) -> list[str]:
    """Return the names of the fields that are not as wanted."""
    now = flow.model_dump(by_alias=True)
    return [name for name, value in changes.items() if _comparable(now.get(name)) != _comparable(value)]


def differences(before: Flow, after: Flow) -> dict[str, dict[str, Any]]:
    """Return what differs between two readings of a flow: field to ``{"before": ..., "after": ...}``."""
    old, new = before.model_dump(by_alias=True, mode="json"), after.model_dump(by_alias=True, mode="json")
    return {
        name: {"before": old.get(name), "after": new.get(name)}
        for name in (*WRITABLE_FIELDS, "active")
        if _comparable(old.get(name)) != _comparable(new.get(name))
    }


def _check_distribution(merged: Mapping[str, Any], changes: FlowChanges) -> None:
    if not {"distributionType", "responsibleList"} & set(changes) or merged["distributionType"] != "manually":
        return
    people = merged["responsibleList"]
    if len(people) != 1 or people[0][0] != "user":
        raise FlowChangesError(
            "changes: with distributionType 'manually', responsibleList must name the one user who hands out "
            f'the tasks, e.g. [["user", "3"]], not {people}'
        )


def _comparable(value: Any) -> Any:
    """Return a value in a form for comparison: the portal may escape and trim texts, and reorder lists."""
    if isinstance(value, str):
        return html.unescape(value).strip()
    return sorted(value) if isinstance(value, list) else value
