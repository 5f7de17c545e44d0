"""Triggers that watch Bitrix24's running workflows. All of one portal in one triggerer share their requests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.calls import terminate_workflow
from airflow_provider_workflows.bitrix24.ending import end_workflows
from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import find_workflow_ids, running_workflows, watch_workflows
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.links.bitrix24 import WorkflowLink
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import TOLERANCE, PauseDueError
from airflow_provider_workflows.rest.seconds import check_poll_interval
from airflow_provider_workflows.triggers.ending import EndingTrigger
from airflow_provider_workflows.triggers.polling import (
    PollTrigger,
    SerializableTrigger,
    log,
    seconds_until_next_poll,
)

#: Ids that one event carries at most.
IDS = 1000
#: Where the asset's state store keeps the ids that were reported.
REPORTED = "reported_workflow_ids"


class RunningWorkflowsTrigger(PollTrigger):
    """Waits until the number of matching running workflows lies in a range.

    Fires ``{"status": "success", "workflow_ids": [ids of up to 1,000, the oldest first]}``.

    :param bitrix24_conn_id: id of the Airflow connection.
    :param filters: Bitrix24's FILTER object, as JSON.
    :param stuck_for: only workflows whose lock ended so many seconds ago.
    :param min_count: the range's lower end.
    :param max_count: its upper end; ``None`` for no upper end.
    :param poll_interval: seconds between two polls.
    :param deadline: Unix time after which it polls no more.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help.
    """

    def __init__(
        self,
        *,
        bitrix24_conn_id: str,
        filters: Mapping[str, Any],
        stuck_for: float | None,
        min_count: int,
        max_count: int | None,
        poll_interval: float,
        deadline: float | None,
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__(poll_interval=poll_interval, deadline=deadline, tolerance=tolerance)
        self.bitrix24_conn_id = bitrix24_conn_id
        self.filters = dict(filters)
        self.stuck_for = stuck_for
        self.min_count = min_count
        self.max_count = max_count

    def _hook(self) -> Bitrix24Hook:
        return Bitrix24Hook(self.bitrix24_conn_id)

    async def _poll(self, client: AsyncBitrix24Client) -> Mapping[str, Any] | None:
        wanted = wanted_now(self.filters, self.stuck_for, self.poll_interval)
        plan = watch_workflows(wanted, min_count=self.min_count, max_count=self.max_count)
        seen = await client.run(plan, longest_pause=0)
        return None if seen.ids is None else {"workflow_ids": seen.ids}


class WorkflowsEndedTrigger(EndingTrigger):
    """Waits until none of certain workflows runs any more.

    Every event carries ``workflow_ids``.

    :param bitrix24_conn_id: id of the Airflow connection.
    :param workflow_ids: the workflows.
    :param poll_interval: seconds between two polls.
    :param deadline: Unix time after which it polls no more.
    :param tolerance: seconds for which polls may fail one after the other, where trying again can help.
    :param cancel_on_kill: terminate them when the deferred task is killed by a user (Airflow 3.3 and later).
    """

    _link = WorkflowLink()

    def __init__(
        self,
        *,
        bitrix24_conn_id: str,
        workflow_ids: Sequence[str],
        poll_interval: float,
        deadline: float | None,
        tolerance: float = TOLERANCE,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__(
            poll_interval=poll_interval, deadline=deadline, tolerance=tolerance, cancel_on_kill=cancel_on_kill
        )
        self.bitrix24_conn_id = bitrix24_conn_id
        self.workflow_ids = list(workflow_ids)
        self._left: Collection[str] = self.workflow_ids

    def _hook(self) -> Bitrix24Hook:
        return Bitrix24Hook(self.bitrix24_conn_id)

    def _carried(self) -> Mapping[str, Any]:
        return {"workflow_ids": self.workflow_ids}

    async def _poll(self, client: AsyncBitrix24Client) -> Mapping[str, Any] | None:
        self._left = await client.run(running_workflows(self._left), longest_pause=0)
        return None if self._left else {}

    @property
    def _ids(self) -> Sequence[str]:
        return self.workflow_ids

    async def _end(self) -> None:
        """Terminate the workflows."""
        async with self._hook().shared_client() as client:
            report = await client.run(end_workflows(self.workflow_ids, terminate_workflow))
        log.info("The task was killed. Terminated: %s; failed: %s", report.ended, report.failed)


class WorkflowsAppearedTrigger(SerializableTrigger, BaseEventTrigger):
    """Starts Dags when running workflows appear that match: for Airflow 3's ``AssetWatcher``.

    Fires ``{"workflow_ids": [ids of up to 1,000, the oldest first]}`` once for each appearance: a workflow that goes
    on matching is not reported again, one that stopped matching for a while is. From Airflow 3.3 on the asset's state
    store keeps what was reported, so that a restart of the triggerer reports nothing twice. An error is logged, and
    polling goes on.

    :param bitrix24_conn_id: id of the Airflow connection.
    :param filters: Bitrix24's FILTER object, as for ``ListWorkflowsOperator``.
    :param stuck_for: only workflows whose lock ended this long, or this many seconds, ago; Bitrix24 calls them stuck
        after 5 minutes.
    :param poll_interval: seconds between two polls.
    :raises ArgumentError: if the interval cannot be right.
    :raises FilterError: if the filter is not one that Bitrix24 would apply.
    """

    def __init__(
        self,
        *,
        bitrix24_conn_id: str = Bitrix24Hook.default_conn_name,
        filters: Mapping[str, Any] | None = None,
        stuck_for: timedelta | float | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bitrix24_conn_id = bitrix24_conn_id
        check_poll_interval(poll_interval)
        self.filters = WorkflowFilter.parse(filters).params()
        self.stuck_for = stuck_for.total_seconds() if isinstance(stuck_for, timedelta) else stuck_for
        self.poll_interval = poll_interval
        wanted_now(self.filters, self.stuck_for, poll_interval)

    def shared_stream_key(self) -> Hashable:
        """Return the key by which triggers that watch for the same share their polls."""
        return json.dumps(self.serialize())

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[list[str], None]:
        """Poll again and again, and yield the ids of all that match."""
        interval = kwargs["poll_interval"]
        while True:
            pause = 0.0
            try:
                # Read again after each failure: the credential may have been rotated.
                async with Bitrix24Hook(kwargs["bitrix24_conn_id"]).shared_client() as client:
                    while True:
                        wanted = wanted_now(kwargs["filters"], kwargs["stuck_for"], interval)
                        yield await client.run(find_workflow_ids(wanted), longest_pause=0)
                        await AccountHook.clock.asleep(seconds_until_next_poll(interval, AccountHook.clock.time()))
            except PauseDueError as due:
                log.warning("A poll failed, and polling goes on: %s", due.pause.reason)
                pause = due.pause.seconds
            except ProviderError as error:
                log.error("A poll failed, and polling goes on: %s", error.message)
            await AccountHook.clock.asleep(pause + seconds_until_next_poll(interval, AccountHook.clock.time() + pause))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[list[str]]) -> AsyncIterator[TriggerEvent]:
        """Fire for those that were not there at the poll before."""
        store: Any = getattr(self, "asset_state_store", None)
        reported = set(await store.aget(REPORTED) or ()) if store else set()
        async for matching in shared_stream:
            new = [workflow_id for workflow_id in matching if workflow_id not in reported]
            for first in range(0, len(new), IDS):
                yield TriggerEvent({"workflow_ids": new[first : first + IDS]})
            if reported != set(matching):
                reported = set(matching)
                if store:
                    await store.aset(REPORTED, matching)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll by itself, as Airflow before 3.3 has no shared streams."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as stream:
            async for event in self.filter_shared_stream(stream):
                yield event


def wanted_now(filters: Mapping[str, Any], stuck_for: float | None, interval: float) -> WorkflowFilter:
    """Return the filter of this poll. All that poll at an interval ask for the same moment, and so share one call.

    :param stuck_for: only workflows whose lock ended so many seconds ago.
    :param interval: seconds between two polls.
    """
    age = None if stuck_for is None else timedelta(seconds=stuck_for)
    moment = AccountHook.clock.time() // interval * interval
    wanted = WorkflowFilter.parse(filters, stuck_for=age, now=datetime.fromtimestamp(moment, UTC))
    return replace(wanted, by_clock=age is not None)
