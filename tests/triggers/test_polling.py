"""What all polling triggers have in common, with a poll that the test makes up."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest

from airflow_provider_workflows.hooks.connections import ConnectionUnreadableError
from airflow_provider_workflows.rest.errors import (
    AccessDeniedError,
    ApiError,
    ArgumentError,
    AuthenticationError,
    RateLimitError,
    ServerError,
)
from airflow_provider_workflows.rest.plans import Pause, PauseDueError
from airflow_provider_workflows.triggers import polling
from airflow_provider_workflows.triggers.polling import (
    PollTrigger,
    WaitFailedError,
    seconds_until_next_poll,
    validate_event,
)
from tests.triggers.clock import START, Clock


class Scripted(PollTrigger):
    """Sees one thing after the other: an event's fields, ``None``, or an error; then ``None`` for ever."""

    script: Sequence[Any] = ()
    polls = 0
    open = 0
    opened = 0
    #: How often the connection cannot be read.
    unreadable = 0

    def _hook(self) -> Any:
        return self

    def named(self, host: str) -> str:
        return f"Connection 'scripted' ({host})"

    @asynccontextmanager
    async def shared_client(self) -> AsyncIterator[None]:
        if self.unreadable:
            self.unreadable -= 1
            raise ConnectionUnreadableError("scripted", "the secrets backend is away")
        self.open += 1
        self.opened += 1
        try:
            yield
        finally:
            self.open -= 1

    async def _poll(self, client: None) -> Mapping[str, Any] | None:
        assert self.open == 1
        self.polls += 1
        seen, *self.script = self.script or [None]
        if isinstance(seen, ApiError):
            seen.where = "acme.example"
        if isinstance(seen, Exception):
            raise seen
        return seen  # type: ignore[no-any-return]


def due(seconds: float = 5.0) -> PauseDueError:
    return PauseDueError(Pause(seconds, reason="the portal is busy"))


def scripted(*script: Any, poll_interval: float = 60.0, deadline: float | None = None, **how: Any) -> Scripted:
    trigger = Scripted(poll_interval=poll_interval, deadline=deadline, **how)
    trigger.script = list(script)
    return trigger


def fire(trigger: Scripted) -> Any:
    async def work() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(asyncio.wait_for(work(), 300))
    assert trigger.open == 0
    return json.loads(json.dumps(payload))


class TestLooking:
    def test_it_waits_until_it_sees_something(self, clock: Clock) -> None:
        trigger = scripted(None, None, {"seen": 1})
        assert fire(trigger) == {"status": "success", "seen": 1}
        assert trigger.polls == len(clock.naps) == 3

    def test_from_the_first_on_the_garbage_collector_leaves_alone_what_is_loaded(self, clock: Clock) -> None:
        polling._spare_what_is_loaded.cache_clear()
        gc.unfreeze()
        fire(scripted({}))
        assert (loaded := gc.get_freeze_count()) > 10_000
        fire(scripted({}))
        assert gc.get_freeze_count() <= loaded, "once for all"

    def test_seeing_nothing_in_particular_is_success_too(self, clock: Clock) -> None:
        assert fire(scripted({})) == {"status": "success"}

    def test_it_polls_once_in_each_interval(self, clock: Clock) -> None:
        fire(scripted(*[None] * 9, {}))
        assert 9 * 60 <= clock.now - START <= 10 * 60 + 0.5

    def test_all_poll_at_the_same_moments_whenever_they_began(self) -> None:
        polls = {began + seconds_until_next_poll(60.0, began) for began in (START - 39, START + 1, START + 17.3)}
        assert max(polls) - min(polls) <= 0.5

    @pytest.mark.parametrize("interval", [0.05, 1, 60, 3600])
    def test_the_next_poll_is_never_more_than_a_little_over_an_interval_away(self, interval: float) -> None:
        for began in range(200):
            assert 0 < seconds_until_next_poll(interval, START + began * 0.37) <= interval + min(0.5, interval / 10)

    @pytest.mark.parametrize("interval", [0, -1, "60", True, float("nan")])
    def test_an_interval_of_nothing_is_refused_and_so_is_what_is_no_number(self, interval: Any) -> None:
        with pytest.raises(ArgumentError, match=r"poll_interval must be (more than 0|a number of seconds)"):
            scripted(poll_interval=interval)

    def test_what_it_polled_with_is_given_back_before_the_event(self, clock: Clock) -> None:
        async def work() -> int:
            trigger = scripted({})
            stream = trigger.run()
            await anext(stream)
            return trigger.open

        assert asyncio.run(work()) == 0


class TestHandOver:
    """Airflow fails a task that goes on before its scheduler has heard that the worker let it go."""

    @pytest.mark.parametrize("script", [[{"seen": 1}], [None, None, {"seen": 1}], [AccessDeniedError("poll")]])
    def test_nothing_is_reported_in_the_first_ten_seconds(self, clock: Clock, script: list[Any]) -> None:
        fire(scripted(*script, poll_interval=1))
        assert clock.now == START + 10

    def test_later_it_is_reported_at_once(self, clock: Clock) -> None:
        trigger = scripted(*[None] * 10, {"seen": 1}, poll_interval=1)
        fire(trigger)
        assert trigger.polls == len(clock.naps) == 11


class TestDeadline:
    def test_after_it_the_trigger_gives_up(self, clock: Clock) -> None:
        trigger = scripted(deadline=START + 200)
        assert fire(trigger) == {"status": "timeout"}
        assert clock.now == pytest.approx(START + 200)

    def test_it_polls_no_more_at_the_deadline(self, clock: Clock) -> None:
        trigger = scripted({}, deadline=START + 5, poll_interval=10000)
        assert fire(trigger) == {"status": "timeout"}
        assert trigger.polls == 0

    def test_one_that_has_passed_long_ago_is_noticed_without_a_poll(self, clock: Clock) -> None:
        trigger = scripted({}, deadline=START - 1000)
        assert fire(trigger) == {"status": "timeout"}
        assert (trigger.polls, clock.naps) == (0, [10.0])

    def test_a_long_pause_does_not_reach_beyond_it(self, clock: Clock) -> None:
        trigger = scripted(due(3000), deadline=START + 100)
        assert fire(trigger) == {"status": "timeout"}
        assert clock.now == pytest.approx(START + 100)


class TestFailedPolls:
    @pytest.mark.parametrize("poll_interval", [5.0, 60.0, 1800.0])
    @pytest.mark.parametrize("failure", [due(0), RateLimitError("poll"), ServerError("poll")])
    def test_they_are_borne_for_most_of_an_hour(self, clock: Clock, poll_interval: float, failure: Exception) -> None:
        many = int(3600 / poll_interval)
        clock.most_naps = many + 3
        assert fire(scripted(*[failure] * many, {"seen": 1}, poll_interval=poll_interval))["seen"] == 1

    @pytest.mark.parametrize("poll_interval", [5.0, 60.0])
    def test_an_hour_of_them_is_an_error_that_says_why(self, clock: Clock, poll_interval: float) -> None:
        clock.most_naps = 1000
        event = fire(scripted(*[due()] * 1000, {"seen": 1}, poll_interval=poll_interval))
        assert event["status"] == "error"
        assert "the last one: the portal is busy" in event["message"]
        assert 3600 <= clock.now - START <= 3600 + 2 * poll_interval + 5

    def test_how_long_may_be_set(self, clock: Clock) -> None:
        trigger = scripted(*[due()] * 100, tolerance=120.0)
        assert fire(trigger)["status"] == "error"
        assert clock.now - START <= 300

    def test_one_that_succeeds_starts_the_hour_anew(self, clock: Clock) -> None:
        many = [due() for _ in range(50)]
        assert fire(scripted(*many, None, *many, None, {}))["status"] == "success"

    def test_each_is_logged(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        fire(scripted(due(), due(), {}))
        assert caplog.text.count("A poll failed, and polling goes on: the portal is busy") == 2

    @pytest.mark.parametrize("wanted", [1e9, 1e300])
    def test_no_server_can_put_the_next_poll_off_for_ever(self, clock: Clock, wanted: float) -> None:
        trigger = scripted(due(wanted), due(wanted), {"seen": 1})
        assert fire(trigger)["status"] == "error"
        assert clock.now - START <= 3800

    def test_the_next_poll_waits_for_as_long_as_was_asked(self, clock: Clock) -> None:
        fire(scripted(due(600), {}))
        assert clock.naps[1] > 600

    @pytest.mark.parametrize(
        "error", [AccessDeniedError("poll", text="not for you"), ApiError("poll"), ArgumentError("field: wrong")]
    )
    def test_one_that_waiting_cannot_mend_is_an_error_at_once(self, clock: Clock, error: Exception) -> None:
        trigger = scripted(error)
        assert fire(trigger) == {"status": "error", "message": str(error), "retry_helps": False}
        assert trigger.polls == 1

    def test_what_was_refused_before_anything_was_sent_names_no_host(self, clock: Clock) -> None:
        assert fire(scripted(ArgumentError("field: wrong")))["message"] == str(ArgumentError("field: wrong"))

    def test_a_mistake_in_the_program_is_not_hidden(self, clock: Clock) -> None:
        with pytest.raises(KeyError):
            fire(scripted(KeyError("oops")))


class TestRefusedCredential:
    """It may have been rotated: the account changes first, and the connection after it."""

    def test_the_connection_is_read_again_before_the_next_poll(self, clock: Clock) -> None:
        trigger = scripted(AuthenticationError("poll"), None, {"seen": 1})
        assert fire(trigger)["seen"] == 1
        assert trigger.opened == 2

    @pytest.mark.parametrize("poll_interval", [1.0, 60.0, 3600.0])
    def test_one_that_goes_on_being_refused_is_an_error_after_minutes(self, clock: Clock, poll_interval: float) -> None:
        trigger = scripted(*[AuthenticationError("poll", text="unknown")] * 50, poll_interval=poll_interval)
        event = fire(trigger)
        assert event["status"] == "error"
        assert event["message"].splitlines()[1].startswith("Connection 'scripted' (acme.example), poll: unknown.")
        assert trigger.opened == trigger.polls >= 2
        # Sparing: who guesses credentials is blocked somewhere.
        assert trigger.polls <= 7

    def test_one_that_is_accepted_again_starts_the_time_anew(self, clock: Clock) -> None:
        refused = [AuthenticationError("poll")] * 2
        assert fire(scripted(*refused, None, *refused, None, {}))["status"] == "success"

    def test_so_it_is_with_a_connection_that_cannot_be_read(self, clock: Clock) -> None:
        for_a_while, for_long = scripted({"seen": 1}), scripted()
        for_a_while.unreadable, for_long.unreadable = 4, 50
        assert fire(for_a_while)["seen"] == 1
        event = fire(for_long)
        assert (event["status"], event["retry_helps"], for_long.polls) == ("error", True, 0)
        assert "Connection 'scripted' cannot be read: the secrets backend is away" in event["message"]

    def test_the_deadline_holds_meanwhile(self, clock: Clock) -> None:
        assert fire(scripted(*[AuthenticationError("poll")] * 50, deadline=START + 100)) == {"status": "timeout"}
        assert clock.now == pytest.approx(START + 100)


class TestHangingPoll:
    def test_it_is_given_up_at_the_deadline(self) -> None:
        trigger = scripted(poll_interval=0.01, deadline=time.time() + 0.3)

        async def hang(client: None) -> None:
            await asyncio.Event().wait()

        trigger._poll = hang  # type: ignore[method-assign]
        with patch.object(polling, "MIN_DEFERRED_SECONDS", 0.0):
            assert fire(trigger) == {"status": "timeout"}

    def test_a_time_out_of_a_poll_itself_is_not_the_deadline(self, clock: Clock) -> None:
        with pytest.raises(TimeoutError):
            fire(scripted(TimeoutError(), deadline=START + 1000))


class TestCancelled:
    def test_it_ends_at_once_with_the_message_it_was_cancelled_with(self) -> None:
        async def work() -> int:
            trigger = scripted(poll_interval=3600)
            running: asyncio.Future[Any] = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.sleep(0.01)
            running.cancel("the user did it")
            with pytest.raises(asyncio.CancelledError, match="the user did it"):
                await asyncio.wait_for(running, 300)
            return trigger.open

        assert asyncio.run(work()) == 0


class TestEvents:
    @pytest.mark.parametrize("status", ["success", "timeout"])
    def test_ours_are_read(self, status: str) -> None:
        assert validate_event({"status": status}) == status

    def test_an_error_is_raised_with_its_message(self) -> None:
        with pytest.raises(WaitFailedError, match="not for you"):
            validate_event({"status": "error", "message": "not for you"})

    @pytest.mark.parametrize("retry_helps", [True, False])
    def test_an_error_tells_whether_waiting_again_can_help(self, retry_helps: bool) -> None:
        with pytest.raises(WaitFailedError) as failed:
            validate_event({"status": "error", "message": "no", "retry_helps": retry_helps})
        assert failed.value.retry_helps is retry_helps

    def test_a_strange_one_is_not_shown_whole(self) -> None:
        with pytest.raises(WaitFailedError) as failed:
            validate_event({"status": "x" * 10000})
        assert len(str(failed.value)) < 400

    @pytest.mark.parametrize("event", [None, {}, [], "success", {"status": "done"}, {"status": None}, 3])
    def test_any_other_is_never_taken_for_success(self, event: Any) -> None:
        with pytest.raises(WaitFailedError, match="not from this provider"):
            validate_event(event)


class TestSerialising:
    def test_the_path_is_that_of_the_class_itself(self) -> None:
        path, arguments = scripted(deadline=5.0).serialize()
        assert path.endswith("test_polling.Scripted")
        assert arguments == {"poll_interval": 60.0, "deadline": 5.0, "tolerance": 3600.0}

    def test_all_arguments_are_kept(self) -> None:
        assert scripted().serialize()[1] == {"poll_interval": 60.0, "deadline": None, "tolerance": 3600.0}
