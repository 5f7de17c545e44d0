"""What operators that start something, and may wait for its end, have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection
from itertools import repeat
from typing import TYPE_CHECKING, Any

from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import TOLERANCE, Plan, poll_until
from airflow_provider_workflows.tasks.arguments import check_poll_interval, check_seconds
from airflow_provider_workflows.tasks.base import ProviderTask
from airflow_provider_workflows.tasks.deferring import (
    deadline_after,
    load_checkpoint,
    save_checkpoint,
)
from airflow_provider_workflows.tasks.start_record import StartRecord
from airflow_provider_workflows.triggers.polling import PollTrigger, validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

#: Seconds to wait for the end of what was started: as long as Airflow's sensors wait.
WEEK = 7 * 24 * 3600.0


class StillRunningError(ProviderError):
    """What a task started did not end in time."""

    retry_helps = True


class StartOperator(ProviderTask):
    """Starts something once, and may wait for its end.

    :param wait_for_completion: wait until it ends.
    :param poll_interval: seconds between two looks while waiting.
    :param wait_timeout: seconds to wait at most.
    :param deferrable: wait in the triggerer.
    :param cancel_on_kill: cancel it when the task is killed, or waits too long.
    """

    #: The vendor's.
    hook: Any
    _started: str | None = None
    _record: StartRecord | None = None
    _killed = False

    def __init__(
        self,
        *,
        wait_for_completion: bool,
        poll_interval: float,
        wait_timeout: float,
        deferrable: bool,
        cancel_on_kill: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill

    def _check(self) -> None:
        check_poll_interval(self.poll_interval)
        check_seconds(self.wait_timeout, "wait_timeout")

    @abstractmethod
    def _earlier(self, record: StartRecord, context: Context) -> str | None:
        """Return the id of what an earlier try has started, if the task is to go on with it."""

    @abstractmethod
    def _start(self, record: StartRecord) -> str:
        """Start it, and give its id."""

    @abstractmethod
    def _show(self, started: str, context: Context) -> None:
        """Push a link to it."""

    @abstractmethod
    def _left(self, started: str) -> Plan[Collection[str]]:
        """Look once, and give it if it still runs."""

    @abstractmethod
    def _trigger(self, started: str, deadline: float) -> PollTrigger:
        """Return what waits in the triggerer."""

    @abstractmethod
    def _cancel(self, started: str) -> dict[str, str]:
        """End it, and give the reason under its id if that failed."""

    @abstractmethod
    def _result(self, started: str, context: Context) -> Any:
        """Return the task's result, or raise if it did not end well."""

    def execute(self, context: Context) -> Any:
        """Start it, and wait for its end if that is wanted."""
        record = self._record = StartRecord(context, self)
        started = self._earlier(record, context)
        if started is None:
            started = self._start(record)
            record.write(id=started)
            log.info("Started %s", started)
        else:
            log.info("Going on with %s, which an earlier try has started", started)
        self._started = started
        if self._killed:
            self.on_kill()
        self._show(started, context)
        if self.wait_for_completion:
            self._wait(started, context)
        return self._result(started, context)

    def _wait(self, started: str, context: Context) -> None:
        if not self.deferrable:
            over = poll_until(
                lambda: self._over(started),
                repeat(self.poll_interval),
                f"{started} is running",
                wait_for=self.wait_timeout,
                tolerance=TOLERANCE,
            )
            if not self.hook.run(over):
                self._give_up(started)
        elif not self.hook.run(self._over(started)):
            save_checkpoint(context, started)
            deadline = deadline_after(self.wait_timeout, self.execution_timeout)
            self.defer(trigger=self._trigger(started, deadline), method_name="execute_complete")

    def _over(self, started: str) -> Plan[bool | None]:
        """Look once whether it has ended: ``True``, or ``None``."""
        return None if (yield from self._left(started)) else True

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Tell how it ended."""
        started = load_checkpoint(context)
        self._started, self._record = started, StartRecord(context, self)
        if validate_event(event) == "timeout" and not self.hook.run(self._over(started)):
            self._give_up(started)
        return self._result(started, context)

    def _give_up(self, started: str) -> None:
        self.on_kill()
        ending = "it was cancelled" if self.cancel_on_kill else "it was left running"
        raise StillRunningError(f"{started} still ran after {self.wait_timeout:.0f} s; {ending}")

    def on_kill(self) -> None:
        """Cancel what was started. An error is logged, and hides none that came before."""
        self._killed = True
        if not self.cancel_on_kill or self._started is None:
            return
        try:
            if failure := EndReport(requested=1, failed=self._cancel(self._started)).failure:
                raise failure
            if self._record is not None:
                self._record.forget()
        except Exception as error:
            log.warning("%s could not be cancelled, and may still run: %s", self._started, error)
