"""Links to pages of a Domo account."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_workflows.links.pushed import PushedLink

if TYPE_CHECKING:
    from airflow_provider_workflows.domo.models import Instance


class InstanceLink(PushedLink):
    """The page of the one workflow instance that a task works on; else the account's list of workflows."""

    name = "Domo workflows"

    @staticmethod
    def url(base_url: str, instance: Instance | None = None) -> str:
        """Return the address of the page of an instance; of all workflows, if Domo did not return its model."""
        if instance is None or not (instance.model_id and instance.model_version):
            return f"{base_url}/workflows"
        path = "/".join(quote(part, safe="") for part in (instance.model_id, instance.model_version, instance.id))
        return f"{base_url}/workflows/instances/{path}"
