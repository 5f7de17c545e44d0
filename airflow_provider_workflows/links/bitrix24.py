"""Links to pages of a Bitrix24 portal."""

from __future__ import annotations

from urllib.parse import quote

from airflow_provider_workflows.links.pushed import PushedLink


class WorkflowLink(PushedLink):
    """The workflow's card, with its history; there when a task works on one workflow."""

    name = "Bitrix24 workflow"

    @staticmethod
    def url(base_url: str, workflow_id: str) -> str:
        """Return the address of the card of a workflow."""
        return f"{base_url}/company/personal/bizproc/{quote(workflow_id)}/"


class FlowLink(PushedLink):
    """The flow in its owner's list of flows."""

    name = "Bitrix24 flow"

    @staticmethod
    def url(base_url: str, flow_id: int, owner_id: int | None) -> str:
        """Return the address of the list of flows, narrowed to one flow."""
        return (
            f"{base_url}/company/personal/user/{owner_id or 0}/tasks/flow/"
            f"?ID_numsel=exact&ID_from={flow_id}&ID_to={flow_id}&apply_filter=Y"
        )
