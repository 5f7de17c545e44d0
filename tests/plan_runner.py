"""Runs plans without HTTP and without time passing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.plans import (
    Blocking,
    Collect,
    Collected,
    Count,
    MaxInFlight,
    Now,
    Pause,
    Plan,
    Progress,
    RetryTimeout,
    Submit,
)

T = TypeVar("T")


def run(
    plan: Plan[T],
    answer: Callable[[Any], Any],
    pauses: list[Pause] | None = None,
    chance: random.Random | None = None,
    in_flight: int = 4,
    retry_timeout: float = 3600.0,
    now: Callable[[], float] = time.time,
) -> T:
    """Run a plan.

    :param plan: the plan.
    :param answer: gives the result of a call, or the error that it ends in.
    :param pauses: where the plan's pauses are noted.
    :param in_flight: how many calls may be under way.
    :param now: gives the Unix time, to which the pauses are added.
    :param retry_timeout: seconds for which a refused call is sent again.
    :param chance: picks which of the calls under way is done next; the first, if left out.
    """
    under_way: list[Submit] = []
    slept = 0.0
    send: Callable[[], Any] = partial(next, plan)
    while True:
        try:
            step = send()
        except StopIteration as end:
            assert not under_way
            return end.value  # type: ignore[no-any-return]
        result: Any = None
        match step:
            case Pause():
                slept += step.seconds
                if pauses is not None:
                    pauses.append(step)
            case Submit():
                assert len(under_way) < in_flight, "more calls are under way than the client lets"
                under_way.append(step)
            case Collect():
                submitted = under_way.pop(chance.randrange(len(under_way)) if chance else 0)
                result = Collected(submitted.tag, answer(submitted.call))
            case Blocking():
                try:
                    result = step.function()
                except ApiError as error:
                    result = error
            case Progress() | Count():
                pass
            case Now():
                result = now() + slept
            case RetryTimeout():
                result = retry_timeout
            case MaxInFlight():
                result = in_flight
            case call:
                result = answer(call)
        send = partial(plan.throw if isinstance(result, ApiError) else plan.send, result)
