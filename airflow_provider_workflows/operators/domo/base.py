"""What all Domo operators have."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_workflows.tasks.domo import DomoTask


class DomoOperator(DomoTask):
    """What all Domo operators have."""

    template_fields: Sequence[str] = ("domo_conn_id",)
    ui_color = "#99ccee"
