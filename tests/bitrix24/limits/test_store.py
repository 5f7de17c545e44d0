"""One bucket for all processes of a host."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.limits.bucket import Bucket
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.limits.store import LOCK_TIMEOUT, FileBucketStore, MemoryBucketStore, store_for

PORTAL = "https://acme.bitrix24.com"


def wait_of(limiter):
    return next(limiter.acquire(calls.find_users({})), 0.0)


def count_up(bucket):
    number = (bucket.level if bucket else 0.0) + 1
    return number, Bucket(level=number, drain=2.0, at=0.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"airflow-provider-workflows-{os.getuid()}"


def patient_store():
    """Return the portal's store, which waits for as long as a slow machine needs."""
    store = store_for(PORTAL)
    assert isinstance(store, FileBucketStore)
    store._monotonic = lambda: 0.0
    return store


@pytest.mark.parametrize("make", [MemoryBucketStore, patient_store], ids=["memory", "file"])
def test_no_change_is_lost_between_threads(make, folder):
    store = make()
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: store.change(count_up), range(200)))
    assert sorted(numbers) == list(range(1, 201))


COUNT_UP_100_TIMES = """
import sys
sys.path.insert(0, {folder!r})
from test_store import count_up, patient_store
for _ in range(100): patient_store().change(count_up)
"""


def python(code, tmp_path, **options):
    here = os.path.dirname(__file__)  # noqa: PTH120
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen([sys.executable, "-c", code.format(folder=here)], env=environment, **options)


def test_no_change_is_lost_between_processes(folder, tmp_path):
    counters = [python(COUNT_UP_100_TIMES, tmp_path) for _ in range(3)]
    assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    assert store_for(PORTAL).change(count_up) == 301


HOLD_FOR_EVER = """
import sys, time
sys.path.insert(0, {folder!r})
from test_store import store_for, PORTAL
def hold(bucket):
    print("held", flush=True)
    time.sleep(600)
store_for(PORTAL).change(hold)
"""


def test_a_holder_that_is_killed_does_not_block_the_others(folder, tmp_path):
    holder = python(HOLD_FOR_EVER, tmp_path, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patient_store().change, count_up)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert waiting.result(timeout=60) == 1
    holder.stdout.close()


def test_a_half_written_file_is_a_new_bucket(folder):
    store = store_for(PORTAL)
    store.change(count_up)
    (file,) = folder.iterdir()
    file.write_bytes(b'{"empty_at": 17')
    assert store.change(count_up) == 1


def test_the_folder_and_file_are_private(folder):
    store_for(PORTAL).change(count_up)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_each_portal_has_its_own_bucket(folder):
    store_for(PORTAL).change(count_up)
    assert store_for("https://other.bitrix24.com").change(count_up) == 1


def test_a_folder_that_others_may_open_is_not_used(folder):
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="not a private folder"):
        store_for(PORTAL).change(count_up)


def test_a_link_in_the_files_place_is_not_followed(folder, tmp_path):
    store = store_for(PORTAL)
    store.change(count_up)
    (file,) = folder.iterdir()
    file.unlink()
    target = tmp_path / "elsewhere"
    file.symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        store.change(count_up)
    assert not target.exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://ACME.Bitrix24.com",
        "https://acme.bitrix24.com:443",
        "https://acme.bitrix24.com.",
        "https://Acme.bitrix24.com.:443/",
    ],
)
def test_a_portal_has_one_bucket_however_its_host_is_written(folder, url):
    store_for(PORTAL).change(count_up)
    assert store_for(url).change(count_up) == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://other.bitrix24.com",
        "https://acme.bitrix24.com:8443",
        "https://acme.bitrix24.com/b24",
        "http://acme.bitrix24.com",
        "https://acme.bitrix24.de",
    ],
)
def test_another_portal_has_another_bucket(folder, url):
    store_for(PORTAL).change(count_up)
    assert store_for(url).change(count_up) == 1


def test_a_portal_at_an_ip_address_has_a_bucket_too(folder):
    assert store_for("http://[::1]:8000").change(count_up) == 1
    assert store_for("http://[::1]:8001").change(count_up) == 1


@pytest.mark.parametrize(
    "content", [b'{"level": NaN, "drain": 2, "at": 0}', b'{"level": 1, "drain": 0, "at": 0}', b"[]"]
)
def test_what_is_no_bucket_is_not_used(folder, content):
    store = store_for(PORTAL)
    store.change(count_up)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert store.change(count_up) == 1


class TestFaultsInTheMiddle:
    """Whatever happens to the file while tasks are at work: they go on, and share it again when they can."""

    @pytest.fixture
    def limiter(self, folder):
        limiter = PortalRateLimiter(store=store_for(PORTAL))
        wait_of(limiter)
        return limiter

    def goes_on(self, limiter, caplog, *, shared):
        for _ in range(3):
            assert 0 <= wait_of(limiter) < 10
        assert caplog.text.count("The rate limit is kept by this process alone") == (0 if shared else 1)

    def test_the_folder_is_cleared(self, limiter, folder, caplog):
        shutil.rmtree(folder)
        self.goes_on(limiter, caplog, shared=True)
        assert len(list(folder.iterdir())) == 1

    def test_the_folder_for_all_temporary_files_is_gone(self, limiter, folder, caplog, tmp_path):
        shutil.rmtree(tmp_path)
        self.goes_on(limiter, caplog, shared=False)
        tmp_path.mkdir(mode=0o700)
        wait_of(limiter)
        assert len(list(folder.iterdir())) == 1

    def test_there_never_was_one(self, monkeypatch, caplog, tmp_path):
        def none():
            raise FileNotFoundError("No usable temporary directory found")

        monkeypatch.setattr(tempfile, "gettempdir", none)
        store_for(PORTAL)

    def test_a_file_stands_in_the_folders_place(self, limiter, folder, caplog):
        shutil.rmtree(folder)
        folder.touch()
        self.goes_on(limiter, caplog, shared=False)

    def test_a_folder_stands_in_the_files_place(self, limiter, folder, caplog):
        (file,) = folder.iterdir()
        file.unlink()
        file.mkdir()
        self.goes_on(limiter, caplog, shared=False)
        file.rmdir()
        wait_of(limiter)
        assert file.is_file()

    @pytest.mark.parametrize(
        ("where", "what", "number"),
        [
            ("os", "open", 13),
            ("os", "open", 24),
            ("fcntl", "flock", 37),
            ("io", "read", 5),
            ("io", "write", 28),
        ],
    )
    def test_the_system_refuses(self, limiter, caplog, monkeypatch, where, what, number):
        def refuse(*arguments, **options):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as broken:
            if where == "io":
                real = os.fdopen

                def opened(*arguments, **options):
                    file = real(*arguments, **options)
                    return FailingFile(file, what, refuse)

                broken.setattr(os, "fdopen", opened)
            else:
                broken.setattr({"os": os, "fcntl": fcntl}[where], what, refuse)
            self.goes_on(limiter, caplog, shared=False)
            assert os.strerror(number) in caplog.text
        caplog.set_level("INFO")
        wait_of(limiter)
        assert "shared with this host's other processes again" in caplog.text

    def test_the_disk_is_full_while_the_file_is_made(self, folder, caplog, monkeypatch):
        folder.mkdir(mode=0o700)
        limiter = PortalRateLimiter(store=FileBucketStore(folder / "bucket"))
        (folder / "bucket").symlink_to("/dev/full")
        self.goes_on(limiter, caplog, shared=False)


class FailingFile:
    """A file, one of whose methods fails."""

    def __init__(self, file, what, refuse):
        self._file = file
        setattr(self, what, refuse)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.naps = 0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.naps += 1


class TestAFrozenHolder:
    """A process that is stopped (SIGSTOP, a suspended container) keeps its lock."""

    @pytest.fixture
    def holder(self, folder, tmp_path):
        holder = python(HOLD_FOR_EVER, tmp_path, stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        yield holder
        holder.kill()
        holder.wait()
        holder.stdout.close()

    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def limiter(self, folder, holder, clock):
        (file,) = folder.iterdir()
        return PortalRateLimiter(store=FileBucketStore(file, monotonic=clock.monotonic, sleep=clock.sleep))

    def test_it_is_waited_for_once_and_not_for_long(self, limiter, clock, caplog):
        waits = [wait_of(limiter) for _ in range(5)]
        assert all(0 <= wait < 10 for wait in waits)
        assert LOCK_TIMEOUT <= clock.now <= LOCK_TIMEOUT + 1
        assert caplog.text.count("The rate limit is kept by this process alone") == 1
        assert "may be frozen" in caplog.text

    @pytest.mark.parametrize("ends", [signal.SIGCONT, signal.SIGKILL])
    def test_when_it_goes_on_or_dies_the_file_is_shared_again(self, limiter, holder, caplog, ends):
        caplog.set_level("INFO")
        wait_of(limiter)
        holder.send_signal(ends)
        if ends == signal.SIGCONT:
            holder.terminate()
        holder.wait()
        wait_of(limiter)
        assert "shared with this host's other processes again" in caplog.text

    def test_a_holder_that_is_only_slow_is_waited_for(self, folder, holder):
        (file,) = folder.iterdir()

        class Freeing(Clock):
            def sleep(self, seconds):
                super().sleep(seconds)
                if self.naps == 3:
                    holder.kill()
                    holder.wait()

        clock = Freeing()
        assert FileBucketStore(file, monotonic=clock.monotonic, sleep=clock.sleep).change(count_up) == 1
        assert clock.naps == 3
