"""What Bitrix24's operators and sensors have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_workflows.bitrix24.filters import FilterError, WorkflowFilter, parse_key
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.tasks.arguments import check_stuck_for, final_part, is_final
from airflow_provider_workflows.tasks.base import ProviderTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import XComArg


class Bitrix24Task(ProviderTask):
    """An operator or a sensor with a connection to a portal."""

    template_fields: Sequence[str] = ("bitrix24_conn_id",)
    ui_color = "#2fc6f6"

    def __init__(self, *, bitrix24_conn_id: str = Bitrix24Hook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook; the connection is read at its first use."""
        hook = Bitrix24Hook(self.bitrix24_conn_id)
        hook.retry_timeout = self._retry_timeout
        return hook


class FilteringTask(Bitrix24Task):
    """A task on the running workflows that match."""

    template_fields: Sequence[str] = (*Bitrix24Task.template_fields, "filters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json"}
    _if_all_are_meant = "leave it out if that is meant"

    def __init__(
        self, *, filters: Mapping[str, Any] | XComArg | None, stuck_for: timedelta | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters: Any = filters
        self.stuck_for = stuck_for
        #: An upstream task that gave nothing must not widen what is meant to all workflows.
        self._needs_filters = self._is_given("filters", filters)

    def _check(self) -> None:
        super()._check()
        self._check_given()
        check_stuck_for(self.stuck_for)
        if isinstance(self.filters, Mapping):
            WorkflowFilter.parse(final_part(self.filters), stuck_for=self.stuck_for)
            # Airflow renders values, but no keys.
            for key in self.filters:
                parse_key(key)
        elif is_final(self.filters):
            WorkflowFilter.parse(self.filters, stuck_for=self.stuck_for)
        if self._needs_filters and is_final(self.filters) and not self.filters:
            raise FilterError(f"filters is empty, which means every running workflow; {self._if_all_are_meant}")

    def _wanted(self, now: datetime | None = None) -> WorkflowFilter:
        return WorkflowFilter.parse(self.filters, stuck_for=self.stuck_for, now=now)
