"""What operators that start something, and may wait for its end, have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.plans import SINGLE_POLL, Plan, poll_once, poll_until
from airflow_provider_workflows.rest.redaction import escape_controls
from airflow_provider_workflows.rest.seconds import check_poll_interval, check_seconds
from airflow_provider_workflows.rest.start_once import StartOnce, StartRequest
from airflow_provider_workflows.rest.sync import GRACE
from airflow_provider_workflows.rest.threads import in_thread
from airflow_provider_workflows.tasks.base import KILLED, ProviderTask
from airflow_provider_workflows.tasks.deferring import deadline_after
from airflow_provider_workflows.tasks.run_state import ExternalIdStore
from airflow_provider_workflows.triggers.polling import PollTrigger, validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

#: Seconds to wait for the end of what was started: as long as Airflow's sensors wait.
WEEK = 7 * 24 * 3600.0
#: Seconds that a signal's handler waits for the end of what was started, before it lets the task go on to its own end.
HANDLER_SECONDS = 1.0
#: Seconds for which Airflow is asked whether another try has begun: it gives a killed task five in all.
ASK_SECONDS = 2.0
LEFT_TO_ANOTHER = "it is left running, as Airflow had taken this try for lost, and another one goes on with it"


class StillRunningError(ProviderError):
    """What a task started did not end in time."""

    retry_helps = True
    advice = "If this is how long it takes, raise wait_timeout."


class StartOperator(ProviderTask):
    """Starts something once, and may wait for its end."""

    _client: Any = None
    _start_once: StartOnce | None = None
    _notes: ExternalIdStore | None = None
    _killed = False
    #: Whether the task is at work, so that it can still wait for what a signal's handler has begun.
    _works = False
    _ending: Future[None] | None = None

    def __init__(
        self,
        *,
        wait_for_completion: bool,
        poll_interval: float,
        wait_timeout: float,
        tolerance: float,
        deferrable: bool,
        cancel_on_kill: bool,
        sole_starter: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout
        self.tolerance = tolerance
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.sole_starter = sole_starter

    def _check(self) -> None:
        super()._check()
        check_poll_interval(self.poll_interval)
        check_seconds(self.wait_timeout, "wait_timeout")
        check_seconds(self.tolerance, "tolerance")

    @property
    @abstractmethod
    def _request(self) -> StartRequest:
        """What is to be started."""

    @abstractmethod
    def _about(self) -> str:
        """Return what is started, for the log."""

    @abstractmethod
    def _show(self, started: str | None, context: Context) -> str:
        """Push a link to it, or to where it will be seen, and return the link."""

    @abstractmethod
    def _left(self, started: str) -> Plan[Collection[str]]:
        """Poll once, and return it if it still runs."""

    @abstractmethod
    def _trigger(self, started: str, deadline: float) -> PollTrigger:
        """Return what waits in the triggerer."""

    @abstractmethod
    def _id_in(self, event: Mapping[str, Any]) -> str:
        """Return the id that the trigger's event carries back, checked."""

    @abstractmethod
    def _cancel(self, started: str) -> EndReport:
        """End it."""

    @abstractmethod
    def _result(self, started: str, request: StartRequest, context: Context) -> Any:
        """Return the task's result, or raise if it did not end well."""

    def execute(self, context: Context) -> Any:
        """Start it, and wait for its end if that is wanted."""
        self._check_given()
        self._start_once = self._once(context)
        with self._at_work():
            log.info("Starting %s; see %s", escape_controls(self._about()), self._show(None, context))
            started = self._start_once.start()
            log.info("Its page: %s", self._show(started, context))
            if self.wait_for_completion:
                log.info("Waiting for its end, with a poll every %g s", self.poll_interval)
                self._wait(started)
            return self._result(started, self._start_once.request, context)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Let a kill end what was started before the task ends."""
        self._works = True
        try:
            yield
        finally:
            self._works = False
            # Killed when its id was not known yet.
            if self._killed:
                self.on_kill()
            if self._ending is not None:
                wait([self._ending], GRACE)

    def _once(self, context: Context) -> StartOnce:
        # Read here, as a signal's handler must not talk to Airflow.
        self._client = self.hook.get_conn()
        if self._killed:
            self._client.stop(KILLED)
        self._notes = ExternalIdStore(context, self)
        return StartOnce(self._request, self._notes, self.hook.run, sole_starter=self.sole_starter)

    def _wait(self, started: str) -> None:
        if not self.deferrable:
            over = poll_until(
                lambda: self._over(started),
                repeat(self.poll_interval),
                f"{started} is running",
                wait_for=self.wait_timeout,
                tolerance=self.tolerance,
            )
            if not self.hook.run(over):
                self._give_up(started)
            return
        deadline = deadline_after(self.wait_timeout, self.execution_timeout)
        if not self._is_over(started, tolerance=SINGLE_POLL):
            self.defer(trigger=self._trigger(started, deadline), method_name="execute_complete")

    def _is_over(self, started: str, tolerance: float = 0.0) -> bool:
        """Poll once whether it has ended, for a minute at most."""
        return bool(self.hook.run(poll_once(lambda: self._over(started), f"{started} is running", tolerance=tolerance)))

    def _over(self, started: str) -> Plan[bool | None]:
        """Poll once whether it has ended: ``True``, or ``None``."""
        return None if (yield from self._left(started)) else True

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Return the result, or raise if it did not end well."""
        status = validate_event(event)
        started = self._id_in(event)
        self._start_once = self._once(context)
        self._start_once.id = started
        with self._at_work():
            if status == "timeout" and not self._is_over(started):
                self._give_up(started)
            return self._result(started, self._start_once.request, context)

    def _give_up(self, started: str) -> None:
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.wait_timeout
        waited = min(limit, self.wait_timeout)
        raise StillRunningError(f"{started} was still running after {waited:.0f} s; {self._end(started)}")

    def on_kill(self) -> None:
        """Start nothing any more, and cancel what was started. An error is logged, and hides none that came before."""
        self._killed = True
        if self._client is not None:
            self._client.stop(KILLED)
        started = self._start_once.id if self._start_once else None
        if started is None:
            return
        if self._ending is None:
            # Not in a signal's handler: if that struck while the task talked to Airflow, it would wait for itself.
            self._ending = in_thread(lambda: self._end_killed(started))
        wait([self._ending], HANDLER_SECONDS if self._works else GRACE)

    def _end_killed(self, started: str) -> None:
        became = LEFT_TO_ANOTHER if self._is_passed_on() else self._end(started)
        log.warning("The task was killed. It had started %s; %s", started, became)

    def _is_passed_on(self) -> bool:
        """Return whether another try goes on with what was started. If Airflow does not tell, it is taken for a no."""
        if self._notes is None:
            return False
        try:
            return in_thread(self._notes.is_passed_on).result(ASK_SECONDS)
        except Exception as error:
            log.warning("Airflow does not tell whether another try has begun: %s", type(error).__name__)
            return False

    def _end(self, started: str) -> str:
        """Cancel what was started, and return what became of that."""
        if not self.cancel_on_kill:
            return "it was left running, as cancel_on_kill is False"
        try:
            report = self._cancel(started)
        except Exception as error:
            why = error.message if isinstance(error, ProviderError) else error
            return f"it could not be cancelled, and may still run: {why}"
        if started in report.failed:
            return f"it could not be cancelled, and may still run: {report.failed[started]}"
        if started in report.already_ended:
            return "it had ended meanwhile"
        if self._start_once is not None:
            # What the task itself has ended is no result; a retry starts another one.
            try:
                self._start_once.notes.forget()
            except Exception:
                log.exception("That %s was cancelled could not be stored: a retry may take it for the result", started)
        return "it was cancelled"
