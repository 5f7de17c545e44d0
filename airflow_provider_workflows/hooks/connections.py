"""What both hooks read from an Airflow connection, and how they refuse a bad one."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames


class ConnectionFieldError(ProviderError, ValueError):
    """A field of an Airflow connection that cannot be used. Holds the field's name, never its value.

    :param conn_id: id of the connection.
    :param fault: the field's name and what is wrong with it.
    """

    def __init__(self, conn_id: str, fault: str) -> None:
        super().__init__(conn_id, fault)
        self.conn_id = conn_id
        self.fault = fault

    @property
    def message(self) -> str:
        """What went wrong."""
        return f"Connection {self.conn_id!r}: {self.fault}"


class HttpExtra(BaseModel):
    """The part of ``extra`` that all connection types have.

    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70.
    :param total_timeout: seconds for a request and its whole reply, default 180.
    :param max_reply_size: bytes that a decoded reply may have, default 64 MiB.
    :param verify: path of the certificates to trust, a file or a folder; certificates are always checked.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    connect_timeout: float = Field(HttpSettings().connect_timeout, gt=0)
    read_timeout: float = Field(HttpSettings().read_timeout, gt=0)
    total_timeout: float = Field(HttpSettings().total_timeout, gt=0)
    max_reply_size: int = Field(HttpSettings().max_reply_size, gt=0)
    verify: str | None = None

    @field_validator("verify", mode="before")
    @classmethod
    def _is_a_path(cls, verify: Any) -> Any:
        if isinstance(verify, bool):
            raise ValueError("must be the path of a CA bundle: certificates are always checked")
        return verify

    def http(self) -> HttpSettings:
        """Return how requests are made."""
        return HttpSettings(**{field.name: getattr(self, field.name) for field in fields(HttpSettings)})


E = TypeVar("E", bound=BaseModel)


def check_type(connection: Connection, *conn_types: str) -> None:
    """Refuse a connection that is meant for something else: its id may come from a template.

    :param connection: the connection.
    :param conn_types: the types it may have.
    :raises ConnectionFieldError: if it has another one.
    """
    if connection.conn_type not in conn_types:
        raise ConnectionFieldError(connection.conn_id, f"conn_type must be {conn_types[0]!r} for this task")


@hide_frames
def read_extra(connection: Connection, model: type[E]) -> E:
    """Read the ``extra`` of a connection. Fields left blank in the form count as not given.

    :param connection: the connection.
    :param model: the fields it may have.
    :raises ConnectionFieldError: with the names of the fields at fault.
    """
    try:
        extra = json.loads(connection.extra or "{}")
        given = {name: value for name, value in extra.items() if value not in ("", None)}
        return model.model_validate(given)
    except ValidationError as error:
        fault = "; ".join(f"extra field {fault['loc'][0]!r}: {fault['msg']}" for fault in error.errors())
    except (ValueError, AttributeError):
        fault = "extra is not a JSON object"
    raise ConnectionFieldError(connection.conn_id, fault)
