"""Values that one try of a task stores for the next."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_4_PLUS
from pydantic import TypeAdapter

from airflow_provider_workflows.rest.start_once import StartNote

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

#: Where the note of a start is kept.
KEY = "external_id"
#: How far the remote system's clock may be behind Airflow's.
CLOCK_ERROR = timedelta(minutes=1)

#: States of a task of which a try goes on, or will.
AT_WORK = {"up_for_retry", "scheduled", "queued", "running", "deferred"}


class RunState:
    """Values in Airflow's task state store, which Airflow has from 3.3 on; before, nothing is kept.

    They count for the retries of one run of the task. When the task is cleared, it starts anew.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        self._ti: Any = context["ti"]
        # Airflow raises it when a task is cleared, and only then.
        self._max_tries: int = self._ti.max_tries if self.kept else 0

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

    def is_passed_on(self) -> bool:
        """Return whether another try goes on by now: Airflow took this one for lost, though it was not."""
        if not self.kept:
            return False
        from airflow.sdk.exceptions import AirflowRuntimeError

        from airflow_provider_workflows.triggers.ending import state_of

        try:
            # There is none: it is only asked whether this try may still change anything.
            self._store.delete("nothing")
        except AirflowRuntimeError as error:
            is_unknown = (error.error.detail or {}).get("status_code") == HTTPStatus.NOT_FOUND
            # Airflow knows it no more either if it was cleared ("restarting"), or its Dag run deleted.
            return is_unknown and state_of(self._ti) in AT_WORK
        return False


def is_retry(context: Context, task: BaseOperator) -> bool:
    """Return whether there was an earlier try in this run of the task: since it was cleared, if it was."""
    ti: Any = context["ti"]
    return bool(ti.try_number > ti.max_tries - task.retries + 1)


class ExternalIdStore:
    """Keeps the note of a start, by which a retry reconnects to it."""

    def __init__(self, context: Context, task: BaseOperator) -> None:
        self._state = RunState(context)
        began = context["dag_run"].start_date if is_retry(context, task) and not self._state.kept else None
        #: Without a store, the earlier tries of this run of the task may have started something since then.
        self.unnoted_since: datetime | None = began - CLOCK_ERROR if began else None

    def read(self) -> StartNote | None:
        """Return what was noted."""
        noted = self._state.get(KEY)
        return TypeAdapter(StartNote).validate_python(noted) if noted else None

    def write(self, note: StartNote) -> None:
        """Note something, in place of what was noted before."""
        self._state.set(KEY, asdict(note))

    def forget(self) -> None:
        """Have the next try start anew."""
        self._state.delete(KEY)

    def is_passed_on(self) -> bool:
        """Return whether another try goes on with what was started: Airflow took this one for lost."""
        return self._state.is_passed_on()
