"""What Bitrix24's operators and sensors have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from airflow_provider_workflows.bitrix24.filters import WorkflowFilter, parse_key
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.tasks.arguments import final_part, is_final
from airflow_provider_workflows.tasks.base import ProviderTask


class Bitrix24Task(ProviderTask):
    """An operator or a sensor with a connection to a portal.

    :param bitrix24_conn_id: id of the Airflow connection to the portal.
    """

    def __init__(self, *, bitrix24_conn_id: str = Bitrix24Hook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook; the connection is read at its first use."""
        hook = Bitrix24Hook(self.bitrix24_conn_id)
        hook.retry_timeout = self._retry_timeout
        return hook


def check_filters(filters: Any) -> list[tuple[str, str]]:
    """Check ``filters``, as far as they are known. Airflow renders values, but no keys.

    :param filters: the argument.
    :returns: operator and field of each key.
    :raises FilterError: for what the portal would read as a wider filter.
    """
    if not isinstance(filters, Mapping):
        if is_final(filters):
            WorkflowFilter.parse(filters)
        return []
    WorkflowFilter.parse(final_part(filters))
    return [parse_key(key) for key in filters]
