"""Records for all processes of a host."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.records.files import FileRecordStore, host_store
from airflow_provider_workflows.records.store import TIMEOUT


def wait_of(limiter):
    return next(limiter.acquire(calls.find_users({})), 0.0)


def count_up(content, now):
    number = int(content or b"0") + 1
    return number, str(number).encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"airflow-provider-workflows-{os.getuid()}"


def patient_store():
    """Return the host's store, which waits for as long as a slow machine needs."""
    store = host_store()
    store._monotonic = lambda: 0.0
    return store


def test_no_change_is_lost_between_threads(folder):
    store = patient_store()
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: store.change("portal", count_up), range(200)))
    assert sorted(numbers) == list(range(1, 201))


COUNT_UP_100_TIMES = """
import sys
sys.path.insert(0, {folder!r})
from test_files import count_up, patient_store
for _ in range(100): patient_store().change("portal", count_up)
"""


def python(code, tmp_path, **options):
    here = os.path.dirname(__file__)  # noqa: PTH120
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen([sys.executable, "-c", code.format(folder=here)], env=environment, **options)


def test_no_change_is_lost_between_processes(folder, tmp_path):
    counters = [python(COUNT_UP_100_TIMES, tmp_path) for _ in range(3)]
    assert [counter.wait(300) for counter in counters] == [0, 0, 0]
    assert host_store().change("portal", count_up) == 301


HOLD_FOR_EVER = """
import sys, time
sys.path.insert(0, {folder!r})
from test_files import host_store
def hold(content, now):
    print("held", flush=True)
    time.sleep(600)
host_store().change("portal", hold)
"""


def test_a_holder_that_is_killed_does_not_block_the_others(folder, tmp_path):
    holder = python(HOLD_FOR_EVER, tmp_path, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patient_store().change, "portal", count_up)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert waiting.result(timeout=300) == 1
    holder.stdout.close()


def replace(new, content, now):
    return None, new


def test_a_record_may_grow_and_shrink(folder):
    store = host_store()
    for new in (b"a", b"b" * 5000, b"c"):
        store.change("token", partial(replace, new))
        assert store.change("token", lambda content, now: (content, None)) == new


def test_who_only_reads_makes_no_record(folder):
    assert host_store().change("token", lambda content, now: (content, None)) is None
    assert host_store().change("token", lambda content, now: (content, None)) is None


def test_the_folder_and_file_are_private(folder):
    host_store().change("portal", count_up)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_each_record_has_its_own_file(folder):
    host_store().change("portal", count_up)
    assert host_store().change("other", count_up) == 1


def test_a_folder_that_others_may_open_is_not_used(folder):
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="not a private folder"):
        host_store().change("portal", count_up)


def test_a_link_in_the_files_place_is_not_followed(folder, tmp_path):
    store = host_store()
    store.change("portal", count_up)
    (file,) = folder.iterdir()
    file.unlink()
    target = tmp_path / "elsewhere"
    file.symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        store.change("portal", count_up)
    assert not target.exists()


class TestFaultsInTheMiddle:
    """Whatever happens to the file while tasks are at work: they go on, and share it again when they can."""

    @pytest.fixture
    def limiter(self, folder):
        limiter = PortalRateLimiter(store=host_store())
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
        host_store()

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
        assert "The rate limit is shared again" in caplog.text

    def test_the_disk_is_full_while_the_file_is_made(self, folder, caplog, monkeypatch):
        folder.mkdir(mode=0o700)
        limiter = PortalRateLimiter(store=FileRecordStore(folder))
        (folder / "portal.json").symlink_to("/dev/full")
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
        return PortalRateLimiter(store=FileRecordStore(folder, monotonic=clock.monotonic, sleep=clock.sleep))

    def test_it_is_waited_for_once_and_not_for_long(self, limiter, clock, caplog):
        waits = [wait_of(limiter) for _ in range(5)]
        assert all(0 <= wait < 10 for wait in waits)
        assert TIMEOUT <= clock.now <= TIMEOUT + 1
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
        assert "The rate limit is shared again" in caplog.text

    def test_a_holder_that_is_only_slow_is_waited_for(self, folder, holder):
        class Freeing(Clock):
            def sleep(self, seconds):
                super().sleep(seconds)
                if self.naps == 3:
                    holder.kill()
                    holder.wait()

        clock = Freeing()
        assert FileRecordStore(folder, monotonic=clock.monotonic, sleep=clock.sleep).change("portal", count_up) == 1
        assert clock.naps == 3
