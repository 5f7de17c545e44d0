"""What a task remembers of what it started, so that its retry does not start it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_4_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

KEY = "started"


class StartRecord:
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
        #: Whether an earlier try of this run of the task may have started something.
        self.is_retry = ti.try_number > ti.max_tries - task.retries + 1

    @property
    def kept(self) -> bool:
        """Whether this Airflow keeps such notes."""
        return self._store is not None

    def read(self) -> dict[str, Any] | None:
        """Return what was noted in this run of the task."""
        note = self._store.get(KEY) if self._store is not None else None
        # Later versions forget it by themselves, unless the user wants it kept.
        if note and (AIRFLOW_V_3_4_PLUS or note["max_tries"] == self._max_tries):
            return dict(note)
        return None

    def write(self, **note: Any) -> None:
        """Note something, in place of what was noted before."""
        if self._store is not None:
            self._store.set(KEY, note | {"max_tries": self._max_tries})

    def forget(self) -> None:
        """Have the next try start anew."""
        if self._store is not None:
            self._store.delete(KEY)
