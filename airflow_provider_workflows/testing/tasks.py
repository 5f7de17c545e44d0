"""Tasks without Airflow's database and services: triggers run here, and the task goes on after them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.triggers.base import BaseTrigger
from pydantic import ImportString, TypeAdapter

from airflow_provider_workflows.hooks.base import AccountHook


class TaskInstance:
    """Keeps XComs; what is no JSON fails the test, as it would fail the task.

    :param returned: what tasks before it have returned, by task id.
    :param max_tries: how often the task may be tried again.
    """

    dag_id, run_id, task_id = "dag", "run", "task"
    map_index = -1
    try_number = 1

    def __init__(self, returned: Mapping[str, Any] | None = None, max_tries: int = 1) -> None:
        self.max_tries = max_tries
        self.xcoms: dict[str, Any] = {}
        self._returned = returned or {}

    def xcom_pull(
        self,
        task_ids: str | Sequence[str] = task_id,
        dag_id: str | None = None,  # noqa: ARG002
        key: str = "return_value",
        default: Any = None,
        **_: Any,
    ) -> Any:
        """Return a value of the task itself, or what one before it, or a list of them, has returned.

        :param task_ids: the task before it, or several.
        :param dag_id: its Dag, which does not matter.
        :param key: of the value.
        :param default: is returned where there is none.
        """
        if not isinstance(task_ids, str):
            return [self.xcom_pull(one, key=key, default=default) for one in task_ids]
        if task_ids in self._returned and key == "return_value":
            return self._returned[task_ids]
        return self.xcoms.get(key, default)

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value.

        :param key: of the value.
        :param value: is JSON.
        """
        self.xcoms[key] = json.loads(json.dumps(value))

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """Return nothing: no task before it is mapped."""


def run_task(
    operator: BaseOperator,
    *,
    params: Mapping[str, Any] | None = None,
    logical_date: datetime | Literal["now"] | None = "now",
    returned: Mapping[str, Any] | None = None,
    **variables: Any,
) -> Any:
    """Run a task to its end, without a database: templates, the task itself, its triggers, and the task after them.

    :param operator: the task, which stays as it is.
    :param params: differ from the defaults of the Dag and the task.
    :param logical_date: of the run; ``None`` for a run by hand, which has none in Airflow 3.
    :param returned: what the tasks before it have returned, by task id.
    :param variables: further variables for templates.
    :returns: what the task returns.
    :raises Exception: whatever the task raises.
    """
    ti = TaskInstance(returned, operator.retries or 0)
    context: Any = {**_variables(operator, params, logical_date), "ti": ti, "task_instance": ti, **variables}

    def worker() -> BaseOperator:
        task = operator.prepare_for_execution()
        if isinstance(task, BaseSensorOperator):
            # Nothing here would reschedule it.
            task.mode = "poke"
        task.render_template_fields(context)
        return task

    return run_through(worker, context)[0]


def run_through(make: Callable[[], BaseOperator], context: Any) -> tuple[Any, int]:
    """Run a task to its end, in a new worker after each deferral, so that whatever the task kept to itself is lost.

    :param make: makes the task as a worker has it.
    :param context: the task's context.
    :returns: the task's result, and how often it was deferred.
    """
    deferrals = 0
    work: Callable[[], Any] = partial(make().execute, context)
    while True:
        try:
            return work(), deferrals
        except TaskDeferred as deferred:
            deferrals += 1
            kwargs = {**(deferred.kwargs or {}), "event": run_trigger(deferred.trigger)}
            work = partial(make().resume_execution, deferred.method_name, kwargs, context)


def _variables(
    operator: BaseOperator, params: Mapping[str, Any] | None, logical_date: datetime | Literal["now"] | None
) -> dict[str, Any]:
    """Return what templates may use."""
    now = pendulum.from_timestamp(AccountHook.clock.time())
    date = pendulum.instance(logical_date) if isinstance(logical_date, datetime) else now
    # The Dag's are among them.
    given: Any = deepcopy(operator.params)
    given.update(dict(params or {}))
    run = SimpleNamespace(run_id="run", run_type="manual", conf=dict(params or {}), logical_date=date, start_date=now)
    if AIRFLOW_V_3_0_PLUS:
        run.run_after = date
    variables = {
        "dag": operator.get_dag(),
        "task": operator,
        "params": given.validate(),
        "dag_run": run,
        "run_id": run.run_id,
        # Airflow 2 asks for it to resolve the result of another task.
        "expanded_ti_count": None,
    }
    if AIRFLOW_V_3_0_PLUS and logical_date is None:
        run.logical_date = None
        return variables
    return {
        **variables,
        "logical_date": date,
        "data_interval_start": date,
        "data_interval_end": date,
        "ds": date.strftime("%Y-%m-%d"),
        "ds_nodash": date.strftime("%Y%m%d"),
        "ts": date.isoformat(),
    }


def revive(trigger: BaseTrigger) -> BaseTrigger:
    """Return the trigger as the triggerer makes it: from what Airflow keeps of it, which is JSON.

    :param trigger: the trigger of the task.
    """
    path, arguments = json.loads(json.dumps(trigger.serialize()))
    revived: BaseTrigger = TypeAdapter(ImportString[type[BaseTrigger]]).validate_python(path)(**arguments)
    return revived


def run_trigger(trigger: BaseTrigger, seconds: float | None = None) -> Any:
    """Run a trigger until its first event, and return what that says.

    :param trigger: the trigger of the task.
    :param seconds: of real time, after which it is given up; default: never.
    :raises TimeoutError: if it is given up.
    """

    async def first() -> Any:
        async for event in revive(trigger).run():
            return json.loads(json.dumps(event.payload))
        return None

    return asyncio.run(asyncio.wait_for(first(), seconds))
