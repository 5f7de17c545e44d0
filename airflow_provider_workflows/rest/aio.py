"""Clients of the triggerer: plans run in the event loop, over one ``httpx.AsyncClient``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow_provider_workflows.rest.base_client import BaseClient
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Plan

# A Dag file sends nothing, and an HTTP library takes long to load.
if TYPE_CHECKING:
    from airflow_provider_workflows.rest.loop_runtime import LoopRuntime

C = TypeVar("C")
T = TypeVar("T")


class AsyncClient(BaseClient[C]):
    """Runs plans against one account concurrently, over one connection pool. Never blocks the event loop."""

    _runtime: LoopRuntime

    def _make_runtime(self) -> LoopRuntime:
        from airflow_provider_workflows.rest.loop_runtime import LoopRuntime

        return LoopRuntime(self.http, self._clock)

    async def close(self) -> None:
        """Close the connections."""
        await self._runtime.close()

    async def run(
        self, plan: Plan[T], *, longest_pause: float | None = None, retry_timeout: float = RETRY_TIMEOUT
    ) -> T:
        """Run a plan to its end, as :meth:`.Client.run` says."""
        try:
            return await self._driver.run(plan, longest_pause=longest_pause, retry_timeout=retry_timeout)
        except ProviderError as error:
            error.where = self.where
            raise
