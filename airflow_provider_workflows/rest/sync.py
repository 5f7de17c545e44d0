"""Clients of the worker: plans run in threads, over one ``requests.Session``."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from airflow_provider_workflows.rest.base_client import BaseClient
from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.threads import finish, in_thread

# A Dag file sends nothing, and an HTTP library takes long to load.
if TYPE_CHECKING:
    from airflow_provider_workflows.rest.thread_runtime import ThreadRuntime

#: Seconds that an interrupted task waits for what is under way. Airflow kills a task a minute after it asked it to end.
GRACE = 45.0
#: Seconds within which a task reacts to a signal.
HEED = 0.5

C = TypeVar("C")
T = TypeVar("T")


class Client(BaseClient[C]):
    """Runs plans against one account, over reused connections."""

    _runtime: ThreadRuntime

    def _make_runtime(self) -> ThreadRuntime:
        from airflow_provider_workflows.rest.thread_runtime import ThreadRuntime

        return ThreadRuntime(self.http, self._clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._runtime.close()

    def stop(self, reason: str) -> None:
        """Send nothing more: plans collect what is under way, and end. Safe in signal handlers.

        :param reason: why, for the :class:`~airflow_provider_workflows.rest.errors.StoppedError` that plans meet.
        """
        self._driver.stop(reason)

    def run(self, plan: Plan[T], *, longest_pause: float | None = None, retry_timeout: float = RETRY_TIMEOUT) -> T:
        """Run a plan to its end.

        The plan runs in a thread: what strikes the caller's, such as Airflow's timeout, stops the plan as :meth:`stop`
        does, and goes on up when the plan has ended.

        :param plan: a generator of the vendor's modules.
        :param longest_pause: seconds that the plan may pause at once; default: as it needs.
        :param retry_timeout: seconds for which a call that the server refuses is sent again; an hour.
        :returns: what the plan returns.
        :raises ApiError: a failed call that the plan does not handle.
        :raises PauseDueError: if it has to pause for longer.
        """
        running: Future[T] | None = None
        try:
            running = in_thread(
                lambda: finish(self._driver.run(plan, longest_pause=longest_pause, retry_timeout=retry_timeout))
            )
            while True:
                # A signal that the system gives to another thread does not wake this one, which has to handle it.
                with suppress(TimeoutError):
                    return running.result(timeout=HEED)
                if running.done():
                    return running.result()
        except BaseException as error:
            if isinstance(error, ProviderError):
                error.where = self.where
            if running is None or not running.done():
                self.stop(f"the task was interrupted by {type(error).__name__}")
                wait([running] if running else [], timeout=GRACE)
            raise
