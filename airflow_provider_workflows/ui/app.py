"""The page's application: the page itself, and its data for those whom Airflow allows to see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from fastapi import FastAPI, Response

from airflow_provider_workflows.ui import accounts, history

_FOLDER = Path(__file__).parent / "static"
#: Nothing is loaded from anywhere else, and nobody else shows this page in a frame.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {
    "": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
    "bitrix24.svg": ("bitrix24.svg", "image/svg+xml"),
    "domo.svg": ("domo.svg", "image/svg+xml"),
}

app = FastAPI(title="Workflows", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/data")
def data(user: GetUserDep, response: Response) -> dict[str, Any]:
    """Return what the page shows, as far as the user may see it: of connections and of Dags' XComs."""
    response.headers.update(_HEADERS)
    manager = get_auth_manager()

    def may_see_connection(conn_id: str) -> bool:
        details = ConnectionDetails(conn_id=conn_id, team_name=accounts.team_of(Connection, conn_id))
        return manager.is_authorized_connection(method="GET", details=details, user=user)

    def may_see_dag(dag_id: str) -> bool:
        details = DagDetails(id=dag_id, team_name=accounts.team_of(DagModel, dag_id))
        return manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.XCOM, details=details, user=user)

    seen = history.read(may_see_dag)
    return {
        "portals": [accounts.portal(one) for one in accounts.known("bitrix24", may_see_connection)],
        "domo": [accounts.domo(one, seen.models) for one in accounts.known("domo", may_see_connection)],
        "clean_ups": seen.clean_ups,
    }


@app.get("/{name:path}")
def page(name: str, user: GetUserDep) -> Response:  # noqa: ARG001
    """Return a file of the page."""
    if name not in _FILES:
        return Response(status_code=404)
    file, kind = _FILES[name]
    return Response((_FOLDER / file).read_bytes(), media_type=kind, headers=_HEADERS)
