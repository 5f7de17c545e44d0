"""What Airflow is told about this provider. Imports nothing, as every Airflow process reads it."""

from __future__ import annotations

from typing import Any

from airflow_provider_workflows import docs_link

# A form offers what somebody may have to set; the rest of `extra` is for its JSON box. No field has a default here:
# Airflow would save it with the connection, where it stays when ours changes.
_VERIFY: dict[str, Any] = {
    "verify": {
        "label": "CA bundle",
        "description": (
            "Path of the certificates to trust, a file or a folder, for a server with one of your own. "
            "Blank: the usual ones. Certificates are always checked."
        ),
        "schema": {"type": ["string", "null"]},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the shape of Airflow's ``provider_info.schema.json``."""
    package = "airflow_provider_workflows"
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
        "hooks": [
            {"integration-name": "Bitrix24", "python-modules": [f"{package}.hooks.bitrix24"]},
            {"integration-name": "Domo Workflows", "python-modules": [f"{package}.hooks.domo"]},
        ],
        "operators": [
            {"integration-name": "Bitrix24", "python-modules": [f"{package}.operators.bitrix24"]},
            {"integration-name": "Domo Workflows", "python-modules": [f"{package}.operators.domo"]},
        ],
        "sensors": [
            {"integration-name": "Bitrix24", "python-modules": [f"{package}.sensors.bitrix24"]},
            {"integration-name": "Domo Workflows", "python-modules": [f"{package}.sensors.domo"]},
        ],
        "triggers": [
            {"integration-name": "Bitrix24", "python-modules": [f"{package}.triggers.bitrix24"]},
            {"integration-name": "Domo Workflows", "python-modules": [f"{package}.triggers.domo"]},
        ],
        "notifications": [f"{package}.notifications.bitrix24.Bitrix24Notifier"],
        "extra-links": [
            f"{package}.links.bitrix24.WorkflowLink",
            f"{package}.links.bitrix24.FlowLink",
            f"{package}.links.domo.InstanceLink",
        ],
        "connection-types": [
            {
                "connection-type": "bitrix24",
                "hook-class-name": f"{package}.hooks.bitrix24.Bitrix24Hook",
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
                "conn-fields": {
                    "bucket_capacity": {
                        "label": "Requests at once",
                        "description": "How many the portal takes in one go. Blank: 50; set 250 on Enterprise plans.",
                        "schema": {"type": ["number", "null"], "minimum": 2},
                    },
                    "bucket_drain": {
                        "label": "Requests a second",
                        "description": "How many it takes after that. Blank: 2; set 5 on Enterprise plans.",
                        "schema": {"type": ["number", "null"]},
                    },
                    "max_share": {
                        "label": "Share of the rate limit",
                        "description": (
                            "Which part of both is used, e.g. 0.5 to leave half to other integrations. Blank: 1, all."
                        ),
                        "schema": {"type": ["number", "null"], "maximum": 1},
                    },
                    "shared_store": {
                        "label": "Shared store",
                        "description": (
                            "Id of a connection of type redis, postgres or mysql, through which workers on several "
                            "hosts keep the limits above together, and an application's tokens. Blank: each host "
                            "keeps the limits for itself, and tokens are kept in an Airflow Variable."
                        ),
                        "schema": {"type": ["string", "null"]},
                    },
                    **_VERIFY,
                    "client_id": {
                        "label": "Application id",
                        "description": (
                            "Client id of a local application, instead of a webhook. Run `python -m "
                            "airflow_provider_workflows authorize <connection id>` afterwards."
                        ),
                        "schema": {"type": ["string", "null"]},
                    },
                    "client_secret": {
                        "label": "Application key",
                        "description": "Client secret of the local application.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "token_url": {
                        "label": "Token endpoint",
                        "description": (
                            "Where the application's tokens are had. Blank: https://oauth.bitrix.info/oauth/token/, or "
                            "the vendor's other server where the portal names that."
                        ),
                        "schema": {"type": ["string", "null"]},
                    },
                    "access_token": {
                        "label": "Access token",
                        "description": "OAuth access token, instead of a webhook; it lives for an hour.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                },
            },
            {
                "connection-type": "domo",
                "hook-class-name": f"{package}.hooks.domo.DomoHook",
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
                "conn-fields": {
                    "in_flight": {
                        "label": "Requests at once",
                        "description": "How many may be under way at a time, of one task or one triggerer. Blank: 4.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 32},
                    },
                    **_VERIFY,
                },
            },
        ],
    }


def _guides(*pages: str) -> list[str]:
    return [docs_link(f"{page}.md") for page in pages]


def field_name(connection_type: str, field: str) -> str:
    """Return how a field is named to people: as the form has it, and as it stands in JSON.

    :param connection_type: ``bitrix24``, ``domo``, or one whose form is not ours.
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
    return {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }
