"""What all record stores promise, each of them; those on servers also with real servers where they are installed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from fakeredis import FakeRedis, FakeServer
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from airflow_provider_workflows.records import files as files_module
from airflow_provider_workflows.records import redis as redis_module
from airflow_provider_workflows.records import sql, store
from airflow_provider_workflows.records.files import FileRecordStore
from airflow_provider_workflows.records.redis import RedisRecordStore
from airflow_provider_workflows.records.sql import SqlRecordStore
from airflow_provider_workflows.records.store import MemoryRecordStore, RecordStore, RecordStoreError
from tests.rest.loopback import closed_port
from tests.servers import (
    NotInstalledError,
    Server,
    mariadb_server,
    postgres_server,
    redis_server,
)

#: Makes one more user of the same records, in another process as far as the store can tell.
Make = Callable[[], RecordStore]


def read(records: RecordStore, name: str = "one") -> bytes | None:
    return records.change(name, lambda content, now: (content, None))


def write(records: RecordStore, new: bytes, name: str = "one") -> None:
    records.change(name, lambda content, now: (None, new))


def count_up(content: bytes | None, now: float) -> tuple[int, bytes]:
    number = int(content or b"0") + 1
    return number, str(number).encode()


def a_record_is_what_was_written_last(make: Make) -> None:
    one, other = make(), make()
    assert read(one) is None
    for new in (b"a", bytes(range(256)), b"b" * 100_000, b"\xff\x00'\"\\ %s :name"):
        write(one, new)
        assert read(other) == new
    assert read(one, "another") is None


def what_is_left_as_it_is_stays(make: Make) -> None:
    write(make(), b"kept", "left")
    read(make(), "left")
    make().change("left", lambda content, now: (None, content))
    assert read(make(), "left") == b"kept"


def no_change_is_lost(make: Make) -> None:
    users = [make() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda nth: users[nth % 4].change("count", count_up), range(60)))
    assert sorted(numbers) == list(range(1, 61))


def all_see_one_time_and_it_goes_on(make: Make) -> None:
    one, other = make(), make()
    times = [user.change("time", lambda content, now: (now, None)) for user in (one, other, one, other)]
    assert times == sorted(times)
    assert 1_700_000_000 < times[0] <= times[-1] < times[0] + 300


def a_step_that_fails_changes_nothing(make: Make) -> None:
    write(make(), b"before", "fails")
    with pytest.raises(ValueError, match="nonsense"):
        make().change("fails", lambda content, now: (int("nonsense"), b"after"))
    assert read(make(), "fails") == b"before"


CONTRACT = [
    a_record_is_what_was_written_last,
    what_is_left_as_it_is_stays,
    no_change_is_lost,
    all_see_one_time_and_it_goes_on,
    a_step_that_fails_changes_nothing,
]


def cut_redis(records: Any) -> None:
    records._client.client_kill_filter(_type="normal", skipme=True)


def cut_postgres(records: Any) -> None:
    others = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend'"
    with records._engine.connect() as connection:
        connection.execute(text(f"{others} and pid <> pg_backend_pid()"))


def cut_mariadb(records: Any) -> None:
    with records._engine.connect() as connection:
        for (number,) in connection.execute(
            text("select id from information_schema.processlist where id <> connection_id() and user = 'root'")
        ).all():
            # It may just have gone by itself.
            with suppress(OperationalError):
                connection.execute(text(f"kill {number}"))


def redis_at(port: int, **options: Any) -> RedisRecordStore:
    return RedisRecordStore(f"Redis at 127.0.0.1:{port}", host="127.0.0.1", port=port, **options)


def postgres_at(port: int) -> SqlRecordStore:
    return SqlRecordStore(
        "PostgreSQL", URL.create("postgresql+psycopg2", "postgres", None, "127.0.0.1", port, "postgres")
    )


def mariadb_at(port: int) -> SqlRecordStore:
    return SqlRecordStore("MariaDB", URL.create("mysql+pymysql", "root", None, "127.0.0.1", port, "test"))


@contextmanager
def fake_redis() -> Iterator[Callable[[], RedisRecordStore]]:
    """Have what speaks Redis' commands and its Lua, in this process."""
    server = FakeServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("redis.Redis", lambda **options: FakeRedis(server=server, **options))
        yield lambda: redis_at(6379)


@contextmanager
def memory(folder: Path) -> Iterator[Make]:
    records = MemoryRecordStore()
    yield lambda: records


@contextmanager
def files(folder: Path) -> Iterator[Make]:
    # However slow the machine is, they wait for each other.
    yield lambda: FileRecordStore(folder / "own", monotonic=lambda: 0.0)


@contextmanager
def redis_protocol(folder: Path) -> Iterator[Make]:
    with fake_redis() as make:
        yield make


@contextmanager
def sqlite(folder: Path) -> Iterator[Make]:
    """Yield what speaks SQL, though SQLite is nothing that hosts could share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sql.CLOCKS, "sqlite", "(julianday('now') - 2440587.5) * 86400.0")
        url = URL.create("sqlite", database=str(folder / "records"))
        yield lambda: SqlRecordStore("SQLite", url, check_same_thread=False, timeout=300)


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (store, "TIMEOUT"), (files_module, "TIMEOUT"), (store, "PATIENCE"), (redis_module, "DRIVER_TIMEOUT"):
        monkeypatch.setattr(*seconds, 300.0)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("kind", [memory, files, redis_protocol, sqlite], ids=lambda kind: kind.__name__)
def test_every_store_keeps_its_promises(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Make]], promise: Callable[[Make], None]
) -> None:
    with kind(tmp_path) as make:
        promise(make)


@pytest.mark.parametrize(
    ("run", "connect", "cut"),
    [
        (redis_server, redis_at, cut_redis),
        (postgres_server, postgres_at, cut_postgres),
        (mariadb_server, mariadb_at, cut_mariadb),
    ],
    ids=["redis", "postgres", "mariadb"],
)
def test_a_real_server_keeps_them_too_and_may_close_connections(
    run: Callable[[], AbstractContextManager[Server]],
    connect: Callable[[int], RecordStore],
    cut: Callable[[RecordStore], None],
) -> None:
    try:
        with run() as server:
            for promise in CONTRACT:
                promise(lambda: connect(server.port))
            one = connect(server.port)
            write(one, b"before", "cut")
            cut(connect(server.port))
            assert read(one, "cut") == b"before"
    except NotInstalledError as error:
        pytest.skip(str(error))


class TestAServerThatIsAway:
    def test_is_told_with_its_place_and_no_secret(self) -> None:
        port = closed_port()
        for away in (
            redis_at(port, username="airflow", password="s3cret"),
            SqlRecordStore(
                f"MySQL at 127.0.0.1:{port}",
                URL.create("mysql+pymysql", "airflow", "s3cret", "127.0.0.1", port, "records"),
            ),
        ):
            with pytest.raises(OSError, match=f"at 127.0.0.1:{port}: .*[Cc]onnect") as told:
                write(away, b"t0ken")
            assert "s3cret" not in str(told.value)
            assert "t0ken" not in str(told.value)
            assert isinstance(told.value, RecordStoreError)
            assert told.value.retry_helps

    def test_is_used_again_when_it_is_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        try:
            with redis_server() as server:
                records = redis_at(server.port)
                write(records, b"1")
                monkeypatch.setattr(store, "TIMEOUT", 0.2)
                server.freeze()
                with pytest.raises(OSError, match="no answer"):
                    read(records)
                server.thaw()
                unanswered: Any = vars(records)["_unanswered"]
                unanswered.result(300)
                monkeypatch.setattr(store, "TIMEOUT", 300.0)
                assert read(records) == b"1"
                server.process.kill()
                server.process.wait()
                with pytest.raises(OSError, match=r"[Cc]onnect"):
                    read(records)
            with redis_server(server.port):
                write(records, b"2")
                assert read(records) == b"2"
        except NotInstalledError as error:
            pytest.skip(str(error))

    @pytest.fixture
    def silent(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """Return a server that takes connections and never answers: it is frozen, or its network is."""
        monkeypatch.setattr(store, "TIMEOUT", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening

    def test_that_never_answers_is_waited_for_once(self, silent: socket.socket) -> None:
        frozen = redis_at(silent.getsockname()[1])
        with pytest.raises(OSError, match=r"no answer within 0\.05 s"):
            read(frozen)
        for _ in range(3):
            with pytest.raises(OSError, match="it has still not answered"):
                read(frozen)
        silent.settimeout(300)
        with silent.accept()[0]:
            silent.settimeout(0)
            with pytest.raises(BlockingIOError):
                silent.accept()

    def test_a_change_that_nobody_waits_for_any_more_is_not_made(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with sqlite(tmp_path) as make:
            records, read_late, going_on = make(), threading.Event(), threading.Event()
            write(records, b"before")
            late = sql.SqlRecordStore._read

            def slow(self: SqlRecordStore, name: str) -> Any:
                answer = late(self, name)
                read_late.set()
                assert going_on.wait(300)
                return answer

            with monkeypatch.context() as frozen:
                frozen.setattr(sql.SqlRecordStore, "_read", slow)
                frozen.setattr(store, "TIMEOUT", 0.05)
                with pytest.raises(OSError, match="no answer"):
                    write(records, b"too late")
                assert read_late.wait(300)
            unanswered: Any = vars(records)["_unanswered"]
            going_on.set()
            unanswered.result(300)
            assert read(records) == b"before"


def test_a_table_that_is_lost_is_made_again(tmp_path: Path) -> None:
    """As when a database was made anew, or restored."""
    with sqlite(tmp_path) as make:
        records: Any = make()
        write(records, b"1")
        with records._engine.connect() as connection:
            connection.execute(text(f"drop table {sql.TABLE}"))
        with pytest.raises(RecordStoreError, match="no such table"):
            write(records, b"2")
        write(records, b"3")
        assert read(records) == b"3"


def test_a_server_that_takes_no_writes_any_more_is_looked_up_anew() -> None:
    """As after a failover: the old connection still leads to what is only a replica now."""
    try:
        with redis_server() as server:
            records, seen = redis_at(server.port), redis_at(server.port)._client
            write(records, b"1")
            seen.replicaof("127.0.0.1", closed_port())
            before = {client["id"] for client in seen.client_list()}
            with pytest.raises(RecordStoreError, match="read only replica"):
                write(records, b"2")
            assert read(records) == b"1"
            assert {client["id"] for client in seen.client_list()} - before, "another connection"
            seen.replicaof("NO", "ONE")
            write(records, b"3")
    except NotInstalledError as error:
        pytest.skip(str(error))


def test_a_connection_that_was_closed_while_it_was_idle_is_no_failure() -> None:
    """As when a server was started anew, or a firewall forgets."""
    with fake_redis() as make:
        records, fail = make(), iter([redis.ConnectionError("Connection closed by server.")])
        write(records, b"1")
        once = RedisRecordStore._read_once

        def closed_once(self: RedisRecordStore, name: str) -> Any:
            for error in fail:
                raise error
            return once(self, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RedisRecordStore, "_read_once", closed_once)
            assert read(records) == b"1"


def test_what_need_not_be_kept_expires_and_the_rest_does_not() -> None:
    with fake_redis() as make:
        records = make()
        write(records, b"token", "token")
        records.change("budget", lambda content, now: (None, b"1"), keep_for=60)
        client = records._client
        assert client.ttl("airflow-provider-workflows:{token}") == -1
        assert 0 < client.ttl("airflow-provider-workflows:{budget}") <= 60


def test_the_table_may_be_made_by_several_at_once(tmp_path: Path) -> None:
    with sqlite(tmp_path) as make, ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: make().change("count", count_up), range(4))) == [1, 2, 3, 4]
