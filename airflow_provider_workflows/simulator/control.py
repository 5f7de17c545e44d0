"""Seeding and reading a simulator, in this process or another one."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any


class SimulatorError(ValueError):
    """The simulator did not understand what it was told."""


class Control:
    """
    The control path of a simulator.

    :param url: the simulator's address, e.g. ``http://127.0.0.1:8024``
    :param ssl_context: for a simulator that speaks TLS
    """

    def __init__(self, url: str, ssl_context: ssl.SSLContext | None = None) -> None:
        self.url = url.rstrip("/")
        handlers: list[Any] = [urllib.request.ProxyHandler({})]  # loopback is never behind a proxy
        if ssl_context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl_context))
        self._opener = urllib.request.build_opener(*handlers)

    def configure(self, **settings: Any) -> None:
        """
        Change settings.

        :param settings: name to value, see :class:`~airflow_provider_workflows.simulator.settings.Settings`; ``preset``
            sets those that belong together, see :data:`~airflow_provider_workflows.simulator.presets.PRESETS`
        """
        self._do("configure", settings)

    def reset(self) -> None:
        """Empty the state and the logs, drop the faults and go back to the default settings and the source's time."""
        self._do("reset")

    def add_workflows(self, rows: list[dict[str, Any]]) -> list[str]:
        """
        Put running workflows into the portal.

        :param rows: any of the nine fields of each; and ``ends_after`` seconds to finish by itself, or ``paused``:
            nothing will wake it
        :returns: their IDs
        """
        ids: list[str] = self._do("add_workflows", rows)
        return ids

    def generate_workflows(
        self,
        count: int,
        stuck: int = 0,
        templates: int = 3,
        seed: int = 1,
        started_from: str | None = None,
        started_to: str | None = None,
        paused: int = 0,
    ) -> dict[str, int]:
        """
        Put many made-up workflows into the portal.

        :param count: how many
        :param stuck: how many of them are stuck, their lock having ended more than five minutes ago
        :param templates: over how many templates they spread
        :param seed: the same seed gives the same workflows
        :param started_from: when the first may have started, 90 days ago if left out
        :param started_to: when the last may have started, a day ago if left out
        :param paused: how many of them are paused with nothing to wake them, and have not changed for over a week
        :returns: ``count`` and ``stuck``
        """
        given = {"count": count, "stuck": stuck, "templates": templates, "seed": seed, "paused": paused}
        dates = {"started_from": started_from, "started_to": started_to}
        made: dict[str, int] = self._do("generate_workflows", {**given, **dates})
        return made

    def change_workflows(self, ids: list[str], **fields: Any) -> None:
        """
        Let workflows move on.

        :param ids: their IDs
        :param fields: what differs of them from now on
        """
        self._do("change_workflows", {"ids": ids, "fields": fields})

    def finish_workflows(self, ids: list[str]) -> None:
        """
        Let running workflows come to their own end.

        :param ids: their IDs
        """
        self._do("finish_workflows", ids)

    def add_templates(self, rows: list[dict[str, Any]]) -> None:
        """
        Put templates into the portal.

        :param rows: fields of each; one without ENTITY suits any document. And ``ends_after``: seconds after which
            workflows that are started from it finish by themselves
        """
        self._do("add_templates", rows)

    def add_flow(self, **fields: Any) -> int:
        """
        Put a flow into the portal.

        :param fields: fields of the flow object
        :returns: its ID
        """
        id: int = self._do("add_flow", fields)
        return id

    def add_users(self, rows: list[dict[str, Any]]) -> None:
        """
        Put users into the portal.

        :param rows: fields of each as in ``user.get``
        """
        self._do("add_users", rows)

    def add_departments(self, rows: list[dict[str, Any]]) -> None:
        """
        Put departments into the portal.

        :param rows: fields of each as in ``department.get``
        """
        self._do("add_departments", rows)

    def add_webhooks(self, rows: list[dict[str, Any]]) -> None:
        """
        Put incoming webhooks into the portal, besides the one of the settings.

        :param rows: ``user`` and ``code`` of each; ``scopes`` and ``admin`` are as the settings say if left out
        """
        self._do("add_webhooks", rows)

    def add_chats(self, dialogs: list[str]) -> None:
        """
        Put chats into the portal, besides ``chat1``.

        :param dialogs: the dialog of each, e.g. ``chat7`` or ``sg3``
        """
        self._do("add_chats", dialogs)

    def add_tasks(self, rows: list[dict[str, Any]]) -> None:
        """
        Put tasks of workflows into the portal.

        :param rows: fields of each as in ``bizproc.task.list``
        """
        self._do("add_tasks", rows)

    def dismiss_users(self, ids: list[int]) -> None:
        """
        Let employees leave: they are inactive, and a flow that is left with nobody goes to its administrator.

        :param ids: their IDs
        """
        self._do("dismiss_users", ids)

    def add_event_tokens(self, tokens: list[str]) -> None:
        """
        Have activities of workflows wait for ``bizproc.event.send``.

        :param tokens: the token of each
        """
        self._do("add_event_tokens", tokens)

    def add_domo_models(self, rows: list[dict[str, Any]]) -> list[str]:
        """
        Put workflow models into the Domo account.

        :param rows: ``id``, ``name``, ``message_name``, ``versions``, ``inputs`` of each, any of which may be left out
        :returns: their IDs
        """
        ids: list[str] = self._do("add_domo_models", rows)
        return ids

    def add_domo_instances(self, rows: list[dict[str, Any]]) -> list[str]:
        """
        Put workflow instances into the Domo account.

        :param rows: fields of each as in the API, and ``starts_after``, ``finishes_after``, ``final_status``,
            ``visible``, ``data``
        :returns: their IDs
        """
        ids: list[str] = self._do("add_domo_instances", rows)
        return ids

    def advance(self, seconds: float) -> None:
        """
        Move the simulator's clock on, so that nobody has to wait.

        :param seconds: by how much; what lasts so long is over, and requests under way are answered
        """
        self._do("advance", {"seconds": seconds})

    def add_domo_queues(self, rows: list[dict[str, Any]]) -> list[str]:
        """
        Put queues into Domo's Task Center, besides the one that is there.

        :param rows: ``id`` and ``name`` of each, either of which may be left out
        :returns: their IDs
        """
        ids: list[str] = self._do("add_domo_queues", rows)
        return ids

    def add_domo_tasks(self, rows: list[dict[str, Any]]) -> list[str]:
        """
        Have instances wait for people in Domo's Task Center.

        :param rows: ``instanceId`` of each, and ``id``, ``queueId``, ``assignedTo`` if wanted
        :returns: their IDs
        """
        ids: list[str] = self._do("add_domo_tasks", rows)
        return ids

    def expire_tokens(self) -> None:
        """Let all OAuth access tokens expire now."""
        self._do("expire_tokens")

    def revoke_refresh_tokens(self) -> None:
        """Let all OAuth refresh tokens be unknown from now on."""
        self._do("revoke_refresh_tokens")

    def inject(
        self,
        kind: str,
        *,
        vendor: str | None = None,
        method: str | None = None,
        containing: str | None = None,
        id: str | int | None = None,
        skip: int = 0,
        times: int | None = 1,
        **options: Any,
    ) -> None:
        """
        Order a fault.

        :param kind: a key of :data:`~airflow_provider_workflows.simulator.faults.KINDS`
        :param vendor: ``bitrix24``, ``domo`` or None for both
        :param method: the method it strikes, None for any
        :param containing: strike only a batch with a command of this method
        :param id: strike only a call for this workflow, flow or instance
        :param skip: matching requests to let pass first
        :param times: how often to strike then, None for always
        :param options: what the kind takes
        """
        place = {"vendor": vendor, "method": method, "containing": containing, "id": id}
        self._do("inject", {"kind": kind, **place, "skip": skip, "times": times, "options": options})

    def settings(self) -> dict[str, Any]:
        """All settings and their values."""
        settings: dict[str, Any] = self._do("settings")
        return settings

    def state(self) -> dict[str, Any]:
        """Return the full state of both systems."""
        state: dict[str, Any] = self._do("state")
        return state

    def summary(self) -> dict[str, Any]:
        """Return counts only, which stays cheap with many workflows."""
        summary: dict[str, Any] = self._do("summary")
        return summary

    def requests(self, vendor: str | None = None, method: str | None = None) -> list[dict[str, Any]]:
        """
        Return the HTTP requests seen so far, oldest first.

        :param vendor: only those to ``bitrix24`` or ``domo``
        :param method: only those that call this method
        """
        log: list[dict[str, Any]] = self._do("requests")
        return [entry for entry in log if vendor in (None, entry["vendor"]) and method in (None, entry["method"])]

    def journal(self, what: str | None = None) -> list[dict[str, Any]]:
        """
        Return the effects that really happened, oldest first.

        :param what: only those of this kind, e.g. ``terminate``
        """
        effects: list[dict[str, Any]] = self._do("journal")
        return [effect for effect in effects if what in (None, effect["what"])]

    def _do(self, action: str, given: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/_simulator/{action}",
            data=json.dumps({} if given is None else given).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=120) as reply:
                return json.load(reply)["result"]
        except urllib.error.HTTPError as error:
            with error:
                reason = json.load(error)["error"]
        raise SimulatorError(reason)
