"""What Airflow is told about this provider. Imports nothing, as every Airflow process reads it."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows import docs_link

PACKAGE = "airflow_provider_workflows"


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


# A form offers what somebody may have to set; the rest of `extra` is for its JSON box. No field has a default here:
# Airflow would save it with the connection, where it stays when ours changes.
_VERIFY = _field(
    "CA bundle",
    "Path of the certificates to trust, a file or a folder, for a server with one of your own. "
    "Blank: the usual ones. Certificates are always checked.",
)
_BITRIX24_FIELDS = {
    "bucket_capacity": _field(
        "Requests at once",
        "How many the portal takes in one go. Blank: 50; set 250 on Enterprise plans.",
        "number",
        minimum=2,
    ),
    "bucket_drain": _field(
        "Requests a second", "How many it takes after that. Blank: 2; set 5 on Enterprise plans.", "number"
    ),
    "max_share": _field(
        "Share of the rate limit",
        "Which part of both is used, e.g. 0.5 to leave half to other integrations. Blank: 1, all.",
        "number",
        maximum=1,
    ),
    "shared_store": _field(
        "Shared store",
        "Id of a connection of type redis, postgres or mysql, through which workers on several "
        "hosts keep the limits above together, and an application's tokens. Blank: each host "
        "keeps the limits for itself, and tokens are kept in an Airflow Variable.",
    ),
    "verify": _VERIFY,
    "client_id": _field(
        "Application id",
        "Client id of a local application, instead of a webhook. Afterwards run: python -m "
        "airflow_provider_workflows authorize <connection id>",
    ),
    "client_secret": _field("Application key", "Client secret of the local application.", format="password"),
    "token_url": _field(
        "Token endpoint",
        "The application's token server. Blank: https://oauth.bitrix.info/oauth/token/, or "
        "the vendor's other server where the portal names that.",
    ),
    "access_token": _field(
        "Access token", "OAuth access token, instead of a webhook; it lives for an hour.", format="password"
    ),
}
_DOMO_FIELDS = {
    "in_flight": _field(
        "Requests at once",
        "How many may be under way at a time, of one task or one triggerer. Blank: 4.",
        "integer",
        minimum=1,
        maximum=32,
    ),
    "verify": _VERIFY,
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-workflows",
        "name": "Workflows: Bitrix24 and Domo",
        "description": "Stop, start, switch and watch business workflows in Bitrix24 and Domo.",
        "integrations": [
            {
                "integration-name": "Bitrix24",
                "external-doc-url": "https://apidocs.bitrix24.com/",
                "how-to-guide": _guides("operators", "waiting", "clean-up", "notifier"),
                "logo": "/workflows-page/bitrix24.svg",
                "tags": ["service"],
            },
            {
                "integration-name": "Domo Workflows",
                "external-doc-url": "https://www.domo.com/docs/api-reference/workflows-api-product",
                "how-to-guide": _guides("operators", "waiting"),
                "logo": "/workflows-page/domo.svg",
                "tags": ["service"],
            },
        ],
        **{kind: _modules(kind) for kind in ("hooks", "operators", "sensors", "triggers")},
        "notifications": [f"{PACKAGE}.notifications.bitrix24.Bitrix24Notifier"],
        "extra-links": [
            f"{PACKAGE}.links.bitrix24.WorkflowLink",
            f"{PACKAGE}.links.bitrix24.FlowLink",
            f"{PACKAGE}.links.domo.InstanceLink",
        ],
        "connection-types": [
            {
                "connection-type": "bitrix24",
                "hook-class-name": f"{PACKAGE}.hooks.bitrix24.Bitrix24Hook",
                "hook-name": "Bitrix24",
                "ui-field-behaviour": {
                    "hidden-fields": [],
                    "relabeling": {
                        "host": "Portal host",
                        "login": "Webhook's user id",
                        "password": "Webhook code",
                        "schema": "Scheme",
                    },
                    "placeholders": {
                        "host": "acme.bitrix24.com",
                        "login": "1",
                        "password": "the code, or the whole webhook URL",
                        "schema": "https",
                    },
                },
                "conn-fields": _BITRIX24_FIELDS,
            },
            {
                "connection-type": "domo",
                "hook-class-name": f"{PACKAGE}.hooks.domo.DomoHook",
                "hook-name": "Domo",
                "ui-field-behaviour": {
                    "hidden-fields": ["login"],
                    "relabeling": {
                        "host": "Instance host",
                        "password": "Developer token",
                        "schema": "Scheme",
                    },
                    "placeholders": {"host": "acme.domo.com", "schema": "https"},
                },
                "conn-fields": _DOMO_FIELDS,
            },
        ],
    }


def _modules(kind: str) -> list[dict[str, Any]]:
    return [
        {"integration-name": "Bitrix24", "python-modules": [f"{PACKAGE}.{kind}.bitrix24"]},
        {"integration-name": "Domo Workflows", "python-modules": [f"{PACKAGE}.{kind}.domo"]},
    ]


def _guides(*pages: str) -> list[str]:
    return [docs_link(f"{page}.md") for page in pages]


def field_name(connection_type: str, field: str) -> str:
    """Return how a field is named to people: as the form has it, and as it stands in JSON.

    :param connection_type: ``bitrix24``, ``domo``, or one of another provider.
    :param field: name of the field, or of one in ``extra``; what is neither is returned as it is.
    """
    form = _forms().get(connection_type, {"conn-fields": {}, "ui-field-behaviour": {"relabeling": {}}})
    if field in form["conn-fields"]:
        return f'"{form["conn-fields"][field]["label"]}" (extra.{field})'
    label = {"port": "Port", **form["ui-field-behaviour"]["relabeling"]}.get(field)
    if label:
        return f'"{label}" ({field})'
    return f"extra.{field}" if field.islower() and field.isidentifier() else field


def _forms() -> dict[str, Any]:
    return {one["connection-type"]: one for one in get_provider_info()["connection-types"]}


def extra_fields(connection_type: str) -> dict[str, Any]:
    """Return the form's fields for ``extra``.

    :param connection_type: ``bitrix24`` or ``domo``.
    """
    fields: dict[str, Any] = _forms()[connection_type]["conn-fields"]
    return fields


def field_behaviour(connection_type: str) -> dict[str, Any]:
    """Return the form's labels as hooks give them to Airflow before 3.2.

    :param connection_type: ``bitrix24`` or ``domo``.
    """
    behaviour = _forms()[connection_type]["ui-field-behaviour"]
    return {name.replace("-", "_"): value for name, value in behaviour.items()}
