"""A signal that tells a task to end is heeded at once, whichever thread the system gives it to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_workflows.domo import Account, DomoClient
from airflow_provider_workflows.rest.errors import StoppedError
from airflow_provider_workflows.rest.plans import Pause, Plan


class Struck(BaseException):
    """What Airflow 2 raises in its signal handler."""


@pytest.fixture
def struck() -> Iterator[None]:
    """Have a signal raise in the main thread."""

    def strike(*_: Any) -> None:
        raise Struck

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_another_thread_receives_ends_a_pause(struck: None) -> None:
    heard: list[StoppedError] = []

    def receive() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def plan() -> Plan[None]:
        # The main thread waits by then; if it does not yet, the signal is heeded all the same.
        threading.Timer(0.2, receive).start()
        try:
            yield Pause(20, "a long pause")
        except StoppedError as stopped:
            heard.append(stopped)

    with pytest.raises(Struck):
        DomoClient(Account.with_token("acme.example", "t0ken0f0acme")).run(plan())
    assert heard
