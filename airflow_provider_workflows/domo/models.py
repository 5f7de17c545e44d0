"""What Domo returns: workflow instances. Fields not named here are kept as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from airflow_provider_workflows.rest.redaction import escape_controls

COMPLETED, CANCELED, FAILED, IN_PROGRESS = "COMPLETED", "CANCELED", "FAILED", "IN_PROGRESS"
#: After these an instance does nothing more by itself. FAILED can still be cancelled, or retried by a person.
TERMINAL_STATUSES = frozenset({COMPLETED, CANCELED, FAILED})


def _status(value: Any) -> Any:
    """Read a status, also in the undocumented spellings that have been seen."""
    return {"null": None, "": None, "CANCELLED": CANCELED}.get(value, value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime | None:
    """Read an ISO date with time zone; anything else counts as missing, as the date is not needed."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


#: These stand in logs, errors, reports and links.
Text = Annotated[str, AfterValidator(escape_controls)]


class Instance(BaseModel):
    """A workflow instance: one run of a workflow model.

    :param status: IN_PROGRESS, CANCELED, COMPLETED, FAILED, or a word unknown to Domo's documentation;
        ``None`` while it has not reported back as started.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="allow",
        coerce_numbers_to_str=True,
        frozen=True,
    )

    id: Text = Field(min_length=1)
    status: Annotated[Text | None, BeforeValidator(_status)] = None
    model_id: Text | None = None
    model_name: Text | None = None
    model_version: Text | None = None
    created_on: Annotated[datetime | None, BeforeValidator(_moment)] = None

    @property
    def terminal(self) -> bool:
        """Whether it does nothing more by itself."""
        return self.status in TERMINAL_STATUSES
