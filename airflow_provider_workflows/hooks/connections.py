"""Reading an Airflow connection, and refusing a bad one, for both hooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import Connection
from pydantic import BaseModel, ValidationError

from airflow_provider_workflows.get_provider_info import extra_fields, field_name
from airflow_provider_workflows.rest.address import FieldError
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.redaction import hide_frames
from airflow_provider_workflows.rest.spelling import did_you_mean


class ConnectionFieldError(ProviderError, ValueError):
    """A field of an Airflow connection that cannot be used. Holds the field's name, never its value.

    :param fault: the field's name, as the form has it, and what is wrong with it.
    """

    def __init__(self, conn_id: str, fault: str) -> None:
        super().__init__(conn_id, fault)
        self.conn_id = conn_id
        self.fault = fault

    @property
    def what(self) -> str:
        """What went wrong."""
        return f"Connection {self.conn_id!r}: {self.fault}"


class ConnectionUnreadableError(ProviderError):
    """A connection cannot be read: there is none of that id, or the secrets backend is not available.

    :param why: what it said.
    """

    retry_helps = True

    def __init__(self, conn_id: str, why: str) -> None:
        super().__init__(conn_id, why)
        self.conn_id = conn_id
        self.why = why

    @property
    def what(self) -> str:
        """What went wrong."""
        return f"Connection {self.conn_id!r} cannot be read: {self.why}"


def form_widgets(connection_type: str) -> dict[str, Any]:
    """Return the form's fields for ``extra`` as hooks give them to Airflow before 3.2.

    :param connection_type: ``bitrix24`` or ``domo``.
    """
    # Only Airflow's web server has these.
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import PasswordField, StringField

    def widget(field: Mapping[str, Any]) -> Any:
        blind = field["schema"].get("format") == "password"
        kind, look = (PasswordField, BS3PasswordFieldWidget) if blind else (StringField, BS3TextFieldWidget)
        return kind(field["label"], widget=look(), description=field.get("description", ""))

    return {name: widget(field) for name, field in extra_fields(connection_type).items()}


E = TypeVar("E", bound=BaseModel)


#: How people call the connections of this package.
_NAMES = {"bitrix24": "a Bitrix24 connection", "domo": "a Domo connection"}


def check_type(connection: Connection, *conn_types: str) -> None:
    """Refuse a connection that is meant for something else: its id may come from a template.

    :param conn_types: the types it may have, ours first.
    :raises ConnectionFieldError: if it has another one.
    """
    if connection.conn_type not in conn_types:
        is_now = _NAMES.get(connection.conn_type or "", f"a connection of type {connection.conn_type!r}")
        wanted = f"{_NAMES[conn_types[0]]} (conn_type {conn_types[0]!r})"
        raise ConnectionFieldError(connection.conn_id, f"it is {is_now}; what is needed here is {wanted}")


def field_fault(connection_type: str, error: ValueError) -> str:
    """Return what is wrong with a connection, with the name that its field has in the form."""
    if isinstance(error, FieldError):
        return f"{field_name(connection_type, error.field)} {error.fault}"
    return error.what if isinstance(error, ConnectionFieldError) else str(error)


@hide_frames
def read_extra(connection: Connection, model: type[E]) -> E:
    """Read the ``extra`` of a connection. Fields left blank in the form count as not given.

    :raises ConnectionFieldError: with the names of the fields at fault.
    """
    try:
        extra = json.loads(connection.extra or "{}")
        given = {name: value for name, value in extra.items() if value not in ("", None)}
        return model.model_validate(given)
    except ValidationError as error:
        known, kind = sorted(model.model_fields), connection.conn_type or ""
        fault = "; ".join(
            _unknown_field(str(one["loc"][0]), known)
            if one["type"] == "extra_forbidden"
            else f"{field_name(kind, str(one['loc'][0]))}: {_plain(one['msg'])}"
            for one in error.errors()
        )
    except (ValueError, AttributeError):
        fault = "extra is not a JSON object"
    raise ConnectionFieldError(connection.conn_id, fault)


def _unknown_field(field: str, known: list[str]) -> str:
    return f"extra.{field} is no field{did_you_mean(field, known)}; the fields of extra are {', '.join(known)}"


def _plain(message: str) -> str:
    """Return pydantic's message so that it reads on after a field's name."""
    return message.removeprefix("Value error, ").removeprefix("Input ")
