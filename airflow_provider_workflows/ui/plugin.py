"""The plugin that adds the page. Every Airflow process imports it, so it imports nothing until the page is opened."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

#: Where the page is, below Airflow's own address.
PREFIX = "/workflows-page"


class _Page:
    """The page's application, imported when it is called."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from airflow_provider_workflows.ui.app import app

        await app(scope, receive, send)


class WorkflowsPlugin(AirflowPlugin):
    """Adds *Browse > Workflows* to Airflow 3.1 and later; before, there is nothing."""

    name = "workflows"
    fastapi_apps: list[Any] = (
        [{"name": "workflows", "app": _Page(), "url_prefix": PREFIX}] if AIRFLOW_V_3_1_PLUS else []
    )
    external_views: list[Any] = (
        [
            {
                "name": "Workflows",
                "href": f"{PREFIX[1:]}/",
                "destination": "nav",
                "category": "browse",
                "url_route": "workflows",
            }
        ]
        if AIRFLOW_V_3_1_PLUS
        else []
    )
