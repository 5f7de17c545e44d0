"""Tasks that defer, without Airflow's services: the trigger runs here, and another worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_provider_workflows.testing import tasks
from airflow_provider_workflows.triggers import polling


def fire(trigger: BaseTrigger, seconds: float = 300.0) -> Any:
    """Run a trigger until its first event, and give what that says."""
    # No scheduler is here that must hear of anything before.
    with patch.object(polling, "MIN_DEFERRED_SECONDS", 0.0):
        return tasks.run_trigger(trigger, seconds)


def resume(make: Callable[[], BaseOperator], context: Any, deferred: TaskDeferred, event: Any) -> Any:
    """Go on in another worker."""
    assert not deferred.kwargs, "airflow dags test loses them"
    return make().resume_execution(deferred.method_name, {"event": event}, context)


def run_through(
    make: Callable[[], BaseOperator], context: Any, meanwhile: Callable[[], object] = lambda: None
) -> tuple[Any, int]:
    """Run a task to its end, in a new worker after each deferral.

    :param make: makes the operator.
    :param context: the task's context.
    :param meanwhile: what happens each time when it has just been deferred.
    :returns: the task's result, and how often it was deferred.
    """
    run_trigger = tasks.run_trigger

    def run(trigger: BaseTrigger) -> Any:
        meanwhile()
        return run_trigger(trigger)

    with patch.object(polling, "MIN_DEFERRED_SECONDS", 0.0), patch.object(tasks, "run_trigger", run):
        return tasks.run_through(make, context)
