"""What all Bitrix24 operators have."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_workflows.tasks.bitrix24 import Bitrix24Task


class Bitrix24Operator(Bitrix24Task):
    """What all Bitrix24 operators have."""

    template_fields: Sequence[str] = ("bitrix24_conn_id",)
    ui_color = "#2fc6f6"
    ui_fgcolor = "#ffffff"
