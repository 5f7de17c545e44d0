"""The base of tasks that end many: the report is pushed however the task ends, and a kill stops the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.ending import EndReport, NotAllEndedError
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.tasks.arguments import check_final, check_path
from airflow_provider_workflows.tasks.base import KILLED, ProviderTask
from airflow_provider_workflows.tasks.earlier_tries import EarlierTries
from airflow_provider_workflows.tasks.record import EndRecord

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

__all__ = ["EndingTask", "NotAllEndedError", "Reporting", "finish"]

log = logging.getLogger(__name__)


class Reporting:
    """The report, the record and the notes for a retry of one part of a task's work.

    :param report: filled while the work goes on.
    :param record_path: where the record is kept; ``None``: there is none.
    :param more: returns what else belongs into the task's result.
    """

    def __init__(
        self,
        context: Context,
        report: EndReport,
        record_path: str | None,
        clock: Clock,
        more: Callable[[], dict[str, Any]],
    ) -> None:
        self._context = context
        self._report = report
        self._more = more
        self.earlier = EarlierTries(context, clock)
        self._record = EndRecord(record_path, _place(context)) if record_path else None
        if self._record is not None:
            self._record.go_on(report)
        # What an earlier try has ended runs no more; this one would call it ended by others.
        report.unknown.update(self.earlier.ended, self.earlier.perhaps_ended)
        self._is_over = False
        self._lock = Lock()

    def about_to_end(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write down what is about to be ended, before anything is.

        :param rows: of each its ``id``, and what is known of it.
        """
        if self._record is not None:
            self._record.about_to_end(rows)

    def push(self) -> None:
        """Push the report, if there is anything in it. An error is logged."""
        if not self._report.requested:
            return
        try:
            self._context["ti"].xcom_push(key="return_value", value=self._report.json() | self._more())
        except Exception:
            log.exception("The report could not be pushed: %s", self._report.json())

    def push_so_far(self) -> None:
        """Push and keep what is known so far, while the work goes on."""
        with self._lock:
            if not self._is_over:
                log.warning("The task was told to end; waiting for the requests under way. %s", self._report)
                self.push()
                self.earlier.keep(self._report)

    def work_is_over(self) -> None:
        """Let no push of unfinished work follow the ones from here on."""
        with self._lock:
            self._is_over = True

    def keep(self) -> None:
        """Keep the record, and what a retry has to know."""
        self.earlier.keep(self._report)
        if self._record is not None:
            self._record.settle(self._report)


class EndingTask(ProviderTask):
    """A task that ends many."""

    _client: Any = None
    _killed = False
    _reporting: Reporting | None = None

    def __init__(self, *, record_path: str | XComArg | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.record_path: Any = record_path

    def _check(self) -> None:
        super()._check()
        self._check_given()
        if self.record_path is not None:
            check_final(self.record_path, "record_path", check_path)

    def on_kill(self) -> None:
        """Send nothing more: what is under way is waited for, and the work ends with its report."""
        # Called in a signal handler: nothing here may wait, log, or talk to Airflow.
        self._killed = True
        if self._client is not None:
            self._client.stop(KILLED)
        if self._reporting is not None:
            # Airflow 3 gives the task five seconds, and what is under way may take longer.
            Thread(target=self._reporting.push_so_far, daemon=True).start()

    @contextmanager
    def _reported(
        self,
        context: Context,
        report: EndReport,
        ids: Iterable[str] = (),
        more: Callable[[], dict[str, Any]] = dict,
    ) -> Iterator[Reporting]:
        """Report some work, however it ends.

        If an error, a timeout or a kill ends the work, the report is logged, and pushed if there is anything in it; the
        record and what a retry has to know are kept in any case.

        :param report: filled while the work goes on.
        :param ids: what is to be ended, if that is known before; those of unknown outcome count as failed.
        :param more: returns what else belongs into the task's result.
        """
        self._client = self.hook.get_conn()
        if self._killed:
            self._client.stop(KILLED)
        reporting = Reporting(context, report, self.record_path, self.hook.clock, more)
        observer = self._client.observer

        def ended(id: str) -> None:
            reporting.earlier.note(id)
            observer.count("ended")

        report.on_ended = ended
        self._reporting = reporting
        try:
            try:
                yield reporting
            finally:
                reporting.work_is_over()
        except TaskDeferred:
            raise
        except BaseException as error:  # also a task's timeout, which strikes anywhere
            reason = (
                error.message
                if isinstance(error, ProviderError)
                else f"not tried: task stopped by {type(error).__name__}"
            )
            report.give_up(reason, ids)
            log.warning("The task was stopped by %s before it was done. %s", type(error).__name__, report)
            reporting.push()
            raise
        finally:
            reporting.keep()


def _place(context: Context) -> dict[str, Any]:
    ti: Any = context["ti"]
    return {"dag": ti.dag_id, "run": ti.run_id, "task": ti.task_id, "map_index": ti.map_index, "try": ti.try_number}


def finish(context: Context, report: EndReport, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the report as the task's result.

    :param more: what else belongs into the task's result.
    :raises NotAllEndedError: if any failed, after the report was pushed to XCom.
    :raises ApiError: the same, if one error stopped it all before anything was done.
    """
    log.info("%s", report)
    told: dict[str, Any] = report.json() | (more or {})
    failure = report.failure
    if failure is None:
        return told
    context["ti"].xcom_push(key="return_value", value=told)
    if report.stopped_by is not None and len(report.failed) == report.requested:
        raise report.stopped_by
    raise failure from report.stopped_by
