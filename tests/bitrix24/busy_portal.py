"""A portal on which others are at work between any two commands, also while several requests are under way."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.rest.errors import ApiError, ReplyLostError
from airflow_provider_workflows.rest.plans import (
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
TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "!": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
DATES = ("STARTED", "MODIFIED", "OWNED_UNTIL")


def conditions(filters: Mapping[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a row meets a FILTER."""
    parts = []
    for key, value in filters.items():
        name = key.lstrip("!<=>")
        wanted = datetime.fromisoformat(value).timestamp() if name in DATES else value
        parts.append((name, key.removesuffix(name), TESTS[key.removesuffix(name)], wanted))

    def meets(row: dict[str, Any]) -> bool:
        return all(sign == "!" if row[name] is None else test(row[name], wanted) for name, sign, test, wanted in parts)

    return meets


@dataclass
class BusyPortal:
    """Running workflows in the order of their start, and somebody who ends, starts and changes them.

    :param count: how many run at first.
    :param chance: of what happens.
    :param disturb: does something to the portal before each command.
    :param lost: how often a reply is lost.
    """

    count: int
    chance: random.Random
    disturb: Callable[[BusyPortal], None] = lambda portal: None
    lost: float = 0.0
    now: float = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
    rows: list[dict[str, Any]] = field(default_factory=list)
    commands: int = 0
    requests: int = 0
    watched: Callable[[dict[str, Any]], bool] = lambda row: True
    throughout: set[str] = field(default_factory=set)
    changes: int = 0
    _made: int = 0
    _replies: dict[int, list[Reply]] = field(default_factory=dict)
    _views: dict[str, tuple[Any, list[dict[str, Any]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        starts = sorted(self.chance.randrange(10, 90 * 86400) for _ in range(self.count))
        for ago in reversed(starts):
            self.start(ago)

    def start(self, ago: float = 0.0) -> None:
        """Start a workflow."""
        self._made += 1
        started = int(self.now - ago)
        row = {"ID": f"{self._made:014x}.{self._made:08d}", "STARTED": started, "TEMPLATE_ID": 1 + self._made % 2}
        self.rows.append(row | {"MODIFIED": started, "OWNED_UNTIL": self.chance.choice([None, started + 300])})

    def end(self, nth: int) -> None:
        """End a workflow."""
        self.changes += 1
        self.throughout.discard(self.rows.pop(nth)["ID"])

    def change(self, nth: int) -> None:
        """Do something to a workflow."""
        self.changes += 1
        self.rows[nth] |= {"MODIFIED": int(self.now), "OWNED_UNTIL": int(self.now) + 300}
        if not self.watched(self.rows[nth]):
            self.throughout.discard(self.rows[nth]["ID"])

    def watch(self, filters: Mapping[str, Any]) -> None:
        """Note from now on which workflows match all the while."""
        meets = self.watched = conditions(filters)
        self.throughout = {row["ID"] for row in self.rows if meets(row)}

    def run(self, plan: Plan[T], in_flight: int = 4) -> T:
        """Run a plan; commands of the requests under way are done in any order."""
        under_way: list[tuple[Submit, Iterator[Reply]]] = []
        result: Any = None
        while True:
            try:
                step = plan.throw(result) if isinstance(result, ApiError) else plan.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            match step:
                case Now():
                    result = self.now
                case RetryTimeout():
                    result = 3600.0
                case Pause():
                    self.now += step.seconds
                    result = None
                case MaxInFlight():
                    result = in_flight
                case Progress() | Count():
                    result = None
                case Submit():
                    under_way.append((step, self._do(step.call)))
                    result = None
                case Collect():
                    result = self._collect(under_way)
                case Call():
                    (result,) = self._do(step)
                    result = self._or_lost(result)

    def _collect(self, under_way: list[tuple[Submit, Iterator[Reply]]]) -> Collected:
        while True:
            nth = self.chance.randrange(len(under_way))
            if (reply := next(under_way[nth][1], None)) is not None:
                replies = self._replies.setdefault(id(under_way[nth][0]), [])
                replies.append(reply)
                continue
            submit, _ = under_way.pop(nth)
            replies = self._replies.pop(id(submit))
            call: Any = submit.call
            outcome = Reply(dict(zip(call.commands, replies, strict=True))) if call.commands else replies[0]
            return Collected(submit.tag, self._or_lost(outcome))

    def _or_lost(self, reply: Reply) -> Reply | ApiError:
        return ReplyLostError("bizproc.workflow.instances") if self.chance.random() < self.lost else reply

    def _do(self, call: Any) -> Iterator[Reply]:
        self.requests += 1
        for command in call.commands.values() if call.commands else [call]:
            self.now += self.chance.random() / 5
            self.disturb(self)
            self.commands += 1
            yield self._page(command)

    def _page(self, call: Call) -> Reply:
        assert call.params["ORDER"] == {"STARTED": "asc", "ID": "asc"}
        matching = self._matching(call.params["FILTER"])
        start = call.params["start"]
        page = [
            {name: self._shown(name, row[name]) for name in row if name in call.params["SELECT"]}
            for row in matching[start : start + 50]
        ]
        following = start + 50 if start + 50 < len(matching) else None
        return Reply(page, len(matching), following, at=datetime.fromtimestamp(self.now, UTC))

    def _matching(self, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        state, key = (self._made, self.changes), repr(filters)
        if self._views.get(key, (None,))[0] != state:
            meets = conditions(filters)
            self._views[key] = state, [row for row in self.rows if meets(row)]
        return self._views[key][1]

    @staticmethod
    def _shown(name: str, value: Any) -> Any:
        return datetime.fromtimestamp(value, UTC).isoformat() if name in DATES and value is not None else value
