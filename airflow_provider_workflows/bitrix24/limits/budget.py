"""What all workers that call a portal know of its limits. Functions of time only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import TypeAdapter, ValidationError

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.bucket import Bucket, Limits
from airflow_provider_workflows.bitrix24.limits.operating_time import MethodTime, OperatingTime
from airflow_provider_workflows.rest.errors import ApiError, RateLimitError


@dataclass(slots=True)
class Budget:
    """What is known of a portal.

    :param bucket: its leaky bucket, which all that call it share.
    :param operating: running time by credential and method.
    """

    bucket: Bucket
    operating: dict[str, dict[str, MethodTime]] = field(default_factory=dict)

    @classmethod
    def read(cls, content: bytes | None) -> Budget | None:
        """Return what a record holds; ``None`` if it is new, or its writer was killed half-way."""
        try:
            return _ADAPTER.validate_json(content or b"")
        except ValidationError:
            return None

    def dump(self, now: float) -> bytes:
        """Return the content of the record: all that still counts.

        :param now: Unix time.
        """
        counting = {
            credential: {method: time for method, time in methods.items() if time.counts(now)}
            for credential, methods in self.operating.items()
        }
        self.operating = {credential: methods for credential, methods in counting.items() if methods}
        return _ADAPTER.dump_json(self)

    def operating_time(self, credential: str, limits: Limits, now: float) -> OperatingTime:
        """Return the running time of the methods that a credential calls.

        :param now: Unix time.
        """
        return OperatingTime(limits.operating_limit, self.operating.setdefault(credential, {}), now)


# It takes some milliseconds, for which the first request would have to wait.
_ADAPTER = TypeAdapter(Budget)


def methods_of(call: Call) -> Counter[str]:
    """Return how often a call runs each method."""
    return Counter([call.method, *(command.method for command in call.commands.values())])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the outcome of a call says about the portal's limits.

    :param methods: how often it ran each method.
    :param under_way_until: until when it counts as under way.
    :param at: when it was answered, as a Unix time.
    :param times: what the portal reported of each method's running time.
    :param blocked: methods that the portal blocks, with their errors and the seconds that it named.
    :param refused: seconds for which it asked to send nothing, zero if it named none; ``None``: it did not refuse.
    """

    methods: Mapping[str, int]
    under_way_until: float
    at: float
    times: Mapping[str, list[Mapping[str, float]]]
    blocked: list[tuple[str, OperatingTimeLimitError, float | None]]
    refused: float | None

    @classmethod
    def of(cls, call: Call, outcome: Reply | ApiError, under_way_until: float, at: float) -> Self:
        """Read a reply or an error.

        :param under_way_until: until when it counts as under way.
        :param at: when it was answered, as a Unix time.
        """
        times: dict[str, list[Mapping[str, float]]] = defaultdict(list)
        blocked = []
        for method, part in _parts(call, outcome):
            if isinstance(part, Reply):
                times[method].append(part.time)
            # An error of this package's own has no code: the portal was not asked.
            elif isinstance(part, OperatingTimeLimitError) and part.code is not None:
                # What a single command of a batch reports is only the usual time.
                blocked.append((method, part, part.retry_after if part is outcome else None))
        refused = (outcome.retry_after or 0.0) if isinstance(outcome, RateLimitError) else None
        return cls(methods_of(call), under_way_until, at, times, blocked, refused)

    def is_urgent(self, limits: Limits) -> bool:
        """Return whether other workers must know at once; if not, it goes with this worker's next request."""
        used = max((time.get("operating", 0.0) for some in self.times.values() for time in some), default=0.0)
        return bool(self.blocked) or self.refused is not None or used > limits.operating_limit / 2

    def learn(self, budget: Budget, credential: str, limits: Limits, now: float) -> list[float | None]:
        """Update a budget with it.

        :param budget: the budget, which is changed.
        :param now: Unix time.
        :returns: for how many seconds each blocked method is; ``None`` if another reply may tell better.
        """
        operating = budget.operating_time(credential, limits, now)
        operating.answered(self.methods, self.under_way_until)
        for method, times in self.times.items():
            operating.learn(method, times, self.at)
        waits = [operating.blocked(method, self.at, told) for method, _, told in self.blocked]
        if self.refused is not None:
            budget.bucket = budget.bucket.refused(now, limits, self.refused)
        return waits


def _parts(call: Call, outcome: Reply | ApiError) -> Iterator[tuple[str, Reply | ApiError]]:
    """Yield the method and outcome of a call, or of each command of a batch."""
    yield call.method, outcome
    if isinstance(outcome, Reply):
        for key, command in call.commands.items():
            yield command.method, outcome.result[key]
