"""What both hooks read from an Airflow connection, and how they refuse a bad one."""

from __future__ import annotations

import json
from typing import TypeVar

from airflow.providers.common.compat.sdk import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_workflows.rest.client import CONNECT_TIMEOUT, READ_TIMEOUT


class ConnectionFieldError(ValueError):
    """A field of an Airflow connection that cannot be used. Holds the field's name, never its value."""

    def __init__(self, conn_id: str, fault: str) -> None:
        super().__init__(f"Connection {conn_id!r}: {fault}")


class Timeouts(BaseModel):
    """The part of ``extra`` that both connection types have.

    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    connect_timeout: float = Field(CONNECT_TIMEOUT, gt=0)
    read_timeout: float = Field(READ_TIMEOUT, gt=0)


E = TypeVar("E", bound=Timeouts)


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
