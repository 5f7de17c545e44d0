"""Sending many calls in batches, several at once, with the outcome of each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from airflow_provider_workflows.bitrix24.calls import BATCH, Call, Reply, batch
from airflow_provider_workflows.bitrix24.limits.batch_size import BatchSize
from airflow_provider_workflows.rest.bulk import Batching
from airflow_provider_workflows.rest.errors import ApiError, ReplyLostError, ServerError
from airflow_provider_workflows.rest.plans import Plan, RetryState, send

K = TypeVar("K")


def read_all(reads: Sequence[Call]) -> Plan[list[Reply]]:
    """Send up to 50 reading calls in one request, and resend those that failed for the moment.

    :param reads: calls that change nothing.
    :returns: their replies.
    :raises ApiError: if one of them fails.
    """
    replies: dict[int, Reply] = {}
    batches, retries = Batches(), RetryState()
    while True:
        left = [nth for nth in range(len(reads)) if nth not in replies]
        call = batches.make_batch([reads[nth] for nth in left])
        outcomes = batches.outcomes(left, (yield from send(call)))
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, ApiError)]
        answered = {nth: outcome for nth, outcome in outcomes.items() if isinstance(outcome, Reply)}
        if answered:
            replies |= answered
            retries = RetryState()
        if not failures:
            return [replies[nth] for nth in range(len(reads))]
        worst = min(failures, key=lambda error: error.retry_helps)
        if not worst.retry_helps:
            raise worst
        yield from retries.wait_out(worst)


def read_again(errors: Mapping[K, ApiError]) -> Plan[list[K]]:
    """Return the reads to send again: all that failed.

    :param errors: what each failed with.
    :raises ApiError: if sending one again cannot help.
    """
    yield from ()
    for error in errors.values():
        if not error.retry_helps:
            raise error
    return list(errors)


class Batches(Batching):
    """Up to 50 commands to a request, sized by the time that the portal takes for a command, halved when one is cut.

    :param each: seconds that a command takes, as far as is known.
    """

    def __init__(self, each: float | None = None) -> None:
        self._size = BatchSize(BATCH, each=each)

    def next_size(self, left: int, *, trial: bool, places: int = 1) -> int:
        """Return how many of the remaining commands the next batch carries."""
        return self._size.next_size(left, trial=trial, places=places)

    def make_batch(self, calls: Sequence[Call]) -> Call:
        """Return one call that makes them all; a single one needs no batch around it."""
        return calls[0] if len(calls) == 1 else batch({f"c{nth}": call for nth, call in enumerate(calls)})

    def outcomes(self, items: Sequence[K], outcome: Any) -> dict[K, Any]:
        """Return each item's own outcome out of that of the request."""
        if len(items) == 1:
            return {items[0]: outcome}
        if isinstance(outcome, ApiError):
            return dict.fromkeys(items, outcome)
        return dict(zip(items, outcome.result.values(), strict=True))

    def learn(self, size: int, outcome: Any) -> None:
        """Learn from a request how many commands the next one may carry."""
        if isinstance(outcome, Reply):
            self._size.answered(size, outcome.time.get("duration"))
        elif isinstance(outcome, (ReplyLostError, ServerError)):
            # Perhaps the portal was still working on it when it was cut.
            self._size.halve(size)
