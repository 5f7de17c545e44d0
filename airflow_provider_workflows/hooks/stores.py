"""From an Airflow connection to the record store that all workers share."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection
from pydantic import BaseModel, ConfigDict, Json

from airflow_provider_workflows.hooks.connections import ConnectionFieldError, ConnectionUnreadableError, read_extra
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.records.store import DRIVER_TIMEOUT, RecordStore
from airflow_provider_workflows.rest.redaction import hide_frames


class _Extra(BaseModel):
    """What is read of a store's ``extra``: as Airflow's hooks for these types do. The rest is theirs."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _RedisExtra(_Extra):
    db: int | None = None
    ssl: bool | None = None
    ssl_cert_reqs: Literal["required", "optional", "none"] | None = None
    ssl_ca_certs: str | None = None
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_check_hostname: bool | None = None


class _SqlExtra(_Extra):
    #: Not supported: Airflow would fetch a password from AWS every quarter of an hour.
    iam: Literal[False] | None = None


class _PostgresExtra(_SqlExtra):
    sslmode: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = None
    sslrootcert: str | None = None
    sslcrl: str | None = None
    channel_binding: str | None = None
    gssencmode: str | None = None
    target_session_attrs: str | None = None
    application_name: str | None = None
    options: str | None = None


class _MySqlExtra(_SqlExtra):
    ssl: dict[str, Any] | Json[dict[str, Any]] | None = None
    ssl_mode: str | None = None
    unix_socket: str | None = None


def _first_installed(*modules: str) -> str:
    installed = [module for module in modules if find_spec(module)]
    if not installed:
        raise ModuleNotFoundError(name=" or ".join(modules))
    return installed[0]


def _redis(connection: Connection) -> RecordStore:
    _first_installed("redis")
    from airflow_provider_workflows.records.redis import RedisRecordStore

    extra = read_extra(connection, _RedisExtra).model_dump(exclude_none=True)
    # In an address, the database stands where others have their schema: redis://host/1.
    if not extra.get("db") and (database := connection.schema or "").isdecimal():
        extra["db"] = int(database)
    place = {"host": connection.host or "localhost", "port": connection.port or 6379}
    login = {"username": connection.login or None, "password": connection.password or None}
    return RedisRecordStore(f"Redis at {place['host']}:{place['port']}", **place, **login, **extra)


def _postgres(connection: Connection) -> RecordStore:
    options = read_extra(connection, _PostgresExtra).model_dump(exclude_none=True, exclude={"iam"})
    # libpq's own times: a server that is gone is not waited for until the system gives up.
    options |= {"connect_timeout": round(DRIVER_TIMEOUT), "tcp_user_timeout": round(DRIVER_TIMEOUT * 1000)}
    options |= {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return _sql(connection, "PostgreSQL", "postgresql", {"psycopg2": "psycopg2", "psycopg": "psycopg"}, 5432, options)


def _mysql(connection: Connection) -> RecordStore:
    options = read_extra(connection, _MySqlExtra).model_dump(exclude_none=True, exclude={"iam"})
    options |= dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), round(DRIVER_TIMEOUT))
    drivers = {"MySQLdb": "mysqldb"} if "ssl_mode" in options else {"MySQLdb": "mysqldb", "pymysql": "pymysql"}
    return _sql(connection, "MySQL", "mysql", drivers, 3306, options)


def _sql(
    connection: Connection, name: str, dialect: str, drivers: dict[str, str], port: int, options: dict[str, Any]
) -> RecordStore:
    """Return a store in a database.

    :param drivers: names of modules, the first one that is installed is used, and SQLAlchemy's names for them.
    """
    from sqlalchemy.engine import URL

    from airflow_provider_workflows.records.sql import SqlRecordStore

    driver = drivers[_first_installed(*drivers)]
    host, port, schema = connection.host or "localhost", connection.port or port, connection.schema or None
    url = URL.create(f"{dialect}+{driver}", connection.login or None, connection.password or None, host, port, schema)
    return SqlRecordStore(f"{name} at {host}:{port}", url, **options)


_MAKERS: dict[str, Callable[[Connection], RecordStore]] = {"redis": _redis, "postgres": _postgres, "mysql": _mysql}


@hide_frames
def record_store(conn_id: str | None, clock: Callable[[], float]) -> RecordStore:
    """Return the store that workers share: all of them, or without a connection those on this host. May block.

    :param conn_id: id of a connection of type ``redis``, ``postgres`` or ``mysql``, of a portal's ``shared_store``.
    :param clock: returns the Unix time; a server has its own.
    :raises ConnectionFieldError: if the connection cannot be used, with the field's name.
    :raises ConnectionUnreadableError: if it cannot be read now.
    """
    if conn_id is None:
        return host_store(clock)
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        fault = "there is no such connection, but extra.shared_store of another connection names it"
        raise ConnectionFieldError(conn_id, fault) from None
    except Exception as error:
        # Whatever Airflow, its database or a secrets backend raises; its text may hold secrets.
        raise ConnectionUnreadableError(conn_id, type(error).__name__) from None
    make = _MAKERS.get(connection.conn_type or "")
    if make is None:
        types = "redis, postgres or mysql"
        raise ConnectionFieldError(
            conn_id, f"conn_type must be {types} for a shared_store, not {connection.conn_type!r}"
        )
    try:
        return make(connection)
    except ModuleNotFoundError as error:
        fault = f"a shared_store of type {connection.conn_type} needs the package {error.name}, which is not installed"
        raise ConnectionFieldError(conn_id, fault) from None
