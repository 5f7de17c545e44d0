"""Links to pages of a Bitrix24 portal."""

from __future__ import annotations

from urllib.parse import quote

from airflow_provider_workflows.links.pushed import PushedLink


class WorkflowLink(PushedLink):
    """The card of the one workflow that a task works on, with its history; else the portal's list of workflows."""

    name = "Bitrix24 workflows"

    @staticmethod
    def url(base_url: str, workflow_id: str | None = None) -> str:
        """Return the address of the card of a workflow, or of the list."""
        if workflow_id is None:
            return f"{base_url}/bizproc/userprocesses/"
        return f"{base_url}/company/personal/bizproc/{quote(workflow_id, safe='')}/"


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
