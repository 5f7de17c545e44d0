"""What the tries of a task keep for each other, in a store that is away for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.tasks.earlier_tries import EarlierTries


class Store(dict[str, Any]):
    """Airflow's task state store."""

    away = False

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        if self.away:
            raise OSError("away")
        self[key] = value


def test_what_may_have_been_ended_is_kept_once_the_store_is_there_again() -> None:
    store = Store()
    context: Any = {"task_state_store": store, "ti": SimpleNamespace(max_tries=1)}
    tries, report = EarlierTries(context, SYSTEM_CLOCK), EndReport(requested=2, unknown={"7", "8"})
    store.away = True
    tries.keep(report)
    store.away = False
    tries.keep(report)
    assert EarlierTries(context, SYSTEM_CLOCK).perhaps_ended == ["7", "8"]
