"""RequestCoalescer: many waiters, few requests, and each waiter gets the answer to its own question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.aio import READS as IN_FLIGHT
from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.calls import BATCH, Call, Reply
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.bitrix24.errors import NotAdministratorError, OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    InvalidCallError,
    NotConnectedError,
    RateLimitError,
    RedirectedError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import Plan, send
from airflow_provider_workflows.simulator import Control, Simulator


def question(number: int) -> Call:
    return calls.list_workflows(select=["ID"], filters={"ID": f"id.{number}"})


def number_of(call: Call) -> int:
    return int(call.params["FILTER"]["ID"].removeprefix("id."))


def answer(number: int) -> Reply:
    return Reply([{"ID": f"id.{number}"}], total=number)


def commands_of(call: Call) -> list[Call]:
    return list(call.commands.values()) if call.method == "batch" else [call]


class FakePortal:
    """Answers each question by its number, unless told otherwise."""

    def __init__(self) -> None:
        #: The numbers asked in each request.
        self.requests: list[list[int]] = []
        #: Gives the error that a whole request ends in.
        self.whole: Callable[[list[int]], ApiError | None] = lambda numbers: None
        #: Gives the error that a single command ends in.
        self.one: Callable[[int], ApiError | None] = lambda number: None
        #: What a request waits for.
        self.busy: Callable[[], Coroutine[Any, Any, None]] | None = None
        #: Seconds that it says a request took.
        self.duration: float | None = None
        self.under_way = self.most_under_way = 0

    async def attempt(self, call: Call) -> Reply | ApiError:
        numbers = [number_of(command) for command in commands_of(call)]
        self.requests.append(numbers)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.busy:
                await self.busy()
        finally:
            self.under_way -= 1
        if (error := self.whole(numbers)) is not None:
            return error
        outcomes = [self.one(number) or answer(number) for number in numbers]
        if call.method != "batch":
            return outcomes[0]
        time = {} if self.duration is None else {"duration": self.duration}
        return Reply(dict(zip(call.commands, outcomes, strict=True)), time=time)


@pytest.fixture
def portal() -> FakePortal:
    return FakePortal()


def ask_all(portal: FakePortal, numbers: Sequence[int]) -> list[Any]:
    """Ask everything at once, each question by an waiter of its own."""

    async def work() -> list[Any]:
        reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
        return await asyncio.wait_for(asyncio.gather(*(reads.load(question(number)) for number in numbers)), 300)

    return asyncio.run(work())


def kinds(outcomes: Sequence[Any]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


class TestTogether:
    @pytest.mark.parametrize(
        ("waiters", "sizes"), [(1, [1]), (2, [2]), (50, [50]), (51, [26, 25]), (120, [40, 40, 40]), (500, [50] * 10)]
    )
    def test_up_to_fifty_go_in_one_request(self, portal: FakePortal, waiters: int, sizes: list[int]) -> None:
        assert ask_all(portal, range(waiters)) == [answer(number) for number in range(waiters)]
        assert [len(numbers) for numbers in portal.requests] == sizes

    def test_equal_questions_are_wanted_once(self, portal: FakePortal) -> None:
        numbers = [1, 2, 1, 1, 2, 3]
        assert ask_all(portal, numbers) == [answer(number) for number in numbers]
        assert portal.requests == [[1, 2, 3]]

    def test_questions_that_differ_in_anything_are_not_taken_for_equal(self) -> None:
        different = [
            calls.list_workflows(select=["ID"]),
            calls.list_workflows(select=["ID"], start=50),
            calls.list_workflows(select=["ID", "STARTED"]),
            calls.list_workflows(select=["ID"], filters={"ID": "1"}),
            calls.list_workflows(select=["ID"], filters={"!ID": "1"}),
            calls.find_users({"ID": "1"}),
        ]
        seen: list[list[Call]] = []

        async def attempt(call: Call) -> Reply:
            seen.append(commands_of(call))
            return Reply({key: Reply(str(command.params)) for key, command in call.commands.items()})

        async def work() -> list[Any]:
            reads = RequestCoalescer(attempt, IN_FLIGHT, delay=0.0)
            return await asyncio.gather(*(reads.load(call) for call in different))

        assert [reply.result for reply in asyncio.run(work())] == [str(call.params) for call in different]
        assert seen == [different]

    def test_who_asks_alone_is_not_wrapped_in_a_batch(self) -> None:
        seen: list[Call] = []

        async def attempt(call: Call) -> Reply:
            seen.append(call)
            return answer(7)

        async def work() -> Any:
            return await RequestCoalescer(attempt, IN_FLIGHT, delay=0.0).load(question(7))

        assert asyncio.run(work()) == answer(7)
        assert seen == [question(7)]

    def test_no_more_than_four_requests_are_under_way(self, portal: FakePortal) -> None:
        async def a_while() -> None:
            await asyncio.sleep(0.002)

        portal.busy = a_while
        ask_all(portal, range(1000))
        assert (len(portal.requests), portal.most_under_way) == (20, 4)

    def test_who_asks_while_requests_are_under_way_is_answered_too(self, portal: FakePortal) -> None:
        async def work() -> list[Any]:
            go_on = asyncio.Event()
            portal.busy = lambda: hold(go_on)
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            first = asyncio.create_task(reads.load(question(1)))
            while not portal.requests:
                await asyncio.sleep(0)
            late = [asyncio.create_task(reads.load(question(number))) for number in (2, 3)]
            while len(portal.requests) < 2:
                await asyncio.sleep(0)
            go_on.set()
            return list(await asyncio.gather(first, *late))

        assert asyncio.run(work()) == [answer(1), answer(2), answer(3)]
        assert portal.requests == [[1], [2, 3]]

    def test_a_question_is_wanted_anew_for_who_comes_after_it_was_sent(self, portal: FakePortal) -> None:
        """The answer to an older question may be older than what the waiter has seen done."""

        async def work() -> None:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            for _ in range(3):
                assert await reads.load(question(1)) == answer(1)

        asyncio.run(work())
        assert portal.requests == [[1], [1], [1]]


async def hold(go_on: asyncio.Event) -> None:
    await go_on.wait()


class TestCancelled:
    def asked(self, portal: FakePortal, numbers: Sequence[int], cancelled: Sequence[int]) -> list[Any]:
        """Ask, and cancel the waiters at these places before anything is sent."""

        async def work() -> list[Any]:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            waiters = [asyncio.create_task(reads.load(question(number))) for number in numbers]
            await asyncio.sleep(0)
            for place in cancelled:
                waiters[place].cancel("killed")
            outcomes = await asyncio.gather(*waiters, return_exceptions=True)
            for _ in range(10):
                await asyncio.sleep(0)
            assert reads._queue == {}
            assert reads._tasks == set()
            return outcomes

        return asyncio.run(work())

    def test_a_caller_takes_its_call_along(self, portal: FakePortal) -> None:
        outcomes = self.asked(portal, [1, 2, 3], [1])
        assert kinds(outcomes) == [Reply, asyncio.CancelledError, Reply]
        assert portal.requests == [[1, 3]]

    def test_but_not_that_of_another_who_asks_the_same(self, portal: FakePortal) -> None:
        outcomes = self.asked(portal, [1, 1, 2], [0])
        assert kinds(outcomes) == [asyncio.CancelledError, Reply, Reply]
        assert portal.requests == [[1, 2]]

    def test_when_all_are_gone_nothing_is_sent(self, portal: FakePortal) -> None:
        assert kinds(self.asked(portal, [1, 1, 2], [0, 1, 2])) == [asyncio.CancelledError] * 3
        assert portal.requests == []

    def test_it_ends_with_the_message_it_was_cancelled_with(self, portal: FakePortal) -> None:
        async def work() -> None:
            waiter = asyncio.create_task(RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0).load(question(1)))
            await asyncio.sleep(0)
            waiter.cancel("killed")
            with pytest.raises(asyncio.CancelledError, match="killed"):
                await waiter

        asyncio.run(work())

    def test_who_goes_while_the_request_is_under_way_takes_nothing_from_the_others(self, portal: FakePortal) -> None:
        async def work() -> list[Any]:
            go_on = asyncio.Event()
            portal.busy = lambda: hold(go_on)
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            waiters = [asyncio.create_task(reads.load(question(number))) for number in (1, 2)]
            while not portal.requests:
                await asyncio.sleep(0)
            waiters[0].cancel()
            await asyncio.wait(waiters[:1])
            go_on.set()
            return await asyncio.gather(*waiters, return_exceptions=True)

        assert kinds(asyncio.run(work())) == [asyncio.CancelledError, Reply]
        assert portal.requests == [[1, 2]]

    def test_after_everybody_was_cancelled_the_next_is_answered(self, portal: FakePortal) -> None:
        async def work() -> Any:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            for _ in range(3):
                waiter = asyncio.create_task(reads.load(question(1)))
                await asyncio.sleep(0)
                waiter.cancel()
                await asyncio.wait([waiter])
            return await asyncio.wait_for(reads.load(question(2)), 300)

        assert asyncio.run(work()) == answer(2)

    def test_closing_ends_what_is_under_way(self, portal: FakePortal) -> None:
        async def work() -> None:
            portal.busy = lambda: hold(asyncio.Event())
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            waiter = asyncio.create_task(reads.load(question(1)))
            while not portal.requests:
                await asyncio.sleep(0)
            waiter.cancel()
            reads.close()
            for _ in range(5):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(work())
        assert portal.under_way == 0


class TestFailures:
    @pytest.mark.parametrize(
        "kind", [InvalidCallError, AccessDeniedError, OperatingTimeLimitError, UnreadableReplyError]
    )
    def test_a_command_that_fails_in_a_batch_fails_only_its_own_callers(
        self, portal: FakePortal, kind: type[ApiError]
    ) -> None:
        portal.one = lambda number: kind("bad") if number == 3 else None
        outcomes = ask_all(portal, [1, 2, 3, 3, 4])
        assert kinds(outcomes) == [Reply, Reply, kind, kind, Reply]
        assert portal.requests == [[1, 2, 3, 4]]

    def test_each_caller_has_an_error_of_its_own_to_raise(self, portal: FakePortal) -> None:
        portal.one = lambda number: ServerError("bad", code="x", http_status=500, text="text", retry_after=3)
        first, second = ask_all(portal, [1, 1])
        assert first is not second
        assert str(first) == str(second)
        assert vars(first) == vars(second)

    @pytest.mark.parametrize("kind", [ServerError, UnreadableReplyError, AccessDeniedError, InvalidCallError])
    @pytest.mark.parametrize("bad", [0, 17, 49])
    def test_a_batch_that_fails_because_of_one_is_halved_until_that_one_is_alone(
        self, portal: FakePortal, kind: type[ApiError], bad: int
    ) -> None:
        portal.whole = lambda numbers: kind("batch") if bad in numbers else None
        outcomes = ask_all(portal, range(50))
        assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, ApiError)] == [bad]
        assert type(outcomes[bad]) is kind
        assert [outcome for place, outcome in enumerate(outcomes) if place != bad] == [
            answer(number) for number in range(50) if number != bad
        ]
        assert len(portal.requests) <= 13
        assert portal.requests.count([bad]) == 1

    @pytest.mark.parametrize(
        "kind", [RateLimitError, NotConnectedError, ReplyLostError, AuthenticationError, RedirectedError]
    )
    def test_what_would_strike_any_request_goes_to_everybody_without_another_request(
        self, portal: FakePortal, kind: type[ApiError]
    ) -> None:
        portal.whole = lambda numbers: kind("batch", retry_after=9)
        outcomes = ask_all(portal, range(40))
        assert kinds(outcomes) == [kind] * 40
        assert {outcome.retry_after for outcome in outcomes} == {9}
        assert len(portal.requests) == 1

    @pytest.mark.parametrize("kind", [ServerError, AccessDeniedError, RateLimitError])
    def test_a_single_question_that_fails_is_not_wanted_again(self, portal: FakePortal, kind: type[ApiError]) -> None:
        portal.whole = lambda numbers: kind("it")
        assert kinds(ask_all(portal, [1])) == [kind]
        assert portal.requests == [[1]]

    def test_a_failure_is_over_with_the_next_question(self, portal: FakePortal) -> None:
        failures = [RateLimitError("batch")]
        portal.whole = lambda numbers: failures.pop() if failures else None

        async def work() -> list[Any]:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            return [await reads.load(question(1)), await reads.load(question(1))]

        assert kinds(asyncio.run(work())) == [RateLimitError, Reply]

    def test_an_error_that_nobody_foresaw_reaches_the_callers(self) -> None:
        async def attempt(call: Call) -> Reply:
            raise OSError("no space left on device")

        async def work() -> None:
            reads = RequestCoalescer(attempt, IN_FLIGHT, delay=0.0)
            with pytest.raises(OSError, match="no space"):
                await asyncio.wait_for(reads.load(question(1)), 300)

        asyncio.run(work())

    def test_closing_leaves_no_caller_waiting(self, portal: FakePortal) -> None:
        async def work() -> None:
            portal.busy = lambda: hold(asyncio.Event())
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            waiter = asyncio.create_task(reads.load(question(1)))
            while not portal.requests:
                await asyncio.sleep(0)
            reads.close()
            done, _ = await asyncio.wait([waiter], timeout=300)
            assert done

        asyncio.run(work())

    def test_closing_just_before_a_request_leaves_nobody_waiting_either(self, portal: FakePortal) -> None:
        async def work() -> None:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            waiter = asyncio.create_task(reads.load(question(1)))
            while not reads._queue:
                await asyncio.sleep(0)
            while reads._queue:
                await asyncio.sleep(0)
            assert portal.requests == []
            reads.close()
            done, _ = await asyncio.wait([waiter], timeout=300)
            assert done

        asyncio.run(work())


class TestBatchSize:
    def sizes(self, portal: FakePortal, rounds: Sequence[int]) -> list[int]:
        async def work() -> None:
            reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
            for waiters in rounds:
                await asyncio.gather(*(reads.load(question(number)) for number in range(waiters)))

        asyncio.run(work())
        return [len(numbers) for numbers in portal.requests]

    @pytest.mark.parametrize("kind", [ReplyLostError])
    def test_after_a_cut_the_next_carry_half(self, portal: FakePortal, kind: type[ApiError]) -> None:
        failures = [kind("batch")]
        portal.whole = lambda numbers: failures.pop() if failures else None
        assert self.sizes(portal, [50, 50])[:2] == [50, 25]

    def test_after_a_refusal_they_carry_as_many(self, portal: FakePortal) -> None:
        failures = [RateLimitError("batch")]
        portal.whole = lambda numbers: failures.pop() if failures else None
        assert self.sizes(portal, [50, 50]) == [50, 50]

    def test_they_grow_again_with_every_answer(self, portal: FakePortal) -> None:
        failures: list[ApiError] = [ReplyLostError("batch"), ReplyLostError("batch")]
        portal.whole = lambda numbers: failures.pop() if failures else None
        sizes = self.sizes(portal, [50, 25, 12, 24, 48, 50])
        assert sizes[:3] == [50, 25, 12]
        assert sizes[-1] == 50

    def test_a_slow_portal_is_given_few_at_once(self, portal: FakePortal) -> None:
        portal.duration = 60.0
        assert self.sizes(portal, [50, 50])[:2] == [50, 25]


#: What becomes of a question: an answer, an error of its own, or of every request that holds it.
FATES = st.sampled_from(["fine", "fine", "fine", "bad command", "server", "unreadable", "denied", "refused", "lost"])
OWN = {"bad command": InvalidCallError("own")}
WHOLE: dict[str, type[ApiError]] = {
    "server": ServerError,
    "unreadable": UnreadableReplyError,
    "denied": NotAdministratorError,
    "refused": RateLimitError,
    "lost": ReplyLostError,
}
PASSING = {"refused", "lost"}


@settings(max_examples=60)
@given(
    fates=st.lists(FATES, min_size=1, max_size=130),
    chance=st.randoms(use_true_random=True),
    repeats=st.integers(0, 40),
    cancelled=st.integers(0, 20),
)
def test_every_caller_gets_exactly_the_answer_to_its_own_call(
    fates: list[str], chance: Any, repeats: int, cancelled: int
) -> None:
    portal = FakePortal()

    def whole(numbers: list[int]) -> ApiError | None:
        worst = [fates[number] for number in numbers if fates[number] in WHOLE]
        first = next((fate for fate in worst if fate in PASSING), worst[0] if worst else None)
        return WHOLE[first](f"batch of {first}") if first else None

    def own(number: int) -> ApiError | None:
        return InvalidCallError(f"own {number}") if fates[number] == "bad command" else None

    async def busy() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    portal.whole, portal.one, portal.busy = whole, own, busy
    asked = [*range(len(fates)), *(chance.randrange(len(fates)) for _ in range(repeats))]
    chance.shuffle(asked)
    gone = set(chance.sample(range(len(asked)), min(cancelled, len(asked))))

    async def work() -> list[Any]:
        reads = RequestCoalescer(portal.attempt, IN_FLIGHT, delay=0.0)
        waiters: list[asyncio.Task[Any]] = []
        for number in asked:
            waiters.append(asyncio.create_task(reads.load(question(number))))
            if not chance.randrange(10):
                await asyncio.sleep(0)
        for place in gone:
            waiters[place].cancel()
        await asyncio.wait(waiters, timeout=300)
        assert reads._queue == {}
        return await asyncio.gather(*waiters, return_exceptions=True)

    outcomes = asyncio.run(work())
    struck = {fate for fate in fates if fate in PASSING}
    for place, (number, outcome) in enumerate(zip(asked, outcomes, strict=True)):
        fate = fates[number]
        if isinstance(outcome, asyncio.CancelledError):
            assert place in gone
        elif isinstance(outcome, Reply):
            assert (fate, outcome) == ("fine", answer(number))
        elif fate == "bad command" and type(outcome) is InvalidCallError:
            assert str(outcome).startswith(f"own {number}:")
        elif fate in WHOLE and type(outcome) is WHOLE[fate]:
            assert outcome.call == f"batch of {fate}"
        else:
            # In the same batch there was one that every question in it has to suffer from.
            assert type(outcome) in {WHOLE[one] for one in struck}
    assert all(len(numbers) <= BATCH for numbers in portal.requests)
    assert all(len(set(numbers)) == len(numbers) for numbers in portal.requests)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def control(simulator: Simulator) -> Control:
    simulator.control.reset()
    return simulator.control


class NoSleep(Clock):
    async def asleep(self, seconds: float) -> None:
        assert seconds == AsyncBitrix24Client.batch_delay, "nothing here is to wait but for others to go with"
        await asyncio.sleep(0.1)


class TestClient:
    """The same through a client of a simulated portal."""

    def run(self, simulator: Simulator, *plans: Plan[Any]) -> list[Any]:
        host, port = simulator.host.split(":")
        code = simulator.control.settings()["webhook_code"]

        async def work() -> list[Any]:
            client = AsyncBitrix24Client(
                Portal.with_webhook(host, 1, code, "http", int(port)), limiter=PortalRateLimiter(), clock=NoSleep()
            )
            try:
                return await asyncio.gather(*(client.run(plan) for plan in plans), return_exceptions=True)
            finally:
                await client.close()

        return asyncio.run(work())

    def test_the_single_reads_of_many_plans_go_together(self, simulator: Simulator, control: Control) -> None:
        ids = control.add_workflows([{} for _ in range(120)])
        plans = [send(calls.list_workflows(select=["ID"], filters={"ID": id})) for id in ids]
        replies = self.run(simulator, *plans)
        assert [[row["ID"] for row in reply.result] for reply in replies] == [[id] for id in ids]
        assert [request["method"] for request in control.requests()] == ["batch"] * 3

    def test_what_changes_something_is_sent_by_itself_and_at_once(self, simulator: Simulator, control: Control) -> None:
        ids = control.add_workflows([{} for _ in range(3)])
        self.run(simulator, *(send(calls.terminate_workflow(id)) for id in ids))
        assert [request["method"] for request in control.requests()] == ["bizproc.workflow.terminate"] * 3
        assert sorted(effect["id"] for effect in control.journal("terminate")) == sorted(ids)

    def test_a_batch_of_reads_goes_as_it_is(self, simulator: Simulator, control: Control) -> None:
        batch = calls.batch({"a": calls.list_workflows(), "b": calls.find_users({})})
        self.run(simulator, send(batch), send(calls.list_workflows()))
        assert sorted(request["method"] for request in control.requests()) == ["batch", "bizproc.workflow.instances"]

    def test_a_command_that_the_portal_denies_fails_only_its_own_plan(
        self, simulator: Simulator, control: Control
    ) -> None:
        control.inject("error", method="user.get", code="ACCESS_DENIED", times=None)
        plans = [send(calls.find_users({})), send(calls.list_workflows())]
        assert kinds(self.run(simulator, *plans)) == [NotAdministratorError, Reply]
        assert len(control.requests()) == 1
