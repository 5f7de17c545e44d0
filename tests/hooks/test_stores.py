"""From a connection to the store that workers share."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from fakeredis import FakeRedis, FakeServer

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.hooks import stores
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError, ConnectionUnreadableError
from airflow_provider_workflows.hooks.stores import record_store
from airflow_provider_workflows.records.redis import RedisRecordStore
from airflow_provider_workflows.records.sql import SqlRecordStore

PASSWORD = "c0rrect-horse"


def now() -> float:
    return 0.0


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what gives the connection ``shared`` its content."""

    def set_to(content: dict[str, Any] | str) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        monkeypatch.setenv("AIRFLOW_CONN_SHARED", text)

    return set_to


def redis_options(store: Any) -> dict[str, Any]:
    assert isinstance(store, RedisRecordStore)
    options: dict[str, Any] = store._client.connection_pool.connection_kwargs
    return options


class TestRedis:
    @pytest.mark.parametrize(
        ("content", "options"),
        [
            ({"host": "redis.acme.com"}, {"host": "redis.acme.com", "port": 6379, "db": 0, "password": None}),
            (
                {"host": "redis.acme.com", "port": 6380, "login": "airflow", "password": PASSWORD, "extra": {"db": 3}},
                {"port": 6380, "username": "airflow", "password": PASSWORD, "db": 3},
            ),
            (f"redis://:{PASSWORD}@redis.acme.com:6379/2", {"host": "redis.acme.com", "db": 2, "password": PASSWORD}),
            (
                "redis://redis.acme.com?ssl=true&ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem&ssl_check_hostname=false",
                {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
            ("redis://redis.acme.com?db=4&ssl=false", {"db": 4}),
        ],
    )
    def test_it_is_called_as_the_connection_says(
        self, connection: Any, content: dict[str, Any] | str, options: dict[str, Any]
    ) -> None:
        connection(content if isinstance(content, str) else {"conn_type": "redis", **content})
        store = record_store("shared", now)
        assert redis_options(store).items() >= options.items()
        assert str(store) == f"Redis at redis.acme.com:{redis_options(store)['port']}"

    def test_tls_is_used_where_it_is_asked_for_and_only_there(self, connection: Any) -> None:
        for content, tls in (("redis://r?ssl=true", True), ("redis://r?ssl=false", False), ("redis://r", False)):
            connection(content)
            store: Any = record_store("shared", now)
            assert store._client.connection_pool.connection_class.__name__ == ("SSLConnection" if tls else "Connection")


def engine_options(store: Any) -> tuple[Any, dict[str, Any]]:
    """Return where a store's engine connects to, and with which options."""
    assert isinstance(store, SqlRecordStore)
    given: dict[str, Any] = {}

    def connect(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> Any:
        given.update(options)
        raise StopIteration

    from sqlalchemy import event

    event.listen(store._engine, "do_connect", connect)
    with pytest.raises(StopIteration):
        store._engine.raw_connection()
    return store._engine.url, given


class TestSql:
    def test_postgres_is_called_as_the_connection_says(self, connection: Any) -> None:
        extra = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "cursor": "dictcursor"}
        fields = {"host": "db.acme.com", "login": "airflow", "password": PASSWORD, "schema": "records"}
        connection({"conn_type": "postgres", **fields, "extra": extra})
        store = record_store("shared", now)
        url, options = engine_options(store)
        assert url.render_as_string(hide_password=False) == (
            f"postgresql+psycopg2://airflow:{PASSWORD}@db.acme.com:5432/records"
        )
        assert options.items() >= {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 10}.items()
        assert "cursor" not in options
        assert str(store) == "PostgreSQL at db.acme.com:5432"

    def test_mysql_is_called_as_the_connection_says(self, connection: Any) -> None:
        connection("mysql://airflow:secret@db.acme.com:3307/records?ssl=%7B%22ca%22%3A%20%22%2Fca.pem%22%7D")
        store = record_store("shared", now)
        url, options = engine_options(store)
        assert (url.host, url.port, url.database) == ("db.acme.com", 3307, "records")
        assert options["ssl"] == {"ca": "/ca.pem"}
        assert str(store) == "MySQL at db.acme.com:3307"


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ({"conn_type": "http", "host": "x"}, "conn_type must be redis, postgres or mysql"),
            ({"conn_type": "redis", "extra": {"db": PASSWORD}}, "extra.db"),
            ({"conn_type": "redis", "extra": {"ssl_cert_reqs": PASSWORD}}, "extra.ssl_cert_reqs"),
            ({"conn_type": "postgres", "extra": {"iam": True}}, "extra.iam"),
            ({"conn_type": "mysql", "extra": {"ssl": PASSWORD}}, "extra.ssl"),
        ],
    )
    def test_what_cannot_serve_is_named_and_no_secret_shown(
        self, connection: Any, content: dict[str, Any], fault: str
    ) -> None:
        connection({"password": PASSWORD, **content})
        with pytest.raises(ConnectionFieldError, match=rf"Connection 'shared': {fault}") as refused:
            record_store("shared", now)
        assert PASSWORD not in str(refused.value)

    def test_a_connection_that_is_not_there(self) -> None:
        with pytest.raises(ConnectionFieldError, match=r"extra.shared_store of another connection names it"):
            record_store("missing", now)

    def test_one_that_cannot_be_read_now_can_be_read_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(conn_id: str) -> None:
            raise OSError(PASSWORD)

        monkeypatch.setattr(BaseHook, "get_connection", away)
        with pytest.raises(ConnectionUnreadableError, match="Connection 'shared' cannot be read: OSError") as caught:
            record_store("shared", now)
        assert caught.value.retry_helps

    @pytest.mark.parametrize(
        ("conn_type", "package"),
        [("redis", "redis"), ("postgres", "psycopg2 or psycopg"), ("mysql", "MySQLdb or pymysql")],
    )
    def test_a_library_that_is_not_installed(
        self, connection: Any, monkeypatch: pytest.MonkeyPatch, conn_type: str, package: str
    ) -> None:
        connection({"conn_type": conn_type, "host": "x"})
        monkeypatch.setattr(stores, "find_spec", lambda name: None)
        with pytest.raises(ConnectionFieldError, match=f"needs the package {package}, which is not installed"):
            record_store("shared", now)


def fake_redis(server: FakeServer, **options: Any) -> FakeRedis:
    return FakeRedis(server=server)


class TestOfAPortal:
    def test_its_connection_names_the_store(self, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        connection("redis://redis.acme.com")
        fields = {"conn_type": "bitrix24", "host": "acme.bitrix24.com", "login": "1", "password": PASSWORD}
        monkeypatch.setenv("AIRFLOW_CONN_OWN", json.dumps(fields))
        monkeypatch.setenv("AIRFLOW_CONN_ALL", json.dumps({**fields, "extra": {"shared_store": "shared"}}))
        settings = {id: Bitrix24Hook.read_settings(BaseHook.get_connection(id)) for id in ("all", "own")}
        assert str(record_store(settings["all"].shared_store, now)) == "Redis at redis.acme.com:6379"
        assert "files of this host" in str(record_store(settings["own"].shared_store, now))

    def test_requests_of_many_hosts_keep_some_distance_from_the_limit(
        self, connection: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first ones of a burst take longest, so that the others come closer together."""
        connection("redis://redis.acme.com")
        fields = {"conn_type": "bitrix24", "host": "acme.bitrix24.com", "login": "1", "password": PASSWORD}
        # Nothing drains meanwhile, however slow the machine is.
        at = time.time()
        monkeypatch.setattr("time.time", lambda: at)
        at_once = {}
        for extra in ({}, {"shared_store": "shared"}):
            monkeypatch.setattr("redis.Redis", partial(fake_redis, FakeServer()))
            monkeypatch.setenv("AIRFLOW_CONN_ONE", json.dumps({**fields, "extra": extra}))
            limiter: Any = Bitrix24Hook("one").get_conn()._driver._limiter
            waits = [next(limiter.acquire(calls.list_scopes()), 0.0) for _ in range(60)]
            at_once[len(extra)] = sum(wait == 0 for wait in waits)
        assert at_once == {0: 49, 1: 47}
