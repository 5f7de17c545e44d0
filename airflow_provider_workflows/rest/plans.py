"""Procedures of several calls, written once for every driver.

A plan is a generator: it yields steps, is sent each step's result, and has a failed call's
:class:`~airflow_provider_workflows.rest.errors.ApiError` raised at its ``yield``. It never sleeps or sends.
A step is a vendor's call (send it, wait for its result), or one of the classes here.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotConnectedError,
    NotProcessedError,
    StoppedError,
    UnknownOutcomeError,
    UnreadableReplyError,
)

log = logging.getLogger(__name__)

#: Seconds for which polls may fail one after the other, unless set.
TOLERANCE = 3600.0
#: Seconds for which a single poll before or after a wait in the triggerer may be refused: it holds a worker.
SINGLE_POLL = 60.0
#: How often a call is sent at most, the first time included.
ATTEMPTS = 8
LONGEST_DELAY = 30.0
#: How many validation faults of a reply an error names.
FAULTS = 5


class Sendable(Protocol):
    """What a plan knows of every vendor's call."""

    @property
    def repeatable(self) -> bool:
        """Whether doing the call twice has the same effect as doing it once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step.

    :param seconds: how long.
    :param reason: why, for the log.
    :param kind: why, for metrics: what happened, or what is waited for.
    """

    seconds: float
    reason: str
    kind: Literal["failure", "refusal", "poll", "settling"] = "failure"


class PauseDueError(Exception):
    """A plan has to pause for longer than its driver may wait. The plan is given up; nothing is under way."""

    def __init__(self, pause: Pause) -> None:
        super().__init__(pause)
        self.pause = pause

    def __str__(self) -> str:
        return f"to be continued after {self.pause.seconds:.0f} s: {self.pause.reason}"


@dataclass(frozen=True, slots=True)
class Submit:
    """Send a call, and go on while it is under way.

    :param call: the call.
    :param tag: returned with its outcome.
    :param what: what the work is, of which it is a part: only the times of its parts are compared.
    :param size: how many single calls it carries.
    """

    call: Any
    tag: Any
    what: str = ""
    size: int = 1


@dataclass(frozen=True, slots=True)
class Collect:
    """Wait for one of the submitted calls; its result is :class:`Collected`."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A submitted call that is not under way any more.

    :param tag: what it was submitted with.
    :param outcome: its result or error.
    """

    tag: Any
    outcome: Any


@dataclass(frozen=True, slots=True)
class Now:
    """Ask for the time; its result is the client's Unix time."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """Do something that may block for moments; its result is what the function returns.

    :param function: raises nothing but ``ApiError``.
    """

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class MaxInFlight:
    """Ask how many calls may be under way at once now; its result is that number, which may differ each time."""


@dataclass(frozen=True, slots=True)
class RetryTimeout:
    """Ask for how many seconds a call that the server refuses is to be sent again; its result is that number."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Log how far a long job is.

    :param done: how many are done.
    :param total: of how many.
    :param what: what they are.
    """

    done: int
    total: int
    what: str


@dataclass(frozen=True, slots=True)
class Count:
    """Tell the client's observer that something happened.

    :param name: what, see :meth:`~airflow_provider_workflows.rest.observer.Observer.count`.
    :param amount: how often.
    """

    name: str
    amount: int = 1


T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Step: TypeAlias = Sendable | Pause | Submit | Collect | Now | Blocking | MaxInFlight | RetryTimeout | Progress | Count
Plan: TypeAlias = Generator[Step, Any, T]


def backoff_delay(nth: int) -> float:
    """Return the delay after this many failures in a row: doubles from 1 s up to 30 s, with half of it jitter."""
    return random.uniform(0.5, 1.0) * min(LONGEST_DELAY, 2.0 ** min(max(0, nth - 1), 10))  # noqa: S311


class _OutOfTimeError(Exception):
    """A poll would take longer than the wait may last."""


def poll_until(
    poll: Callable[[], Plan[T | None]],
    delays: Iterable[float],
    reason: str,
    *,
    wait_for: float = inf,
    tolerance: float = 0.0,
) -> Plan[T | None]:
    """Poll until something is found.

    :param poll: polls once; returns ``None`` while nothing is there.
    :param delays: seconds between the polls; after the last of them it polls once more.
    :param reason: what is waited for, for the log.
    :param wait_for: seconds by the clock, from now on, after which it polls no more: the time that polls take counts,
        and a poll that waits out refusals is given up then. With 0 it polls once, for as long as that takes.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help; a credential
        that is refused is not waited for.
    :returns: what was found; ``None`` if nothing was.
    :raises ApiError: the failure of a poll, if it is final or goes on for too long.
    """
    answered = yield Now()
    deadline = answered + wait_for
    following = iter(delays)

    def perform(step: Step) -> Plan[Any]:
        if wait_for and isinstance(step, Pause) and (left := deadline - (yield Now())) < step.seconds:
            yield Pause(max(0.0, left), step.reason, step.kind)
            raise _OutOfTimeError
        return (yield step)

    while True:
        try:
            found = yield from intercept(poll(), perform)
        except _OutOfTimeError:
            return None
        except ApiError as error:
            now = yield Now()
            # A credential was renewed before its refusal comes here, and each further poll would renew it again.
            final = not error.retry_helps or isinstance(error, (AuthenticationError, StoppedError))
            if final or now - answered >= tolerance:
                raise
            log.warning("A poll failed, and polling goes on: %s", error.message)
        else:
            now = answered = yield Now()
            if found is not None:
                return found
        delay = next(following, None)
        if delay is None or now >= deadline:
            return None
        yield Pause(min(delay, deadline - now), reason, "poll")


def poll_once(
    poll: Callable[[], Plan[T | None]], reason: str, *, wait_for: float = SINGLE_POLL, tolerance: float = 0.0
) -> Plan[T | None]:
    """Poll once, as :func:`poll_until` does, so that refusals hold a worker no longer than it may.

    :param poll: polls once; returns ``None`` while nothing is there.
    :param reason: what is waited for, for the log.
    :param wait_for: seconds after which a poll that waits out refusals is given up.
    :param tolerance: with more than 0, a failure where trying again can help is no more than nothing found.
    :returns: what was found; ``None`` if nothing was.
    :raises ApiError: the failure of the poll.
    """
    return poll_until(poll, (), reason, wait_for=wait_for, tolerance=tolerance)


def intercept(plan: Plan[T], perform: Callable[[Any], Plan[Any]]) -> Plan[T]:
    """Run a plan, with each of its steps performed by another plan.

    :param perform: does a step, and returns its result.
    """
    result: Any = None
    error: ApiError | None = None
    try:
        while True:
            step = plan.throw(error) if error else plan.send(result)
            try:
                result, error = (yield from perform(step)), None
            except ApiError as failure:
                error = failure
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def send(call: Sendable) -> Plan[Any]:
    """Send one call until it is answered: eight times, or while the server refuses it, until the retry timeout.

    A call that was not processed is always sent again, one of unknown outcome only if it is repeatable.

    :returns: the call's result.
    :raises ApiError: the last error, when no further attempt can help.
    """
    retries = RetryState()
    while True:
        try:
            return (yield call)
        except NotProcessedError as error:
            failure: ApiError = error
        except UnknownOutcomeError as error:
            if not call.repeatable:
                raise
            failure = error
        yield from retries.wait_out(failure)


@dataclass(slots=True)
class RetryState:
    """Failures in a row, with nothing done between them.

    :param count: how many there were.
    :param refused_since: Unix time of the first refusal.
    """

    count: int = 0
    refused_since: float | None = None

    def wait_out(self, failure: ApiError) -> Plan[None]:
        """Wait before the next attempt.

        :param failure: what went wrong.
        :raises ApiError: the failure, after the retry timeout if the server refuses, else after eight attempts.
        """
        self.count += 1
        refused = isinstance(failure, NotProcessedError) and not isinstance(failure, NotConnectedError)
        if refused:
            now: float = yield Now()
            retry_timeout: float = yield RetryTimeout()
            self.refused_since = now if self.refused_since is None else self.refused_since
            if now - self.refused_since >= retry_timeout:
                raise failure
        elif self.count >= ATTEMPTS:
            raise failure
        delay = max(backoff_delay(self.count), failure.retry_after or 0)
        yield Pause(delay, failure.message, "refusal" if refused else "failure")


def read_as(model: type[M], result: Any, call: str) -> M:
    """Return a call's result as a model.

    :raises UnreadableReplyError: if it is not what the API promises.
    """
    return _read(model.model_validate, result, call)


def read_list(model: type[T], result: Any, call: str) -> list[T]:
    """Return a call's result as a list.

    :param model: what the API promises of each: a model, or a typed dictionary.
    :raises UnreadableReplyError: if it is not what the API promises.
    """
    return _read(list_of(model).validate_python, result, call)  # type: ignore[arg-type]


@cache
def list_of(model: type[T]) -> TypeAdapter[list[T]]:
    """Return what reads a list; made once."""
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _read(validate: Callable[[Any], T], result: Any, call: str) -> T:
    try:
        return validate(result)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:FAULTS])
    raise UnreadableReplyError(call, http_status=200, text=f"not the documented result: {faults}")
