"""What all Domo operators have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_workflows.hooks.domo import DomoHook

if TYPE_CHECKING:
    pass


class DomoOperator(BaseOperator):
    """What all Domo operators have.

    :param domo_conn_id: id of the Airflow connection to the account.
    """

    template_fields: Sequence[str] = ("domo_conn_id",)
    ui_color = "#99ccee"

    def __init__(self, *, domo_conn_id: str = DomoHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domo_conn_id = domo_conn_id

    @cached_property
    def hook(self) -> DomoHook:
        """The hook; the connection is read at its first use."""
        return DomoHook(self.domo_conn_id)
