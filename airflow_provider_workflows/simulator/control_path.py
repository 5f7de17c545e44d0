"""The control path, ``/_simulator/``: seeding and reading the simulator, apart from the vendors' own paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from airflow_provider_workflows.simulator import strict_json
from airflow_provider_workflows.simulator.bitrix24 import flows
from airflow_provider_workflows.simulator.bitrix24.dates import timestamp
from airflow_provider_workflows.simulator.bitrix24.workflows import from_fields, generated
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.settings import LONGEST
from airflow_provider_workflows.simulator.world import Webhook, World

DAY = 86_400


class ControlPath:
    """
    Answers requests to ``/_simulator/``.

    :param world: the state to work on
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._actions: dict[str, Callable[[Any], Any]] = {
            "configure": self._configure,
            "add_workflows": self._add_workflows,
            "generate_workflows": self._generate_workflows,
            "change_workflows": self._change_workflows,
            "finish_workflows": self._finish_workflows,
            "add_templates": self._add_templates,
            "add_flow": self._add_flow,
            "add_users": self._add_users,
            "add_departments": self._add_departments,
            "add_webhooks": self._add_webhooks,
            "add_chats": self._add_chats,
            "add_tasks": self._add_tasks,
            "add_domo_models": self._add_domo_models,
            "add_domo_instances": self._add_domo_instances,
            "add_domo_queues": self._add_domo_queues,
            "add_domo_tasks": self._add_domo_tasks,
            "add_event_tokens": self._add_event_tokens,
            "dismiss_users": self._dismiss_users,
            "inject": self._inject,
            "advance": self._advance,
        }
        # reset replaces what is in the world, so these look it up when they are called
        self._plain: dict[str, Callable[[], Any]] = {
            "reset": lambda: world.reset(),
            "expire_tokens": lambda: world.tokens.expire(),
            "revoke_refresh_tokens": lambda: world.tokens.revoke(),
            "settings": lambda: world.settings.as_dict(),
            "state": lambda: world.state(),
            "summary": lambda: world.summary(),
            "requests": lambda: list(world.requests),
            "journal": lambda: world.journal,
        }

    async def handle(self, request: web.Request) -> web.Response:
        """
        Answer a request.

        :param request: its path names the action, its JSON body has the arguments
        """
        name = request.match_info["action"]
        if name in self._plain:
            return web.json_response({"result": self._plain[name]()})
        action = self._actions.get(name)
        if action is None:
            return web.json_response({"error": f"There is no action {request.path}"}, status=404)
        try:
            given = strict_json.loads(await request.read() or b"{}")
            return web.json_response({"result": action(given)})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            reason = f"{error}" if isinstance(error, ValueError) else f"This cannot be read: {error!r}"
            return web.json_response({"error": reason}, status=400)

    def _configure(self, given: dict[str, Any]) -> None:
        self.world.settings.change(given)

    def _add_workflows(self, given: list[dict[str, Any]]) -> list[str]:
        now = int(self.world.clock.time())
        rows = []
        for fields in given:
            fields = dict(fields)
            ends_after = fields.pop("ends_after", None)
            rows.append((from_fields(fields, self.world.settings.server_offset, now), ends_after))
        self._check_new(row.id for row, _ in rows)
        for row, ends_after in rows:
            self.world.workflows.add(row, ends_after)
            self.world.directory.ensure_template(row.template_id)
        return [row.id for row, _ in rows]

    def _generate_workflows(self, given: dict[str, Any]) -> dict[str, int]:
        now = int(self.world.clock.time())
        given = {**given, "now": now}
        for name, default in (("started_from", now - 90 * DAY), ("started_to", now - DAY)):
            text = given.get(name)
            seconds = timestamp(text, self.world.settings.server_offset, now) if text else default
            if seconds is None:
                raise ValueError(f"{name} is no date: {text!r}")
            given[name] = seconds
        rows = generated(**given)
        self._check_new(row.id for row in rows)
        for row in rows:
            self.world.workflows.add(row)
            self.world.directory.ensure_template(row.template_id)
        return {"count": len(rows), "stuck": given["stuck"]}

    def _check_new(self, ids: Iterable[str]) -> None:
        known = self.world.workflows.rows
        there = next((id for id in ids if id in known), None)
        if there is not None:
            raise ValueError(f"There is a workflow {there} already; another seed generates others")

    def _change_workflows(self, given: dict[str, Any]) -> None:
        now = int(self.world.clock.time())
        changed = from_fields(given["fields"], self.world.settings.server_offset, now)
        for id in given["ids"]:
            self.world.workflows.change(id, {name.lower(): getattr(changed, name.lower()) for name in given["fields"]})

    def _finish_workflows(self, given: list[str]) -> None:
        for id in given:
            row = self.world.workflows.running(id)
            if row is None:
                raise ValueError(f"There is no running workflow {id}")
            self.world.workflows.end(row, "finished")

    def _add_templates(self, given: list[dict[str, Any]]) -> None:
        for fields in given:
            self.world.directory.add_template(fields)

    def _add_flow(self, given: dict[str, Any]) -> int:
        known = {"id", "creatorId", "efficiency", "active", "activity", "demo", "team", "trialFeatureEnabled"}
        known |= {*flows.INTEGERS, *flows.TEXTS, *flows.FLAGS, *flows.NOTICES, *flows.PAIRS}
        if given.keys() - known:
            raise ValueError(f"A flow has no field {', '.join(sorted(given.keys() - known))}")
        settings = self.world.settings
        creator = given.get("creatorId", settings.webhook_user)
        id: int = self.world.flows.new(given, creator, settings.server_offset)["id"]
        return id

    def _add_users(self, given: list[dict[str, Any]]) -> None:
        for fields in given:
            self.world.directory.add_user(fields)

    def _add_departments(self, given: list[dict[str, Any]]) -> None:
        for fields in given:
            self.world.directory.add_department(fields)

    def _add_webhooks(self, given: list[dict[str, Any]]) -> None:
        self.world.webhooks += [Webhook(**fields) for fields in given]

    def _add_chats(self, given: list[str]) -> None:
        self.world.messages.chats.update(given)

    def _add_tasks(self, given: list[dict[str, Any]]) -> None:
        for fields in given:
            self.world.directory.add_task(fields)

    def _add_domo_models(self, given: list[dict[str, Any]]) -> list[str]:
        return [self.world.instances.add_model(fields).id for fields in given]

    def _add_domo_instances(self, given: list[dict[str, Any]]) -> list[str]:
        return [self.world.instances.add(fields, self.world.settings.domo_user).id for fields in given]

    def _add_domo_queues(self, given: list[dict[str, Any]]) -> list[str]:
        return [self.world.task_center.add_queue(fields, self.world.settings.domo_user).id for fields in given]

    def _add_domo_tasks(self, given: list[dict[str, Any]]) -> list[str]:
        world, ids = self.world, []
        for fields in given:
            instance = world.instances.rows.get(str(fields.get("instanceId")))
            if instance is None:
                raise ValueError(f"There is no instance {fields.get('instanceId')!r}")
            ids.append(world.task_center.add(instance, fields, world.settings.domo_user).id)
        return ids

    def _add_event_tokens(self, given: list[str]) -> None:
        self.world.directory.event_tokens.update(given)

    def _dismiss_users(self, given: list[int]) -> None:
        self.world.directory.dismiss({int(id) for id in given})
        self.world.flows.dismiss({str(int(id)) for id in given})

    def _inject(self, given: dict[str, Any]) -> None:
        self.world.faults.add(Fault(**given))

    def _advance(self, given: dict[str, Any]) -> None:
        seconds = given["seconds"]
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
            raise ValueError(f"The clock is moved on by seconds, from 0 to {LONGEST:.0f}, not by {seconds!r}")
        self.world.settle()  # what is so now, goes on from here
        self.world.clock.advance(seconds)
