"""What Bitrix24 returns: running workflows and flows. Fields not named here are kept as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _date_or_text(value: Any) -> Any:
    """Read an ISO date; older self-hosted portals send other texts, which are kept."""
    try:
        return datetime.fromisoformat(value) if value else None
    except (TypeError, ValueError):
        return value


Date = Annotated[datetime | str | None, BeforeValidator(_date_or_text)]
Number = Annotated[int | None, BeforeValidator(_empty_is_none)]


class Workflow(BaseModel):
    """A running workflow, a row of ``bizproc.workflow.instances``. Fields not selected are ``None``.

    :param id: the workflow's id, e.g. ``66e412fdc9bd44.36306599``.
    :param modified: last modification.
    :param owned_until: end of the lock; a workflow is stuck when this is minutes ago.
    :param module_id: module of the document, e.g. ``crm``.
    :param entity: class of the document.
    :param document_id: the document, e.g. ``DEAL_1633``.
    :param started: start.
    :param started_by: id of the user who started it; 0 for automatic starts.
    :param template_id: id of its template.
    """

    model_config = ConfigDict(
        alias_generator=str.upper,
        validate_by_name=True,
        extra="allow",
        coerce_numbers_to_str=True,
        frozen=True,
    )

    id: str = Field(min_length=1)
    modified: Date = None
    owned_until: Date = None
    module_id: str | None = None
    entity: str | None = None
    document_id: str | None = None
    started: Date = None
    started_by: Number = None
    template_id: Number = None

    def row(self) -> dict[str, Any]:
        """Return it as JSON, under Bitrix24's field names."""
        return self.model_dump(by_alias=True, mode="json")


def _pairs(value: Any) -> Any:
    """Read ``{"user": 3}``, ``[{"user": 3}]`` and ``[["user", 3]]``, the shapes that the API pages show."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [pair for item in items for pair in (item.items() if isinstance(item, dict) else [item])]


#: People and departments: pairs of kind and id, e.g. ``[["user", "3"], ["department", "17:F"]]``.
Pairs = Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], BeforeValidator(_pairs)]


class Flow(BaseModel):
    """A task flow, as ``tasks.flow.Flow.get`` and ``.update`` return it.

    Names are Bitrix24's, in Python's spelling; see the API page "Update Flow".
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="allow",
        coerce_numbers_to_str=True,
        frozen=True,
    )

    id: int
    active: bool
    name: str = ""
    description: str | None = None
    group_id: int | None = None
    owner_id: int | None = None
    creator_id: int | None = None
    template_id: int | None = None
    planned_completion_time: int | None = None
    distribution_type: str | None = None
    responsible_list: Pairs = Field(default_factory=list)
    task_creators: Pairs = Field(default_factory=list)
    match_work_time: bool | None = None
    responsible_can_change_deadline: bool | None = None
    notify_at_half_time: bool | None = None
    task_control: bool | None = None
    notify_on_queue_overflow: int | None = None
    notify_on_tasks_in_progress_overflow: int | None = None
    notify_when_efficiency_decreases: int | None = None
