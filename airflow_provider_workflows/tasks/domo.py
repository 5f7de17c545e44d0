"""What Domo's operators and sensors have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.tasks.base import ProviderTask


class DomoTask(ProviderTask):
    """An operator or a sensor with a connection to an account."""

    template_fields: Sequence[str] = ("domo_conn_id",)
    ui_color = "#99ccee"

    def __init__(self, *, domo_conn_id: str = DomoHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domo_conn_id = domo_conn_id

    @cached_property
    def hook(self) -> DomoHook:
        """The hook; the connection is read at its first use."""
        hook = DomoHook(self.domo_conn_id)
        hook.retry_timeout = self._retry_timeout
        return hook
