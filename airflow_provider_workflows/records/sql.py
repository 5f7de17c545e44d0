"""Records in a table of PostgreSQL or MySQL (MariaDB), through SQLAlchemy, which Airflow brings, and a driver."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, LargeBinary, MetaData, String, Table, create_engine, inspect, literal_column, select
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import Select
from sqlalchemy.sql.elements import ColumnElement

from airflow_provider_workflows.records.store import CompareAndSetStore, RecordStoreError
from airflow_provider_workflows.rest.redaction import hide_frames

TABLE = "airflow_provider_workflows_records"
#: The server's Unix time.
CLOCKS = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "mysql": "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) / 1e6",
}
CLOCKS["mariadb"] = CLOCKS["mysql"]

_table = Table(TABLE, MetaData(), Column("name", String(200), primary_key=True), Column("content", LargeBinary(2**20)))


class SqlRecordStore(CompareAndSetStore):
    """Keeps each record in its own row; the time is the server's. The table is created when it is missing.

    Each statement is a transaction: no lock is ever held from one to the next.

    :param name: what the store is called in logs and errors.
    :param url: where it is.
    :param options: how it is called: arguments of the driver's ``connect``.
    """

    @hide_frames
    def __init__(self, name: str, url: URL, **options: Any) -> None:
        super().__init__()
        self._name = name
        self._engine = create_engine(
            url,
            connect_args=options,
            isolation_level="AUTOCOMMIT",
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            hide_parameters=True,
        )
        self._clock: ColumnElement[Any] = literal_column(CLOCKS[self._engine.dialect.name])
        self._has_table = False

    def __str__(self) -> str:
        return self._name

    @hide_frames
    def _read(self, name: str) -> tuple[bytes | None, float]:
        one = select(literal_column("1").label("one")).subquery()
        found = select(self._clock, _table.c.content).select_from(one.outerjoin(_table, _table.c.name == name))
        try:
            try:
                now, content = self._read_once(found)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # Perhaps only this connection was closed, while it was idle.
                now, content = self._read_once(found)
        except SQLAlchemyError as error:
            raise self._failure(error) from None
        return content and bytes(content), float(now)

    def _read_once(self, found: Select[Any]) -> Any:
        with self._engine.connect() as connection:
            self._make_table(connection)
            return connection.execute(found).one()

    @hide_frames
    def _write(self, name: str, old: bytes | None, new: bytes, keep_for: float | None) -> bool:  # noqa: ARG002
        try:
            with self._engine.connect() as connection:
                if old is None:
                    connection.execute(_table.insert().values(name=name, content=new))
                    return True
                still = (_table.c.name == name) & (_table.c.content == old)
                return connection.execute(_table.update().where(still).values(content=new)).rowcount == 1
        except IntegrityError:
            return False
        except SQLAlchemyError as error:
            raise self._failure(error) from None

    def _make_table(self, connection: Connection) -> None:
        if self._has_table:
            return
        try:
            _table.create(connection, checkfirst=True)
        except SQLAlchemyError:
            # Perhaps another worker has made it meanwhile.
            if not inspect(connection).has_table(TABLE):
                raise
        self._has_table = True

    def _failure(self, error: SQLAlchemyError) -> RecordStoreError:
        # The address may lead to another server by now, and a new database has no table.
        self._engine.dispose()
        self._has_table = False
        # What SQLAlchemy adds is the statement.
        return RecordStoreError(self._name, str(error.orig if isinstance(error, DBAPIError) else type(error).__name__))
