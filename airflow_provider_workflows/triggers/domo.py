"""Triggers that watch Domo's workflow instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_workflows.domo.aio import AsyncDomoClient
from airflow_provider_workflows.domo.cancelling import cancel_instances
from airflow_provider_workflows.domo.watching import unfinished
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.triggers.polling import PollTrigger, log


class InstancesTrigger(PollTrigger):
    """Waits until workflow instances are in a terminal status, or are not there.

    :param domo_conn_id: id of the Airflow connection.
    :param instance_ids: the instances.
    :param poll_interval: seconds between two looks.
    :param deadline: Unix time after which it looks no more.
    :param cancel_on_kill: cancel them when the deferred task is killed by a user (Airflow 3.3 and later).
    """

    def __init__(
        self,
        *,
        domo_conn_id: str,
        instance_ids: Sequence[str],
        poll_interval: float,
        deadline: float | None,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__(poll_interval=poll_interval, deadline=deadline)
        self.domo_conn_id = domo_conn_id
        self.instance_ids = list(instance_ids)
        self.cancel_on_kill = cancel_on_kill
        self._left = self.instance_ids

    def _hook(self) -> DomoHook:
        return DomoHook(self.domo_conn_id)

    async def _poll(self, client: AsyncDomoClient) -> Mapping[str, Any] | None:
        self._left = await client.run(unfinished(self._left), longest_pause=0)
        return None if self._left else {}

    async def on_kill(self) -> None:
        """Cancel the instances."""
        if not self.cancel_on_kill:
            return
        async with self._hook().shared_client() as client:
            report = await client.run(cancel_instances(self.instance_ids))
        log.info("The task was killed. Cancelled: %s; failed: %s", report.ended, report.failed)
