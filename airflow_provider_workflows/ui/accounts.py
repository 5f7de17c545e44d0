"""What the page shows of portals and accounts: read at most once a minute, however many people look."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_workflows.bitrix24.client import Bitrix24Client
from airflow_provider_workflows.bitrix24.limits.shared_budget import read_pace
from airflow_provider_workflows.bitrix24.overview import read_overview
from airflow_provider_workflows.bitrix24.portal import budget_name
from airflow_provider_workflows.domo.client import DomoClient
from airflow_provider_workflows.domo.models import Instance
from airflow_provider_workflows.domo.starting import read_instances
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook, PortalSettings
from airflow_provider_workflows.hooks.domo import AccountSettings, DomoHook
from airflow_provider_workflows.hooks.stores import record_store
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.records.store import RecordStore
from airflow_provider_workflows.rest.errors import ProviderError
from airflow_provider_workflows.rest.protocol import HttpSettings

log = logging.getLogger(__name__)

S = TypeVar("S", PortalSettings, AccountSettings)

#: Seconds for which what was read is shown.
FRESH = 60.0
#: Seconds for which the portal may be waited for while it refuses, and for its answer to a request; a page is not worth
#: more, and holds one of the web server's threads meanwhile.
PATIENCE = 5.0
#: How many of Domo's models are read, one request each.
MODELS = 2


def known(conn_type: str, may_see: Callable[[str], bool]) -> list[str]:
    """Return the ids of the connections of a type: those of Airflow's database and environment, and the default one.

    :param conn_type: ``bitrix24`` or ``domo``.
    """
    with create_session() as session:
        stored = {*session.scalars(select(Connection.conn_id).where(Connection.conn_type == conn_type))}
    prefix = "AIRFLOW_CONN_"
    named = {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}
    return [
        conn_id
        for conn_id in sorted(stored | named | {f"{conn_type}_default"})
        if may_see(conn_id) and _type_of(conn_id) == conn_type
    ]


def team_of(model: type[Connection | DagModel], name: str) -> str | None:
    """Return the team that a connection or a Dag belongs to; ``None`` if it is everybody's, or Airflow has no teams."""
    return model.get_team_name(name) if conf.getboolean("core", "multi_team", fallback=False) else None


def _connection(conn_id: str) -> Connection:
    team = team_of(Connection, conn_id)
    # Airflow 3.1 has no such argument, and no teams.
    return Connection.get_connection_from_secrets(conn_id, **({"team_name": team} if team else {}))


def _type_of(conn_id: str) -> str | None:
    try:
        return _connection(conn_id).conn_type
    except Exception:
        # There is none, or it cannot be read: then there is nothing to show.
        return None


def portal(conn_id: str) -> dict[str, Any]:
    """Return what the page shows of a portal. Each connection costs it two requests a minute at most."""
    hook = Bitrix24Hook(conn_id)
    hook.retry_timeout = 0.0

    def read() -> PortalSettings:
        return _brief(hook.read_settings(_connection(conn_id)))

    def overview() -> dict[str, Any]:
        with hook.client_of(settings, read) as client:
            return _overview(client)

    try:
        settings = read()
        base_url, store = settings.account.base_url, record_store(settings.shared_store, hook.clock.time)
        # Each connection to an application has its own tokens, perhaps of a person who sees something else.
        name = f"bitrix24 {base_url} {conn_id} {settings.account.credential_id}"
        shown = _once_a_minute(store, name, overview)
        pace = read_pace(store, budget_name(base_url), settings.limits)
    except (ProviderError, OSError, ValueError) as error:
        return {"conn_id": conn_id, "host": "", "error": _told(error)}
    return {"conn_id": conn_id, "host": urlsplit(base_url).netloc, "url": base_url, "pace": pace, **shown}


def _brief(settings: S) -> S:
    """Return the settings with short timeouts: a page is not worth a longer wait."""
    http: HttpSettings = settings.http
    times = {name: min(PATIENCE, getattr(http, name)) for name in ("connect_timeout", "read_timeout", "total_timeout")}
    return replace(settings, http=replace(http, **times))


def _overview(client: Bitrix24Client) -> dict[str, Any]:
    seen = client.run(read_overview(), longest_pause=PATIENCE, retry_timeout=0.0)
    templates: list[dict[str, Any]] = [
        {"name": seen.names.get(id) or f"Template {id}", "id": id, "ages": list(ages.values())}
        for id, ages in sorted(seen.by_template.items(), key=lambda one: -sum(one[1].values()))
    ]
    others = [
        max(0, count - sum(one["ages"][nth] for one in templates)) for nth, count in enumerate(seen.by_age.values())
    ]
    if sum(others):
        templates.append({"name": "others", "id": None, "ages": others})
    stuck = [
        {
            "id": one.id,
            "template": seen.names.get(one.template_id or 0) or str(one.template_id),
            "started": one.row()["STARTED"],
        }
        for one in seen.longest_stuck
    ]
    return {
        "running": seen.running,
        "stuck": seen.stuck,
        "ages": list(seen.by_age),
        "templates": templates,
        "longest_stuck": stuck,
    }


def domo(conn_id: str, models: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """Return what the page shows of an account: the latest instances of the models that tasks worked on, by status.

    :param models: which models they are, by the account's host, the latest first.
    """
    hook = DomoHook(conn_id)
    hook.retry_timeout = 0.0

    def read() -> AccountSettings:
        return _brief(hook.read_settings(_connection(conn_id)))

    try:
        settings = read()
        base_url = settings.account.base_url
        wanted = list(models.get(urlsplit(base_url).netloc, ()))[:MODELS]

        def statuses() -> dict[str, Any]:
            with hook.client_of(settings, read) as client:
                return {"models": [_statuses(client, one) for one in wanted]}

        shown = _once_a_minute(host_store(AccountHook.clock.time), f"domo {base_url} {conn_id}", statuses)
    except (ProviderError, OSError, ValueError) as error:
        return {"conn_id": conn_id, "host": "", "error": _told(error)}
    return {"conn_id": conn_id, "host": urlsplit(base_url).netloc, "url": base_url, **shown}


def _statuses(client: DomoClient, model_id: str) -> dict[str, Any]:
    instances: list[Instance] = client.run(read_instances(model_id), longest_pause=PATIENCE, retry_timeout=0.0)
    return {"id": model_id, "statuses": Counter(one.status or "about to start" for one in instances)}


def _once_a_minute(store: RecordStore, name: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what somebody has read within the last minute, in whichever process; else read it.

    Who reads it says so before: the others show what there was until then, or that there will be something.
    """
    record = f"page-{sha256(name.encode()).hexdigest()[:32]}"

    def take(content: bytes | None, now: float) -> tuple[dict[str, Any] | None, bytes | None]:
        kept = _kept(content)
        if 0 <= now - kept["at"] < FRESH:
            return kept["shown"], None
        return None, json.dumps({"at": now, "shown": kept["shown"]}).encode()

    shown = store.change(record, take, keep_for=2 * FRESH)
    if shown is not None:
        return shown
    try:
        shown = read()
    except Exception as error:
        shown = {"error": _told(error)}

    def keep(_: bytes | None, now: float) -> tuple[dict[str, Any], bytes]:
        told = {**shown, "at": now}
        return told, json.dumps({"at": now, "shown": told}).encode()

    return store.change(record, keep, keep_for=2 * FRESH)


def _kept(content: bytes | None) -> dict[str, Any]:
    """Return what a record holds; nothing yet if it is new, or its writer was stopped half-way, as by a full disk."""
    with suppress(ValueError):
        return dict(json.loads(content or b""))
    return {"at": 0.0, "shown": {"pending": True}}


def _told(error: Exception) -> str:
    if isinstance(error, ProviderError):
        return str(error)
    log.exception("The page could not be filled")
    return type(error).__name__
