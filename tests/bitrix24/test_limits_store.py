"""One bucket for all processes of a host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_workflows.bitrix24.limits.bucket import Bucket
from airflow_provider_workflows.bitrix24.limits.store import FileBucketStore, MemoryBucketStore, store_for

PORTAL = "https://acme.bitrix24.com"


def count_up(bucket):
    number = (bucket.empty_at if bucket else 0.0) + 1
    return number, Bucket(empty_at=number, drain=2.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"airflow-provider-workflows-{os.getuid()}"


@pytest.mark.parametrize("make", [MemoryBucketStore, lambda: store_for(PORTAL)], ids=["memory", "file"])
def test_no_change_is_lost_between_threads(make, folder):
    store = make()
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: store.change(count_up), range(200)))
    assert sorted(numbers) == list(range(1, 201))


COUNT_UP_100_TIMES = """
import sys
sys.path.insert(0, {folder!r})
from test_limits_store import count_up, store_for, PORTAL
for _ in range(100): store_for(PORTAL).change(count_up)
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
from test_limits_store import store_for, PORTAL
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
        waiting = pool.submit(store_for(PORTAL).change, count_up)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert waiting.result(timeout=10) == 1
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


def test_a_folder_that_others_may_open_is_not_used(folder, caplog):
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert isinstance(store_for(PORTAL), MemoryBucketStore)
    assert "for this process only" in caplog.text


def test_a_link_in_the_files_place_is_not_followed(folder, tmp_path):
    store = store_for(PORTAL)
    store.change(count_up)
    (file,) = folder.iterdir()
    file.unlink()
    target = tmp_path / "elsewhere"
    file.symlink_to(target)
    assert isinstance(store, FileBucketStore)
    with pytest.raises(OSError, match="symbolic"):
        store.change(count_up)
    assert not target.exists()
