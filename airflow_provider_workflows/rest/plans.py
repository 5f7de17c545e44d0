"""Procedures of several calls, written once for every driver.

A plan is a generator: it yields calls and pauses, is sent each call's result, and has each failed call's
:class:`~airflow_provider_workflows.rest.errors.ApiError` raised at its ``yield``. It never sleeps or sends.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_workflows.rest.errors import (
    ApiError,
    RefusedError,
    UnknownOutcomeError,
    UnreadableReplyError,
)

#: How often a call is sent at most, the first time included.
ATTEMPTS = 8
LONGEST_DELAY = 30.0


class Sendable(Protocol):
    """What every vendor's call tells a plan."""

    @property
    def repeatable(self) -> bool:
        """Whether doing the call twice has the same effect as doing it once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A step of a plan: wait before the next one.

    :param seconds: how long.
    :param reason: why, for the log.
    """

    seconds: float
    reason: str


T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Step: TypeAlias = Sendable | Pause
Plan: TypeAlias = Generator[Step, Any, T]


def growing_delays(attempts: int = ATTEMPTS, first: float = 1.0) -> Iterator[float]:
    """Give the delays between so many attempts: doubling up to 30 s, each jittered by half."""
    for nth in range(attempts - 1):
        yield random.uniform(0.5, 1.0) * min(LONGEST_DELAY, first * 2**nth)  # noqa: S311


def send(call: Sendable, *, attempts: int = ATTEMPTS) -> Plan[Any]:
    """Send one call until it is answered.

    A refused call is always sent again, one of unknown outcome only if it is repeatable.

    :param call: the call.
    :param attempts: how often it is sent at most.
    :returns: the call's result.
    :raises ApiError: the last error, when the attempts are used up or none more can help.
    """
    for delay in growing_delays(attempts):
        try:
            return (yield call)
        except RefusedError as error:
            failure: ApiError = error
        except UnknownOutcomeError as error:
            if not call.repeatable:
                raise
            failure = error
        yield Pause(max(delay, failure.retry_after or 0), reason=str(failure))
    return (yield call)


def read_as(model: type[M], result: Any, call: str) -> M:
    """Give a call's result as a model.

    :param model: what the API promises.
    :param result: what it sent.
    :param call: the call's name, for the error.
    :raises UnreadableReplyError: if it is not what the API promises.
    """
    try:
        return model.model_validate(result)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    raise UnreadableReplyError(call, http_status=200, text=f"not the documented result: {faults}")
