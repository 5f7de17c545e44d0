"""The base of all operators and sensors: arguments checked early, and errors that fail a task for good."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, MutableMapping, Sequence
from datetime import datetime, timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_workflows.rest.driver import RETRY_TIMEOUT
from airflow_provider_workflows.rest.errors import ArgumentError, ProviderError

log = logging.getLogger(__name__)

#: Why a client sends nothing more.
KILLED = "the task was told to end"

#: Characters on a line of the log that a screen has room for.
LINE = 80

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG, TaskGroup


class TaskArguments(TypedDict, total=False):
    """The arguments of Airflow's own ``BaseOperator``, so that type checkers tell a misspelt one."""

    task_id: Required[str]
    owner: str
    email: str | Sequence[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    max_retry_delay: timedelta | float | None
    retry_policy: Any
    start_date: datetime | None
    end_date: datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    dag: DAG | None
    params: MutableMapping[str, Any] | None
    default_args: dict[str, Any] | None
    priority_weight: int
    weight_rule: Any
    queue: str
    pool: str | None
    pool_slots: int
    sla: timedelta | None
    execution_timeout: timedelta | None
    on_execute_callback: Any
    on_failure_callback: Any
    on_success_callback: Any
    on_retry_callback: Any
    on_skipped_callback: Any
    pre_execute: Any
    post_execute: Any
    trigger_rule: str
    resources: dict[str, Any] | None
    run_as_user: str | None
    task_concurrency: int | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    do_xcom_push: bool
    multiple_outputs: bool
    inlets: Any
    outlets: Any
    task_group: TaskGroup | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None
    task_display_name: str | None
    logger_name: str | None
    allow_nested_operators: bool
    render_template_as_native_obj: bool | None


class SensorArguments(TaskArguments, total=False):
    """The arguments of Airflow's own ``BaseSensorOperator``."""

    poke_interval: timedelta | float
    timeout: timedelta | float
    soft_fail: bool
    mode: str
    exponential_backoff: bool
    max_wait: timedelta | float | None
    silent_fail: bool
    never_fail: bool


R = TypeVar("R")


#: Arguments that may be left out, but without which a task would do more, or something else, than was meant.
NEVER_LOST = ("max_workflows", "record_path", "stuck_for", "parameters", "data")


class ProviderTask(BaseOperator):
    """An operator or a sensor of this provider.

    Its arguments are checked when it is made, as far as they are known then, and again when it runs. Bad input, and
    an answer that only a person can change, fail the task with no further try: an ``AirflowFailException`` whose
    cause is the typed error.
    """

    #: The hook of the account that is worked on.
    hook: Any

    _given: Sequence[str] = ()
    _named: Collection[str] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004
        """Remember which arguments are given by name: of a mapped task's, what comes is no more than its value.

        Where ``partial()`` says ``None``, that is meant.
        """
        task = super().__new__(cls)
        if kwargs:
            dag = kwargs.get("dag")
            fixed = getattr(dag.task_dict.get(kwargs.get("task_id")) if dag else None, "partial_kwargs", {})
            meant = {name for name, value in fixed.items() if value is None}
            object.__setattr__(task, "_named", kwargs.keys() - meant)
        return task

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the methods that Airflow calls fail the task for good where a retry cannot help."""
        super().__init_subclass__(**kwargs)
        for name in ENTRIES & vars(cls).keys():
            setattr(cls, name, _failing_for_good(vars(cls)[name]))

    @property
    def _retry_timeout(self) -> float:
        """Seconds for which calls that are refused are sent again: an hour, or for as long as the task may run."""
        return max(RETRY_TIMEOUT, self.execution_timeout.total_seconds() if self.execution_timeout else 0.0)

    def _check(self) -> None:
        """Refuse arguments that cannot be right. What holds a template, or comes from XCom, is passed over."""

    def _check_given(self) -> None:
        """Refuse arguments that were given, but turned out to be ``None``."""
        for name in self._given:
            if getattr(self, name) is None:
                raise ArgumentError(
                    f"{name} was given, but is None (did a template or upstream task return nothing?); if that is "
                    "meant, leave it out"
                )

    @property
    def _is_map_index(self) -> bool:
        """Whether this is one map index of a mapped task, which Airflow makes with the values that came."""
        return bool(getattr(self, "_BaseOperator__from_mapped", False))

    def _is_given(self, name: str, value: Any) -> bool:
        """Return whether an argument was given, even if its value turned out to be nothing."""
        return value is not None or (self._is_map_index and name in self._named)

    def _check_made(self) -> None:
        """Check the arguments of a task that was just made in a Dag file: what is wrong there is an import error."""
        self._given = [name for name in NEVER_LOST if self._is_given(name, getattr(self, name, None))]
        # Airflow 2 cannot copy what was set before its own __init__.
        vars(self).pop("_named", None)
        # A map index is made when it runs, where an error would be retried.
        if not self._is_map_index:
            self._check()


#: What Airflow calls in a task.
ENTRIES = {"execute", "execute_complete", "poke"}


def _without_frames(error: ProviderError) -> ProviderError:
    """Return an error without the lines of code that it came through: in the log they would hide what it says.

    It says what was called, what came, and what to do, so they are no help. Those of its causes go as well.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ProviderError):
            log.debug("%s", cause.message, exc_info=cause)
            cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error


def _failing_for_good(entry: Callable[..., R]) -> Callable[..., R]:
    @functools.wraps(entry)
    def checked(self: ProviderTask, *args: Any, **kwargs: Any) -> R:
        try:
            self._check()
            return entry(self, *args, **kwargs)
        except ProviderError as error:
            failure = _without_frames(error)
        # Bad input, a ValueError, is not the account's.
        if not failure.where and not isinstance(failure, ValueError):
            failure.where = self.hook.where
        # Airflow shows an error further right than most screens are wide.
        for told in str(failure).splitlines():
            for line in wrap(told, LINE, break_long_words=False, break_on_hyphens=False):
                log.error("%s", line)
        if failure.retry_helps:
            raise failure
        raise AirflowFailException(str(failure)) from failure

    return checked
