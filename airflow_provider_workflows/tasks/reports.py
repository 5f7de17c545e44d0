"""The end of a task that acts on many: log and push the report, fail if any failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_workflows.rest.ending import EndReport, NotAllEndedError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["NotAllEndedError", "finish", "reporting"]

log = logging.getLogger(__name__)


@contextmanager
def reporting(context: Context, report: EndReport, more: Callable[[], dict[str, Any]] = dict) -> Iterator[None]:
    """Log and push the report if the work is ended by an error, a timeout or a kill, before that goes on up.

    :param context: the task's context.
    :param report: filled while the work goes on.
    :param more: gives what the task tells besides.
    """
    try:
        yield
    except TaskDeferred:
        raise
    except BaseException:  # also a task's timeout, which strikes anywhere
        log.warning("Ended before it was done. %s", report)
        context["ti"].xcom_push(key="return_value", value=report.json() | more())
        raise


def finish(context: Context, report: EndReport, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the report as the task's result.

    :param context: the task's context.
    :param report: what was done.
    :param more: what the task tells besides.
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
