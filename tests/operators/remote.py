"""Both systems on loopback, and what a task needs to work on them; the folders' ``conftest.py`` import from here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK, Clock
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.testing.clock import VirtualTime as VirtualTime
from airflow_provider_workflows.testing.tasks import TaskInstance as TaskInstance


class InstalledTime:
    """Tells simulators that outlast a test the time of the clock that the test has installed."""

    clock: Clock = SYSTEM_CLOCK

    def time(self) -> float:
        """Return the Unix time."""
        return self.clock.time()

    def monotonic(self) -> float:
        """Return the time of a clock that is never set."""
        return self.clock.monotonic()


INSTALLED = InstalledTime()


@contextmanager
def refused(
    error: type[Exception] | tuple[type[Exception], ...], match: str | None = None
) -> Iterator[SimpleNamespace]:
    """Expect an error that no retry can help: when the task is made, or as the cause of what fails it for good.

    Gives the typed error as ``value``, as ``pytest.raises`` does.
    """
    caught = SimpleNamespace(value=None)
    kinds = error if isinstance(error, tuple) else (error,)
    with pytest.raises((*kinds, AirflowFailException), match=match) as raised:
        yield caught
    in_task = isinstance(raised.value, AirflowFailException)
    caught.value = raised.value.__cause__ if in_task else raised.value
    assert isinstance(caught.value, error)
    # What Airflow makes of other errors: another try.
    assert in_task or isinstance(raised.value, ArgumentError)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """Return a simulator that lasts for the session."""
    with Simulator(clock=INSTALLED) as simulator:
        yield simulator


@pytest.fixture
def connect(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what defines an Airflow connection to the simulator."""

    def connect(name: str, **fields: Any) -> None:
        host, port = simulator.host.split(":")
        place = {"conn_type": name.split("_")[0].lower(), "host": host, "port": int(port), "schema": "http"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(place | fields))

    return connect


def failed_ids(report: dict[str, Any]) -> list[str]:
    """Return the ids that a report names as failed: the first hundred of each reason."""
    return [one for failure in report["failures"] for one in failure["ids"]]


def render(operator: BaseOperator, **values: Any) -> None:
    """Fill in an operator's templates, as Airflow does before the task runs."""
    context: Any = values
    operator.render_template_fields(context)


def install(clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Have the clients sleep by a clock, and their simulator go by it.

    :param clock: the clock.
    :param monkeypatch: puts everything back.
    """
    monkeypatch.setattr(INSTALLED, "clock", clock)
    monkeypatch.setattr(AccountHook, "clock", clock)
    return clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Have nobody really sleep: neither the clients, nor the simulator that waits with them."""
    return install(VirtualTime(), monkeypatch)


@pytest.fixture
def control(simulator: Simulator, connect: Callable[..., None], clock: VirtualTime) -> Control:
    """Return the control of a simulator that is empty, and to which the default connections lead."""
    simulator.control.reset()
    settings = simulator.control.settings()
    connect("BITRIX24_DEFAULT", login="1", password=settings["webhook_code"])
    connect("DOMO_DEFAULT", password=settings["domo_token"])
    return simulator.control


@pytest.fixture
def ti() -> TaskInstance:
    """Return a task instance."""
    return TaskInstance()


@pytest.fixture
def context(ti: TaskInstance) -> Any:
    """Return the context that Airflow hands to a task."""
    return {"ti": ti}
