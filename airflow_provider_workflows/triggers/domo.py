"""Triggers that watch Domo's workflow instances."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_workflows.domo.aio import AsyncDomoClient
from airflow_provider_workflows.domo.cancelling import cancel_instances
from airflow_provider_workflows.domo.watching import Watch, poll_instances
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.rest.plans import TOLERANCE
from airflow_provider_workflows.triggers.ending import EndingTrigger
from airflow_provider_workflows.triggers.polling import log


class InstancesTrigger(EndingTrigger):
    """Waits until workflow instances are in a terminal status, or cannot be read; the task then reads which it is.

    Every event carries ``instance_ids``, and ``checkpoint`` if there is one.

    :param domo_conn_id: id of the Airflow connection.
    :param instance_ids: the instances.
    :param poll_interval: seconds between two polls.
    :param deadline: Unix time after which it polls no more.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help.
    :param cancel_on_kill: cancel them when the deferred task is killed by a user (Airflow 3.3 and later).
    :param checkpoint: what the task needs to go on, as JSON.
    """

    _link = InstanceLink()

    def __init__(
        self,
        *,
        domo_conn_id: str,
        instance_ids: Sequence[str],
        poll_interval: float,
        deadline: float | None,
        tolerance: float = TOLERANCE,
        cancel_on_kill: bool = False,
        checkpoint: Any = None,
    ) -> None:
        super().__init__(
            poll_interval=poll_interval, deadline=deadline, tolerance=tolerance, cancel_on_kill=cancel_on_kill
        )
        self.domo_conn_id = domo_conn_id
        self.instance_ids = list(instance_ids)
        self.checkpoint = checkpoint
        self._watch = Watch(list(instance_ids))
        self._phase = random.uniform(0, poll_interval)  # noqa: S311

    def _hook(self) -> DomoHook:
        return DomoHook(self.domo_conn_id)

    def _carried(self) -> Mapping[str, Any]:
        checkpoint = {} if self.checkpoint is None else {"checkpoint": self.checkpoint}
        return {"instance_ids": self.instance_ids, **checkpoint}

    async def _poll(self, client: AsyncDomoClient) -> Mapping[str, Any] | None:
        try:
            # The next poll is the next attempt.
            await client.run(poll_instances(self._watch, once=True), longest_pause=0)
        finally:
            if self._watch.answered:
                self._failing_since = None
        return None if self._watch.left else {}

    def _seconds_until_next_poll(self, now: float) -> float:
        # Polls are not shared, so those of many are spread over the whole interval.
        return self.poll_interval - (now - self._phase) % self.poll_interval

    @property
    def _ids(self) -> Sequence[str]:
        return self.instance_ids

    async def _end(self) -> None:
        """Cancel the instances."""
        async with self._hook().shared_client() as client:
            report = await client.run(cancel_instances(self.instance_ids))
        log.info("The task was killed. Cancelled: %s; failed: %s", report.ended, report.failed)
