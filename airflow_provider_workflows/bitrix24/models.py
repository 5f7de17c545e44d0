"""What Bitrix24 returns: running workflows and flows. Fields not named here are kept as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Required

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetPydanticSchema
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import literal_schema, no_info_after_validator_function

# Pydantic takes that of typing only from Python 3.12 on.
from typing_extensions import TypedDict

from airflow_provider_workflows.bitrix24.calls import WORKFLOW_FIELDS
from airflow_provider_workflows.rest.plans import list_of

_Blank = Annotated[
    None,
    GetPydanticSchema(lambda *_: no_info_after_validator_function(lambda _: None, literal_schema([""]))),
]
#: What a portal may leave blank.
_Text = Annotated[Annotated[str, Field(min_length=1)] | _Blank | None, Field(union_mode="left_to_right")]
_Number = Annotated[int | _Blank | None, Field(union_mode="left_to_right")]


class WorkflowFields(TypedDict, total=False):
    """A row of ``bizproc.workflow.instances``, under the portal's names; fields that are not known are kept."""

    __pydantic_config__ = ConfigDict(extra="allow", coerce_numbers_to_str=True)  # type: ignore[misc]

    ID: Required[Annotated[str, Field(min_length=1)]]
    MODIFIED: _Text
    OWNED_UNTIL: _Text
    MODULE_ID: str | None
    ENTITY: str | None
    DOCUMENT_ID: str | None
    STARTED: _Text
    STARTED_BY: _Number
    TEMPLATE_ID: _Number


# It takes some milliseconds, for which the first list would have to wait.
list_of(WorkflowFields)


class Workflow:
    """A running workflow. Fields not selected are ``None``; dates are read when they are asked for.

    :param fields: its row.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: WorkflowFields) -> None:
        self.fields = fields

    @property
    def id(self) -> str:
        """Its id, e.g. ``66e412fdc9bd44.36306599``."""
        return self.fields["ID"]

    @property
    def modified(self) -> datetime | str | None:
        """Last modification."""
        return date_or_text(self.fields.get("MODIFIED"))

    @property
    def owned_until(self) -> datetime | str | None:
        """End of the lock; a workflow is stuck when this is minutes ago."""
        return date_or_text(self.fields.get("OWNED_UNTIL"))

    @property
    def module_id(self) -> str | None:
        """Module of the document, e.g. ``crm``."""
        return self.fields.get("MODULE_ID")

    @property
    def entity(self) -> str | None:
        """Class of the document."""
        return self.fields.get("ENTITY")

    @property
    def document_id(self) -> str | None:
        """The document, e.g. ``DEAL_1633``."""
        return self.fields.get("DOCUMENT_ID")

    @property
    def started(self) -> datetime | str | None:
        """Start."""
        return date_or_text(self.fields.get("STARTED"))

    @property
    def started_by(self) -> int | None:
        """Id of the user who started it; 0 for automatic starts."""
        return self.fields.get("STARTED_BY")

    @property
    def template_id(self) -> int | None:
        """Id of its template."""
        return self.fields.get("TEMPLATE_ID")

    def get(self, field: str) -> Any:
        """Return a field by Bitrix24's name."""
        value = self.fields.get(field)
        return date_or_text(value) if field in DATE_FIELDS else value  # type: ignore[arg-type]

    def row(self) -> dict[str, Any]:
        """Return it as JSON, under Bitrix24's field names."""
        return {**_NOTHING, **self.fields}


_NOTHING = dict.fromkeys(WORKFLOW_FIELDS)
DATE_FIELDS = frozenset({"MODIFIED", "OWNED_UNTIL", "STARTED"})


def date_or_text(value: str | None) -> datetime | str | None:
    """Read an ISO date; older self-hosted portals send other texts, which are kept."""
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        return value


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
