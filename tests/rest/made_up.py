"""A made-up API, for tests of what all vendors share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.errors import ApiError, ServerError
from airflow_provider_workflows.rest.plans import Collect, Plan, Submit
from airflow_provider_workflows.rest.protocol import RateLimiter, Request, Response

SECRET = "c0deInThePath"
URL = f"https://acme.example/rest/1/{SECRET}/call"


@dataclass(frozen=True)
class Say:
    """A call of a made-up API."""

    word: Any
    repeatable: bool = True

    def __str__(self) -> str:
        return "say"


class Wire:
    """A made-up API: one address, one word, an error for any status above 400."""

    def __init__(self, url: str = URL, http_method: str = "POST") -> None:
        self.url = url
        self.http_method = http_method

    def request(self, call: Say) -> Request:
        body = {"word": call.word} if self.http_method == "POST" else None
        return Request(self.http_method, self.url, {"X-Token": SECRET}, body)

    def result(self, call: Say, response: Response) -> Response:
        if response.http_status >= 400:
            raise ServerError(str(call), http_status=response.http_status)
        return response


class NoSleep(Clock):
    """Nothing here is to wait."""

    def sleep(self, seconds: float, until: Any) -> None:
        raise AssertionError("nothing here is to wait")

    async def asleep(self, seconds: float) -> None:
        raise AssertionError("nothing here is to wait")


def say(word: Any = "hello") -> Plan[Any]:
    return (yield Say(word))


def gather(*words: Any) -> Plan[dict[Any, Any]]:
    """Submit a call for each word, then collect them all."""
    for nth, word in enumerate(words):
        yield Submit(Say(word), nth)
    found = {}
    for _ in words:
        collected = yield Collect()
        found[collected.tag] = collected.outcome
    return found


@dataclass
class CountingLimiter(RateLimiter[Any]):
    """Notes who came and went, and has them wait for their turn."""

    turn: float = 0.0
    refuse: ApiError | None = None
    came: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def acquire(self, call: Any) -> Iterator[float]:
        self.threads.add(threading.get_ident())
        if self.refuse:
            raise self.refuse
        self.came.append(call)
        if self.turn:
            yield self.turn

    def release(self, call: Any, outcome: Any) -> None:
        self.threads.add(threading.get_ident())
        self.left.append((call, outcome))
