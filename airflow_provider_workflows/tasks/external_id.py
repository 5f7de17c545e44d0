"""The note of what a task has started, by which its retry reconnects to it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_4_PLUS
from pydantic import TypeAdapter

from airflow_provider_workflows.rest.start_once import StartNote

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

KEY = "external_id"
#: How far the remote system's clock may be behind Airflow's.
CLOCK_ERROR = timedelta(minutes=1)

_NOTE: TypeAdapter[StartNote] = TypeAdapter(StartNote)


class ExternalIdStore:
    """A note in Airflow's task state store, which Airflow has from 3.3 on.

    It counts for the retries of one run of the task. When the task is cleared, it starts anew.

    :param context: the task's context.
    :param task: the task.
    """

    def __init__(self, context: Context, task: BaseOperator) -> None:
        ti: Any = context["ti"]
        self._store: Any = context.get("task_state_store")
        # Airflow raises it when a task is cleared, and only then.
        self._max_tries: int = ti.max_tries
        is_retry = ti.try_number > ti.max_tries - task.retries + 1
        began = context["dag_run"].start_date if is_retry and self._store is None else None
        #: Without a store, the earlier tries of this run of the task may have started something since then.
        self.unnoted_since: datetime | None = began - CLOCK_ERROR if began else None

    def read(self) -> StartNote | None:
        """Return what was noted in this run of the task."""
        noted = self._store.get(KEY) if self._store is not None else None
        # Later versions forget it by themselves, unless the user wants it kept.
        if noted and (AIRFLOW_V_3_4_PLUS or noted["max_tries"] == self._max_tries):
            return _NOTE.validate_python(noted["note"])
        return None

    def write(self, note: StartNote) -> None:
        """Note something, in place of what was noted before."""
        if self._store is not None:
            self._store.set(KEY, {"note": asdict(note), "max_tries": self._max_tries})

    def forget(self) -> None:
        """Have the next try start anew."""
        if self._store is not None:
            self._store.delete(KEY)
