"""One process's limiter: what may be sent now, what has to wait, and what it learns from replies."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import Bitrix24Client, Portal, WorkflowFilter, calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.limits.limiter import RECHECK, PortalRateLimiter
from airflow_provider_workflows.bitrix24.listing import list_workflows
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.records.files import FileRecordStore
from airflow_provider_workflows.records.store import MemoryRecordStore
from airflow_provider_workflows.rest.errors import RateLimitError, ReplyLostError
from airflow_provider_workflows.simulator import Control, Simulator
from tests.operators.remote import INSTALLED, VirtualTime, install

LIST = calls.list_workflows()
END = calls.terminate_workflow("66e412fdc9bd44.36306599")
ENDS = calls.batch({"c0": END, "c1": END})


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Clock:
    return Clock()


def used(seconds: float, reset_at: float, each: float = 1.0) -> dict[str, float]:
    """Return the ``time`` part of a reply."""
    return {"operating": seconds, "operating_reset_at": reset_at, "duration": each}


def wait_of(limiter: PortalRateLimiter, call: Call) -> float:
    """Take a place for a call; return how long it is to wait."""
    return next(limiter.acquire(call), 0.0)


def waited(limiter: PortalRateLimiter, now: Clock) -> float:
    """Wait for a place; return how long that took."""
    began = now()
    for wait in limiter.acquire(LIST):
        now.now += wait
    return now() - began


def answer(limiter: PortalRateLimiter, call: Call, outcome: Any) -> None:
    """Have a call sent and answered."""
    assert wait_of(limiter, call) == 0
    limiter.release(call, outcome)


class TestTheBucket:
    def test_a_burst_goes_at_once_and_then_two_a_second(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        waits = [wait_of(limiter, LIST) for _ in range(60)]
        assert waits[:48] == [0.0] * 48
        assert [round(later - sooner, 6) for sooner, later in pairwise(waits[49:])] == [0.5] * 10

    def test_a_refusal_makes_everybody_wait_who_shares_the_bucket(self, now: Clock, tmp_path: Path) -> None:
        one, other = (PortalRateLimiter(store=FileRecordStore(tmp_path / "own", now), clock=now) for _ in range(2))
        assert wait_of(other, LIST) == 0
        one.release(LIST, RateLimitError("batch"))
        assert wait_of(other, LIST) > 0

    def test_time_brings_the_rate_back(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        limiter.release(LIST, RateLimitError("x"))

        def distance(places: int) -> float:
            waits = [wait_of(limiter, LIST) for _ in range(places)]
            return waits[-1] - waits[-2]

        assert distance(3) > 1 / 1.2
        now.now += 200
        assert distance(52) == pytest.approx(1 / 2)

    def test_the_portal_may_say_for_how_long_nothing_is_to_be_sent(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        limiter.release(LIST, RateLimitError("x", retry_after=90.0))
        assert 90 <= waited(limiter, now) <= 91

    def test_an_error_that_is_no_refusal_changes_nothing(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        for _ in range(40):
            assert wait_of(limiter, END) == 0
            limiter.release(END, ReplyLostError("x"))

    def test_who_waits_asks_again_and_goes_as_soon_as_it_may(self, now: Clock) -> None:
        """When it was first told how long to wait, the drain was slow; it has come back meanwhile."""
        limiter = PortalRateLimiter(clock=now)
        for _ in range(20):
            now.now += 6
            limiter.release(LIST, RateLimitError("x"))
        for _ in range(100):
            wait_of(limiter, LIST)
        # At a tenth of a request a second it would be a thousand.
        assert waited(limiter, now) < 300

    def test_threads_get_a_place_each(self, now: Clock, tmp_path: Path) -> None:
        limiter = PortalRateLimiter(
            Limits(bucket_drain=20), store=FileRecordStore(tmp_path / "own", now, monotonic=lambda: 0.0), clock=now
        )
        waits: list[float] = []
        threads = [
            threading.Thread(target=lambda: waits.extend(wait_of(limiter, LIST) for _ in range(20))) for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        later = sorted(wait for wait in waits if wait > 0)
        assert len(waits) == 200
        assert len(later) == 151
        assert [round(b - a, 3) for a, b in pairwise(later)] == [0.05] * 150


class Unusable:
    """A store that fails, for as long as it is told to."""

    def __init__(self, now: Clock) -> None:
        self.fails = True
        self.store = MemoryRecordStore(now)

    def change(self, name: str, step: Any, *, keep_for: float | None = None) -> Any:
        if self.fails:
            raise OSError(28, "No space left on device")
        return self.store.change(name, step, keep_for=keep_for)


class TestWithoutTheStore:
    def test_work_goes_on_carefully(self, now: Clock) -> None:
        limiter = PortalRateLimiter(store=Unusable(now), clock=now)
        waits = [wait_of(limiter, LIST) for _ in range(8)]
        gaps = [later - sooner for sooner, later in pairwise(waits)]
        assert gaps == pytest.approx([1.0] * 7, rel=0.05), "half of the rate"
        assert waits[0] > 0, "and no burst: others may just have had theirs"

    def test_a_refusal_is_learnt_from_all_the_same(self, now: Clock) -> None:
        limiter = PortalRateLimiter(store=Unusable(now), clock=now)
        limiter.release(LIST, RateLimitError("x", retry_after=30.0))
        assert 30 <= waited(limiter, now) <= 32

    def test_the_log_says_so_once(self, now: Clock, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        store = Unusable(now)
        limiter = PortalRateLimiter(store=store, clock=now)
        for _ in range(3):
            wait_of(limiter, LIST)
        store.fails = False
        for _ in range(3):
            wait_of(limiter, LIST)
        assert [(record.levelname, record.message.split(":")[0]) for record in caplog.records] == [
            ("WARNING", "The rate limit is kept by this process alone, at half the rate, until it can be shared"),
            ("INFO", "The rate limit is shared again"),
        ]
        assert "No space left" in caplog.text

    def test_when_it_works_again_the_bucket_is_shared_again(self, now: Clock) -> None:
        store = Unusable(now)
        one, other = (PortalRateLimiter(store=store, clock=now) for _ in range(2))
        for _ in range(60):
            wait_of(one, LIST)
        store.fails = False
        waits = [wait_of(limiter, LIST) for _ in range(30) for limiter in (one, other)]
        assert waits[:49] == [0.0] * 49
        assert waits[-1] > waits[-2] > 0

    @pytest.mark.parametrize(
        "content",
        [
            b'{"empty_at": 17',
            b"[]",
            *(
                b'{"bucket": {"level": %s, "drain": %s, "at": %s}}' % numbers
                for numbers in [(b"NaN", b"2", b"0"), (b"1", b"0", b"0"), (b"1e20", b"2", b"0"), (b"1", b"2", b"1e300")]
            ),
        ],
    )
    def test_what_is_no_bucket_is_not_used(self, now: Clock, content: bytes) -> None:
        store = MemoryRecordStore(now)
        store.change("portal", lambda _, now: (None, content))
        assert wait_of(PortalRateLimiter(store=store, clock=now), LIST) == 0

    def test_what_is_lost_is_not_taken_for_an_empty_bucket(self, now: Clock, tmp_path: Path) -> None:
        """Who clears the folder for temporary files does not empty the portal's bucket."""
        limiter = PortalRateLimiter(store=FileRecordStore(tmp_path / "own", now), clock=now)
        for _ in range(40):
            wait_of(limiter, LIST)
        (tmp_path / "own" / "portal.json").unlink()
        assert wait_of(limiter, LIST) > 0


class TestRunningTime:
    def test_only_the_method_that_has_used_it_up_is_held_back(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        answer(limiter, END, Reply(True, time=used(480, now() + 120)))
        for call in (END, ENDS):
            with pytest.raises(OperatingTimeLimitError, match="not sent") as held:
                wait_of(limiter, call)
            assert held.value.retry_after == pytest.approx(121)
            assert held.value.retry_helps
        assert wait_of(limiter, LIST) == 0
        assert wait_of(limiter, calls.batch({"c0": LIST})) == 0
        now.now += 121.1
        assert wait_of(limiter, END) == 0

    def test_what_is_held_back_takes_no_place_in_the_bucket(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        answer(limiter, END, Reply(True, time=used(480, now() + 120)))
        for _ in range(100):
            with pytest.raises(OperatingTimeLimitError):
                wait_of(limiter, END)
        assert wait_of(limiter, LIST) == 0

    def test_commands_that_the_portal_blocks_in_a_batch_get_the_time_to_wait(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        blocked = OperatingTimeLimitError(str(END), code="OPERATION_TIME_LIMIT", retry_after=300.0)
        wait_of(limiter, ENDS)
        limiter.release(ENDS, Reply({"c0": Reply(True, time=used(490, now() + 42)), "c1": blocked}))
        assert blocked.retry_after == pytest.approx(43), "as the last good reply says"
        with pytest.raises(OperatingTimeLimitError):
            wait_of(limiter, END)
        assert wait_of(limiter, LIST) == 0

    def test_a_batch_that_is_blocked_as_such_does_not_hold_back_single_calls(self, now: Clock) -> None:
        limiter = PortalRateLimiter(clock=now)
        blocked = OperatingTimeLimitError("batch", code="OPERATION_TIME_LIMIT", retry_after=300.0)
        wait_of(limiter, ENDS)
        limiter.release(ENDS, blocked)
        assert blocked.retry_after == 300
        with pytest.raises(OperatingTimeLimitError):
            wait_of(limiter, calls.batch({"c0": LIST}))
        assert wait_of(limiter, END) == 0

    @pytest.mark.parametrize("outcome", [ReplyLostError("x"), RateLimitError("x"), Reply(True, time=used(1, 1e6 + 9))])
    def test_what_has_come_back_is_under_way_no_more(self, now: Clock, outcome: Any) -> None:
        limiter = PortalRateLimiter(Limits(operating_limit=10), clock=now)
        answer(limiter, END, Reply(True, time=used(1, now() + 9)))
        for _ in range(30):
            wait_of(limiter, END)
            limiter.release(END, outcome)

    def test_what_is_under_way_counts_before_it_comes_back(self, now: Clock) -> None:
        limiter = PortalRateLimiter(Limits(operating_limit=10), clock=now)
        answer(limiter, END, Reply(True, time=used(6, now() + 600, each=1.5)))
        for _ in range(2):
            wait_of(limiter, END)
        with pytest.raises(OperatingTimeLimitError):
            wait_of(limiter, END)


class Counting(MemoryRecordStore):
    """Counts the changes, and fails for as long as it is told to."""

    changes = 0
    fails = False

    def change(self, name: str, step: Any, *, keep_for: float | None = None) -> Any:
        if self.fails:
            raise OSError(111, "Connection refused")
        self.changes += 1
        return super().change(name, step, keep_for=keep_for)


class TestSharedByWorkers:
    """Two workers on hosts whose clocks are half a minute apart share a store, which has a clock of its own."""

    @pytest.fixture
    def store(self, now: Clock) -> Counting:
        return Counting(now)

    @pytest.fixture
    def one(self, store: Counting, now: Clock) -> PortalRateLimiter:
        return PortalRateLimiter(store=store, clock=lambda: now() + 30)

    @pytest.fixture
    def other(self, store: Counting, now: Clock) -> PortalRateLimiter:
        return PortalRateLimiter(store=store, clock=lambda: now() - 30)

    def test_they_draw_from_one_bucket(self, one: PortalRateLimiter, other: PortalRateLimiter) -> None:
        waits = [wait_of(worker, LIST) for _ in range(30) for worker in (one, other)]
        assert waits[:48] == [0.0] * 48
        assert [round(later - sooner, 6) for sooner, later in pairwise(waits[49:])] == [0.5] * 10

    def test_for_how_long_the_portal_wants_quiet_is_heeded_by_all(
        self, one: PortalRateLimiter, other: PortalRateLimiter, now: Clock
    ) -> None:
        answer(one, LIST, RateLimitError("x", retry_after=90.0))
        assert 90 <= waited(other, now) <= 91

    def test_the_running_time_that_one_used_is_not_there_for_the_other(
        self, one: PortalRateLimiter, other: PortalRateLimiter, now: Clock
    ) -> None:
        answer(one, END, Reply(True, time=used(480, now() + 120)))
        with pytest.raises(OperatingTimeLimitError) as held:
            wait_of(other, END)
        assert held.value.retry_after == pytest.approx(121)
        assert wait_of(other, LIST) == 0

    def test_what_one_has_under_way_counts_for_the_other_until_it_may_be_dead(
        self, store: Counting, now: Clock
    ) -> None:
        one, other = (PortalRateLimiter(Limits(operating_limit=10), store, clock=now) for _ in range(2))
        answer(one, END, Reply(True, time=used(6, now() + 600, each=1.5)))
        for _ in range(2):
            wait_of(one, END)
        with pytest.raises(OperatingTimeLimitError):
            wait_of(other, END)
        now.now += 300
        assert wait_of(other, END) == 0

    def test_a_block_that_one_meets_stops_those_who_wait_for_their_turn(
        self, one: PortalRateLimiter, other: PortalRateLimiter, now: Clock
    ) -> None:
        for _ in range(60):
            wait_of(one, LIST)
        waits = other.acquire(ENDS)
        now.now += next(waits)
        blocked = OperatingTimeLimitError(str(END), code="OPERATION_TIME_LIMIT", retry_after=200.0)
        one.release(END, blocked)
        with pytest.raises(OperatingTimeLimitError) as held:
            next(waits)
        assert held.value.retry_after == pytest.approx(200)
        other.release(ENDS, held.value)
        assert wait_of(other, calls.batch({"c0": LIST})) > 0, "no method is blocked that the portal did not block"

    def test_other_credentials_have_running_time_of_their_own(self, store: Counting, now: Clock) -> None:
        one, other = (PortalRateLimiter(store=store, credential=name, clock=now) for name in ("one", "other"))
        answer(one, END, OperatingTimeLimitError(str(END), code="OPERATION_TIME_LIMIT", retry_after=200.0))
        with pytest.raises(OperatingTimeLimitError):
            wait_of(one, END)
        assert wait_of(other, END) == 0

    def test_the_record_does_not_grow_with_every_credential_that_ever_was(self, store: Counting, now: Clock) -> None:
        for nth in range(100):
            worker = PortalRateLimiter(store=store, credential=str(nth), clock=now)
            answer(worker, END, Reply(True, time=used(300, now() + 60)))
            now.now += 61
        assert len(store.change("portal", lambda content, now: (content, None))) < 2000

    def test_a_request_costs_one_change_and_its_answer_none(self, one: PortalRateLimiter, store: Counting) -> None:
        for _ in range(20):
            answer(one, ENDS, Reply({"c0": Reply(True, time=used(9, 1e6)), "c1": Reply(True, time=used(9, 1e6))}))
        assert store.changes == 20

    def test_when_the_store_is_away_what_is_blocked_stays_so(
        self, one: PortalRateLimiter, other: PortalRateLimiter, store: Counting, now: Clock
    ) -> None:
        wait_of(other, LIST)
        answer(one, END, OperatingTimeLimitError(str(END), code="OPERATION_TIME_LIMIT", retry_after=200.0))
        wait_of(other, LIST)
        store.fails = True
        for worker in (one, other):
            with pytest.raises(OperatingTimeLimitError) as held:
                wait_of(worker, END)
            assert held.value.retry_after == pytest.approx(200)

    def test_when_the_store_is_away_the_processes_of_a_host_share_all_the_same(
        self, store: Counting, now: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def files(clock: Any) -> FileRecordStore:
            return FileRecordStore(tmp_path / "host", clock)

        workers = [PortalRateLimiter(store=store, away=files, clock=now) for _ in range(2)]
        store.fails = True
        waits = [wait_of(worker, LIST) for _ in range(4) for worker in workers]
        assert [later - sooner for sooner, later in pairwise(waits)] == pytest.approx([1.0] * 7, rel=0.05)
        assert caplog.text.count("kept by this host alone, at half the rate") == 2
        (tmp_path / "host").chmod(0o777)
        assert wait_of(workers[0], LIST) > 0, "and if that fails too, each goes on by itself"
        (tmp_path / "host").chmod(0o700)
        now.now += 600
        assert wait_of(workers[1], LIST) > 0, "what was kept ten minutes ago tells nothing of other hosts"

    def test_a_store_that_goes_away_again_soon_leaves_no_burst_behind(
        self, one: PortalRateLimiter, store: Counting, now: Clock
    ) -> None:
        for away in (True, False):
            store.fails = away
            wait_of(one, LIST)
        now.now += 45
        for _ in range(80):
            wait_of(one, LIST)
        store.fails = True
        assert wait_of(one, LIST) > 0, "the portal's bucket is full"

    def test_a_place_among_those_of_one_host_is_none_among_all(
        self, one: PortalRateLimiter, other: PortalRateLimiter, store: Counting, now: Clock
    ) -> None:
        for _ in range(80):
            wait_of(other, LIST)
        wait_of(one, LIST)
        store.fails = True
        waits = one.acquire(calls.list_scopes())
        now.now += next(waits)
        store.fails = False
        assert next(waits) == RECHECK, "the others have waited for longer"

    def test_when_the_store_is_back_nobody_takes_the_portals_bucket_for_empty(
        self, one: PortalRateLimiter, store: Counting, now: Clock
    ) -> None:
        wait_of(one, LIST)
        store.fails = True
        now.now += waited(one, now) + 600
        wait_of(one, LIST)
        store.fails = False
        assert wait_of(one, LIST) > 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    return install(VirtualTime(), monkeypatch)


@pytest.fixture
def control(clock: VirtualTime) -> Iterator[Control]:
    with Simulator(clock=INSTALLED) as simulator:
        yield simulator.control


@pytest.fixture
def client(control: Control) -> Iterator[Bitrix24Client]:
    """Return a client of the simulated portal."""
    portal = Portal.from_webhook_url(f"{control.url}/rest/1/{control.settings()['webhook_code']}/")
    with Bitrix24Client(portal, in_flight=1, clock=Bitrix24Hook.clock) as client:
        yield client


def refusals(control: Control) -> int:
    """Count the requests and commands that the portal blocked."""
    return sum(request["http_status"] == 429 for request in control.requests())


class TestOverHttp:
    def test_ending_pauses_while_reading_goes_on(self, control: Control, client: Bitrix24Client, clock: Any) -> None:
        control.configure(operating_model="documented", operating_per_command=10.0)
        ids = control.add_workflows([{"TEMPLATE_ID": 7}] * 120)
        report = client.run(end_workflows(ids[:100], calls.terminate_workflow))
        assert sorted(report.ended) == sorted(ids[:100])
        assert client.stats.paused >= 300
        # 1,000 s of 480 are used: there is no time for the next ones, but all of it for reading.
        paused, naps = client.stats.paused, len(clock.naps)
        assert len(client.run(list_workflows(WorkflowFilter.parse({"TEMPLATE_ID": 7})))) == 20
        assert (client.stats.paused, len(clock.naps)) == (paused, naps)

    @pytest.mark.parametrize("model", ["documented", "ban"])
    def test_all_is_done_at_last_within_few_blocks(
        self, control: Control, client: Bitrix24Client, clock: VirtualTime, model: str
    ) -> None:
        control.configure(operating_model=model, operating_per_command=4.0)
        ids = control.add_workflows([{}] * 600)
        began = clock.time()
        report = client.run(end_workflows(ids, calls.terminate_workflow))
        assert sorted(report.ended) == sorted(ids)
        assert len(control.journal("terminate")) == 600
        # 2,400 s of running time at 480 s in ten minutes; the ban model charges half of it, and bans for five.
        allowed = {"documented": 5 * 600.0, "ban": 3 * 300.0}[model]
        assert clock.time() - began <= allowed + 60
        assert refusals(control) <= 3

    def test_a_long_pause_is_a_warning_with_its_end(
        self, control: Control, client: Bitrix24Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        control.inject("operating_limit", method="bizproc.workflow.terminate")
        control.inject("refused", method="batch", skip=0)
        ids = control.add_workflows([{}] * 10)
        client.run(end_workflows(ids, calls.terminate_workflow))
        levels = {record.levelname: record.message for record in caplog.records if "Pausing" in record.message}
        assert re.match(r"Pausing for \d\.\d s, going on at \d\d:\d\d:\d\d UTC: batch: HTTP 503", levels["INFO"])
        assert re.match(r"Pausing for 300\.0 s, going on at \d\d:\d\d:\d\d UTC: bizproc\.", levels["WARNING"])


def test_every_call_has_its_own_running_time() -> None:
    limiter = PortalRateLimiter(clock=Clock())
    kill: Call = calls.kill_workflow("1.2")
    answer(limiter, kill, Reply(True, time=used(480, 1_000_060.0)))
    assert wait_of(limiter, END) == 0
    with pytest.raises(OperatingTimeLimitError):
        wait_of(limiter, kill)
