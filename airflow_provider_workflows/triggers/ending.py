"""Waiting for the end of what a task has started, and ending it when the task is killed."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import XCom
from asgiref.sync import sync_to_async

from airflow_provider_workflows.links.pushed import PushedLink
from airflow_provider_workflows.rest.background import in_background
from airflow_provider_workflows.triggers.polling import PollTrigger

log = logging.getLogger(__name__)


class EndingTrigger(PollTrigger):
    """Polls until something has ended, and ends it when the deferred task is killed by a user (Airflow 3.3 and later).

    :param cancel_on_kill: whether a kill ends it.
    :param given: what a :class:`~airflow_provider_workflows.triggers.polling.PollTrigger` is given.
    """

    #: What shows the page of what the task waits for.
    _link: ClassVar[PushedLink]

    def __init__(self, *, cancel_on_kill: bool, **given: Any) -> None:
        super().__init__(**given)
        self.cancel_on_kill = cancel_on_kill

    @property
    @abstractmethod
    def _ids(self) -> Sequence[str]:
        """What is waited for."""

    @abstractmethod
    async def _end(self) -> None:
        """End it."""

    async def on_kill(self) -> None:
        """End what was started, if that is wanted and the task waits for it no more.

        Airflow calls this also where another triggerer has taken the task over, as this one was frozen, or cut off, for
        half a minute. And it cancels the trigger again and again meanwhile.
        """
        if self.cancel_on_kill:
            await asyncio.shield(in_background(self._end_unless_waited_for()))

    async def _end_unless_waited_for(self) -> None:
        try:
            # Airflow answers the threads of sync_to_async only.
            waits = await sync_to_async(self._is_waited_for)()
        except Exception as error:
            log.warning("Nothing is ended, as Airflow does not tell the task's state: %s", type(error).__name__)
            return
        if waits:
            log.warning("Nothing is ended, as the task still waits: another triggerer has taken it over")
            return
        await self._end()

    def _is_waited_for(self) -> bool:
        ti: Any = self.task_instance
        if ti is None or state_of(ti) != "deferred":
            return False
        # A task that was cleared may wait by now for what it has started since, and then shows that.
        place = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        page = XCom.get_one(key=self._link.xcom_key, **place)
        return any(one in str(page) for one in self._ids)


def state_of(ti: Any) -> str | None:
    """Return the state that a task has by now; ``None`` if it has none, or Airflow knows it no more. May block.

    For Airflow 3.3, in a task, or in a trigger in a thread of ``sync_to_async``, as it answers no others.

    :param ti: an instance of the task, of whichever try.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
    )
    # One, under a name that holds the map index if there is one.
    return next(iter(states.get(ti.run_id, {}).values()), None)
