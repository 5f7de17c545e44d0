"""Tasks that defer, without Airflow's services: the trigger runs here, and another worker goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred
from airflow.triggers.base import BaseTrigger
from pydantic import ImportString, TypeAdapter

from airflow_provider_workflows.triggers import polling


def revive(trigger: BaseTrigger) -> BaseTrigger:
    """Return the trigger as the triggerer makes it: from what Airflow keeps of it, which is JSON."""
    path, arguments = json.loads(json.dumps(trigger.serialize()))
    revived: BaseTrigger = TypeAdapter(ImportString[type[BaseTrigger]]).validate_python(path)(**arguments)
    return revived


def fire(trigger: BaseTrigger, seconds: float = 300.0) -> Any:
    """Run a trigger until its first event, and give what that says."""

    async def first() -> Any:
        async for event in revive(trigger).run():
            return json.loads(json.dumps(event.payload))
        return None

    # No scheduler is here that must hear of anything before.
    with patch.object(polling, "MIN_DEFERRED_SECONDS", 0.0):
        return asyncio.run(asyncio.wait_for(first(), seconds))


def resume(make: Callable[[], BaseOperator], context: Any, deferred: TaskDeferred, event: Any) -> Any:
    """Go on in another worker."""
    assert not deferred.kwargs, "airflow dags test loses them"
    return make().resume_execution(deferred.method_name, {"event": event}, context)


def run_through(make: Callable[[], BaseOperator], context: Any) -> tuple[Any, int]:
    """Run a task to its end, in a new worker after each deferral.

    :param make: makes the operator.
    :param context: the task's context.
    :returns: the task's result, and how often it was deferred.
    """
    deferrals = 0
    try:
        return make().execute(context), deferrals
    except TaskDeferred as first:
        deferred = first
    while True:
        deferrals += 1
        try:
            return resume(make, context, deferred, fire(deferred.trigger)), deferrals
        except TaskDeferred as later:
            deferred = later
