"""The one loop that runs plans; its runtime says how requests are made, time passes and background work runs.

The loop is written as coroutines. In the worker they never suspend, and a thread runs them to their end
(:mod:`.sync`); in the triggerer the event loop does (:mod:`.aio`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.concurrency import Concurrency, Submitted
from airflow_provider_workflows.rest.errors import (
    ApiError,
    NotConnectedError,
    NotProcessedError,
    ReplyLostError,
    StoppedError,
)
from airflow_provider_workflows.rest.observer import UNOBSERVED
from airflow_provider_workflows.rest.plans import (
    Blocking,
    Collect,
    Collected,
    Count,
    MaxInFlight,
    Now,
    Pause,
    PauseDueError,
    Plan,
    Progress,
    RetryTimeout,
    Submit,
)
from airflow_provider_workflows.rest.progress import PauseLog, ProgressLog, Stats
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, RateLimiter, Request, Response, Wire

log = logging.getLogger(__name__)

#: Seconds for which a call that the server refuses is sent again, unless the task may run for longer.
RETRY_TIMEOUT = 3600.0

C = TypeVar("C")
T = TypeVar("T")


class Work(Protocol):
    """Background work: a future, or an asynchronous task."""

    def result(self) -> Any:
        """Return its result."""

    def cancel(self) -> Any:
        """Cancel it, if it is not running yet."""


class Runtime(Protocol):
    """How a driver's work is done: with threads, or in an event loop."""

    def exchange(self, call: str, request: Request) -> Awaitable[Response]:
        """Send a request.

        :raises ApiError: if no whole response came.
        """

    async def sleep(self, seconds: float, until: Event) -> None:
        """Let time pass, at most until an event is set."""

    async def call(self, function: Callable[[], T], undo: Callable[[T], Any] | None = None) -> T:
        """Run a function that may block for moments. It is always run to its end.

        :param undo: called with the result if nobody waits for it any more.
        """

    async def one_at_a_time(self, function: Callable[[], T]) -> T:
        """Run a function that may block for minutes, after the one before has ended."""

    def start(self, work: Awaitable[Any]) -> Work:
        """Begin background work."""

    async def first_done(self, works: Iterable[Any]) -> Any:
        """Wait until one is done, and return it."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a call is sent for.

    :param over: set when nobody wants it any more.
    :param submitted: for a part of bulk work: takes in how long it was on its way.
    """

    over: Event = field(default_factory=Event)
    submitted: Submitted | None = None


@dataclass(slots=True)
class _Run:
    """What belongs to one run of a plan.

    :param over: whether the plan has ended; nothing of it is sent after that.
    :param under_way: the submitted calls, with their tags.
    """

    longest_pause: float | None
    retry_timeout: float
    progress: ProgressLog
    pauses: PauseLog
    over: Event = field(default_factory=Event)
    under_way: dict[Work, tuple[Any, Submitted]] = field(default_factory=dict)


class Driver(Generic[C]):
    """Runs plans against one account.

    :param wire: how calls look on the wire.
    :param runtime: how requests are made, time passes and background work runs.
    :param limiter: when calls may be sent; default: at once.
    :param in_flight: calls under way at once in bulk work, at most.
    """

    def __init__(
        self,
        wire: Wire[C],
        runtime: Runtime,
        clock: Clock,
        *,
        limiter: RateLimiter[C] | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        #: How calls look on the wire, and the credential.
        self.wire = wire
        self._runtime = runtime
        self._limiter: RateLimiter[C] = limiter or RateLimiter()
        self._concurrency = Concurrency(in_flight)
        self._clock = clock
        self._stop_reason = ""
        #: Set when nothing more is to be sent.
        self.stopped = Event()
        #: What was done so far.
        self.stats = Stats()
        #: Is told of it as it happens.
        self.observer = UNOBSERVED
        #: What sends a call of a plan, and returns its result or error.
        self.send: Callable[[C, Purpose], Awaitable[Any]] = self.attempt

    def stop(self, reason: str) -> None:
        """Send nothing more, and let plans end: they collect what is under way.

        Safe to call from threads and signal handlers.

        :param reason: why, for the error that plans meet.
        """
        self._stop_reason = reason
        self.stopped.set()

    async def run(self, plan: Plan[T], *, longest_pause: float | None, retry_timeout: float) -> T:
        """Run a plan to its end, as :meth:`.Client.run` says."""
        progress = ProgressLog(self.stats, self._clock.monotonic)
        run = _Run(longest_pause, retry_timeout, progress, PauseLog(self._clock.monotonic))
        try:
            step = next(plan)
            while True:
                try:
                    result = await self._do(step, run)
                except ApiError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            run.over.set()
            for work, (_, submitted) in run.under_way.items():
                work.cancel()
                self._concurrency.collect(submitted, None)

    async def _do(self, step: Any, run: _Run) -> Any:
        match step:
            case Pause():
                await self._pause(step, run)
            case Count():
                self.observer.count(step.name, step.amount)
            case Progress():
                run.progress.show(step)
            case Now():
                return self._clock.time()
            case Blocking():
                return await self._runtime.call(step.function)
            case MaxInFlight():
                return self._concurrency.limit
            case RetryTimeout():
                return run.retry_timeout
            case Submit():
                submitted = self._concurrency.submit(step.what, step.size)
                work = self._runtime.start(self.send(step.call, Purpose(run.over, submitted)))
                run.under_way[work] = step.tag, submitted
            case Collect():
                work = await self._runtime.first_done(run.under_way)
                tag, submitted = run.under_way.pop(work)
                outcome = work.result()
                self._concurrency.collect(submitted, outcome)
                return Collected(tag, outcome)
            case _:
                outcome = await self.send(step, Purpose(run.over))
                if isinstance(outcome, ApiError):
                    raise outcome
                return outcome
        return None

    async def _pause(self, pause: Pause, run: _Run) -> None:
        self.observer.count("waited_ms", round(pause.seconds * 1000), reason=pause.kind)
        if run.longest_pause is not None and pause.seconds > run.longest_pause:
            raise PauseDueError(pause)
        self._refuse_if_stopped(pause.reason)
        run.pauses.show(pause, datetime.fromtimestamp(self._clock.time() + pause.seconds, UTC))
        self.stats.paused += pause.seconds
        await self._runtime.sleep(pause.seconds, self.stopped)
        self._refuse_if_stopped(pause.reason)

    def _refuse_if_stopped(self, call: str) -> None:
        if self.stopped.is_set():
            raise StoppedError(call, text=f"not sent: {self._stop_reason}")

    async def attempt(self, call: C, purpose: Purpose) -> Any:
        """Send a call once, when the limiter lets it go.

        :returns: its result, or its ``ApiError``.
        """
        name, over = str(call), purpose.over
        outcome: Any = NotConnectedError(name, text="given up before it was sent")
        waits = self._limiter.acquire(call)
        try:
            self._refuse_if_stopped(name)
            given_up = outcome
            wait = await self._runtime.call(
                lambda: next(waits, 0.0), undo=lambda _: self._limiter.release(call, given_up)
            )
        except ApiError as error:
            return error
        try:
            while wait > 0 and not over.is_set():
                self.observer.count("waited_ms", round(wait * 1000), reason="pace")
                await self._runtime.sleep(wait, self.stopped)
                self._refuse_if_stopped(name)
                wait = await self._runtime.call(lambda: next(waits, 0.0))
            self._refuse_if_stopped(name)
            if over.is_set():
                return outcome
            outcome = ReplyLostError(name, text="given up while it was under way")
            outcome = await self._send_now(call, purpose.submitted)
        except ApiError as error:
            outcome = error
        finally:
            done = outcome
            await self._runtime.call(lambda: self._limiter.release(call, done))
            if isinstance(done, NotProcessedError):
                self.stats.refusals += 1
                self.observer.count("refusals", reason=type(done).__name__)
        return outcome

    async def _send_now(self, call: C, submitted: Submitted | None) -> Any:
        """Send a call now, and return its result."""
        self.stats.requests += 1
        name, wire, began = str(call), self.wire, self._clock.monotonic()
        try:
            with self.observer.request(name):
                return wire.result(call, await self._runtime.exchange(name, wire.request(call)))
        finally:
            if submitted:
                submitted.seconds = self._clock.monotonic() - began
