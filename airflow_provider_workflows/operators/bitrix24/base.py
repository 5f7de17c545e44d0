"""What all Bitrix24 operators have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook

if TYPE_CHECKING:
    pass


class Bitrix24Operator(BaseOperator):
    """What all Bitrix24 operators have.

    :param bitrix24_conn_id: id of the Airflow connection to the portal.
    """

    template_fields: Sequence[str] = ("bitrix24_conn_id",)
    ui_color = "#2fc6f6"
    ui_fgcolor = "#ffffff"

    def __init__(self, *, bitrix24_conn_id: str = Bitrix24Hook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bitrix24_conn_id = bitrix24_conn_id

    @cached_property
    def hook(self) -> Bitrix24Hook:
        """The hook; the connection is read at its first use."""
        return Bitrix24Hook(self.bitrix24_conn_id)
