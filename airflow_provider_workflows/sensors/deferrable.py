"""Sensors that can wait in the triggerer."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.links.pushed import PushedLink
from airflow_provider_workflows.rest.plans import SINGLE_POLL, TOLERANCE, Plan, poll_once
from airflow_provider_workflows.rest.seconds import check_poll_interval, check_seconds
from airflow_provider_workflows.tasks.base import ProviderTask
from airflow_provider_workflows.tasks.deferring import deadline_after
from airflow_provider_workflows.triggers.polling import PollTrigger, validate_event

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

T = TypeVar("T")


def _began(sensor: BaseSensorOperator, context: Context) -> datetime | None:
    """Return since when Airflow counts the ``timeout`` of a sensor that was rescheduled; ``None`` if it was not yet."""
    ti: Any = context["ti"]
    if AIRFLOW_V_3_0_PLUS:
        return ti.get_first_reschedule_date(context)  # type: ignore[no-any-return]
    from airflow.sensors.base import _orig_start_date  # type: ignore[import-not-found]

    run = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    return _orig_start_date(**run, try_number=ti.max_tries - sensor.retries + 1)  # type: ignore[no-any-return]


class DeferrableSensor(ProviderTask, BaseSensorOperator):
    """Polls once in the worker, and then goes on in the triggerer if that is wanted."""

    #: The link that was pushed last.
    _shown = ""
    #: Unix time at which it stops waiting, once it has begun.
    _deadline: float | None = None

    def __init__(self, *, deferrable: bool, tolerance: timedelta | float = TOLERANCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.tolerance = tolerance.total_seconds() if isinstance(tolerance, timedelta) else tolerance

    @property
    def _retry_timeout(self) -> float:
        """Seconds for which calls that are refused are sent again: no longer than the sensor waits."""
        return min(super()._retry_timeout, self.timeout)

    def _check(self) -> None:
        if self.deferrable:
            check_poll_interval(self.poke_interval, "poke_interval")
        check_seconds(self.tolerance, "tolerance")

    @abstractmethod
    def _poll(self, context: Context) -> PokeReturnValue:
        """Poll once, and push a link to what is waited for."""

    @abstractmethod
    def _trigger(self, deadline: float) -> PollTrigger:
        """Return what polls in the triggerer."""

    @abstractmethod
    def _result(self, event: dict[str, Any], context: Context) -> Any:
        """Return the task's result once the trigger has fired."""

    def execute(self, context: Context) -> Any:
        """Poll until it is there, or defer; from now on the time counts, or from the process that polled first."""
        began = _began(self, context) if self.reschedule else None
        self._deadline = began.timestamp() + self.timeout if began else None
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll, and defer if it is not there yet."""
        if self._deadline is None:
            # In the worker it is Airflow that keeps execution_timeout.
            self._deadline = deadline_after(self.timeout, self.execution_timeout if self.deferrable else None)
        seen = self._poll(context)
        if self.deferrable and not seen.is_done:
            self.defer(trigger=self._trigger(self._deadline), method_name="execute_complete")
        return seen

    def _run_poll(self, poll: Plan[T]) -> T | None:
        """Run a poll for as long as the sensor may wait; before it defers, for a minute at most.

        :returns: what it returns; ``None`` if the account refuses it until then, and it is to go on in the triggerer.
        :raises AirflowSensorTimeout: if the account refuses it until then.
        """
        # With 0 it would have no end.
        left = max(1.0, (self._deadline or 0.0) - AccountHook.clock.time())
        wait_for = min(left, SINGLE_POLL) if self.deferrable else left
        found: T | None = self.hook.run(poll_once(lambda: poll, "polling", wait_for=wait_for))
        if found is None and not self.deferrable:
            raise AirflowSensorTimeout(
                f"The sensor has timed out after {self.timeout:.0f} s; its last poll was refused"
            )
        return found

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Return what the trigger has seen."""
        if validate_event(event) == "timeout":
            raise AirflowSensorTimeout(f"The sensor has timed out after {self.timeout:.0f} s")
        return self._result(event, context)

    def _show(self, context: Context, link: PushedLink, url: str) -> None:
        """Push a link, unless it was the last one that was pushed."""
        if url != self._shown:
            link.push(context, url)
            self._shown = url

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger, and skip the task if it must never fail, as Airflow does where sensors poke."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, as never_fail is set: {error}") from error
            raise
