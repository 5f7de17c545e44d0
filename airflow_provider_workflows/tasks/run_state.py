"""Values that one try of a task stores for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_4_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class RunState:
    """Values in Airflow's task state store, which Airflow has from 3.3 on; before, nothing is kept.

    They count for the retries of one run of the task. When the task is cleared, it starts anew.

    :param context: the task's context.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        # Airflow raises it when a task is cleared, and only then.
        self._max_tries: int = context["ti"].max_tries if self.kept else 0

    @property
    def kept(self) -> bool:
        """Whether this Airflow keeps anything."""
        return self._store is not None

    def get(self, key: str) -> Any:
        """Return what was kept in this run of the task; ``None`` for nothing."""
        entry = self._store.get(key) if self.kept else None
        # Later versions forget it by themselves when a task is cleared, unless the user wants it kept.
        if entry and (AIRFLOW_V_3_4_PLUS or entry["max_tries"] == self._max_tries):
            return entry["value"]
        return None

    def set(self, key: str, value: Any) -> None:
        """Keep a value that is JSON, and smaller than 64 kB."""
        if self.kept:
            self._store.set(key, {"value": value, "max_tries": self._max_tries})

    def delete(self, key: str) -> None:
        """Forget a value."""
        if self.kept:
            self._store.delete(key)
