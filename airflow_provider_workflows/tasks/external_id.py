"""The note of what a task has started, by which its retry reconnects to it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from airflow_provider_workflows.rest.start_once import StartNote
from airflow_provider_workflows.tasks.run_state import RunState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

KEY = "external_id"
#: How far the remote system's clock may be behind Airflow's.
CLOCK_ERROR = timedelta(minutes=1)

_NOTE: TypeAdapter[StartNote] = TypeAdapter(StartNote)


class ExternalIdStore:
    """Keeps the note for the retries of one run of the task.

    :param context: the task's context.
    :param task: the task.
    """

    def __init__(self, context: Context, task: BaseOperator) -> None:
        self._state = RunState(context)
        ti: Any = context["ti"]
        is_retry = ti.try_number > ti.max_tries - task.retries + 1
        began = context["dag_run"].start_date if is_retry and not self._state.kept else None
        #: Without a store, the earlier tries of this run of the task may have started something since then.
        self.unnoted_since: datetime | None = began - CLOCK_ERROR if began else None

    def read(self) -> StartNote | None:
        """Return what was noted."""
        noted = self._state.get(KEY)
        return _NOTE.validate_python(noted) if noted else None

    def write(self, note: StartNote) -> None:
        """Note something, in place of what was noted before."""
        self._state.set(KEY, asdict(note))

    def forget(self) -> None:
        """Have the next try start anew."""
        self._state.delete(KEY)
