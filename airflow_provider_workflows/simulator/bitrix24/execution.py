"""Running the command or the batch that a request asks for: time, limits, and the reply's envelope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_workflows.simulator import php
from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call, Caller
from airflow_provider_workflows.simulator.bitrix24.dates import iso
from airflow_provider_workflows.simulator.bitrix24.limits import Key
from airflow_provider_workflows.simulator.bitrix24.methods import find, run
from airflow_provider_workflows.simulator.faults import Fault
from airflow_provider_workflows.simulator.world import World

BATCH_LENGTH = 50
#: What a command may refer to, and where it stands in the reply.
REFERENCES = {"result": "result", "error": "result_error", "total": "result_total", "next": "result_next"}
OPERATION_TIME_LIMIT = (429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit")


class CutOff(Exception):
    """The server stops in the middle of a request, without a reply."""


@dataclass
class Execution:
    """
    One HTTP request being run.

    :param world: the portal
    :param caller: who sent it
    :param entry: the request in the log
    :param fault: what goes wrong with it
    """

    world: World
    caller: Caller
    entry: dict[str, Any]
    fault: Fault | None = None
    started: float = field(init=False)
    waited: float = field(init=False)
    spent: float = 0.0  # running time of its commands

    def __post_init__(self) -> None:
        self.started = self.world.clock.time()
        self.waited = self.world.clock.waited()

    async def single(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """
        Run one method.

        :param name: the method
        :param params: its parameters
        :returns: the reply's body
        :raises ApiError: if the reply is an error
        """
        started = self.world.clock.time()
        self._check_cut(0)
        proper, answer = await self._command(name, params, charge=True)
        self._check_cut(1)
        body: dict[str, Any] = {"result": answer.result}
        if answer.next is not None:
            body["next"] = answer.next
        if answer.total is not None:
            body["total"] = answer.total
        if self.world.settings.flow_time or not proper.startswith("tasks.flow."):
            body["time"] = self._time(started, proper)
        return body

    async def batch(self, params: dict[str, Any]) -> dict[str, Any]:
        """
        Run the commands of a batch one after another.

        :param params: ``cmd`` and ``halt``
        :returns: the reply's body
        :raises ApiError: if the whole batch is refused
        """
        settings = self.world.settings
        key = (self.caller.app, "batch")
        charges_itself = settings.operating_model == "ban"
        if charges_itself and self.world.operating.blocked(key, settings):
            raise ApiError(*OPERATION_TIME_LIMIT)
        outcome: dict[str, dict[str, Any]] = {
            name: {} for name in ("result", "result_error", "result_total", "result_next", "result_time")
        }
        done = 0
        for number, (command, line) in enumerate(batch_commands(params)):
            self._check_cut(done)
            if number >= BATCH_LENGTH:
                outcome["result_error"][command] = ApiError(
                    400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded"
                ).body()
                continue
            drops = self._drops(number)
            if drops and not drops.options["done"]:
                continue
            started = self.world.clock.time()
            name, query = split(line)
            try:
                given = php.resolve(query, {kind: outcome[name] for kind, name in REFERENCES.items()})
                proper, answer = await self._command(name, given, charge=not charges_itself, nested=True)
            except ApiError as error:
                done += 1
                if not drops:
                    outcome["result_error"][command] = error.body()
                if php.truth(_either(params, "halt")):
                    break
                continue
            done += 1
            if drops:
                continue
            outcome["result"][command] = answer.result
            if answer.total is not None:
                outcome["result_total"][command] = answer.total
            if answer.next is not None:
                outcome["result_next"][command] = answer.next
            outcome["result_time"][command] = self._time(started, proper, nested=True)
        self._check_cut(done)
        if charges_itself:
            self.world.operating.charge(key, self.spent / 2, settings)
        result = {name: php.array(part) for name, part in outcome.items()}
        return {"result": result, "time": self._time(self.started, "batch")}

    def _check_cut(self, done: int) -> None:
        fault = self.fault
        if fault is not None and fault.kind == "cut_after_commands" and done >= fault.options["n"]:
            raise CutOff

    def _drops(self, number: int) -> Fault | None:
        fault = self.fault
        drops = fault is not None and fault.kind == "missing_key" and fault.options["index"] == number
        return fault if drops else None

    async def _command(
        self, name: str, params: dict[str, Any], charge: bool, nested: bool = False
    ) -> tuple[str, Answer]:
        world = self.world
        settings = world.settings
        barred = name.lower() == "batch" or (name.startswith("tasks.flow.") and not settings.flows_in_batch)
        if nested and barred:
            raise ApiError(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
        proper, method = find(name, world)
        key: Key = (self.caller.app, proper)
        if charge and world.operating.blocked(key, settings):
            raise ApiError(*OPERATION_TIME_LIMIT)
        fault = world.faults.for_command(proper, params)
        if fault is not None and fault.kind == "others":
            world.workflows.disturb(**fault.options, now=world.portal_time())
        elif fault is not None:
            self.entry["fault"] = fault.kind
            if fault.kind == "operating_limit":
                raise ApiError(*OPERATION_TIME_LIMIT)
            raise ApiError(fault.options["status"], fault.options["code"], fault.options["description"])
        started = world.clock.monotonic()
        try:
            seconds = settings.method_seconds.get(proper, settings.command_seconds)
            if seconds:
                journal = world.journal
                await world.clock.sleep(seconds)
                if world.journal is not journal:
                    raise CutOff
            if world.clock.waited() - self.waited >= settings.request_cut_seconds:
                raise TimeoutError
            world.settle()
            return proper, run(method, Call(world, params, self.caller))
        finally:
            spent = settings.operating_by_method.get(proper, settings.operating_per_command)
            spent = world.clock.monotonic() - started if spent is None else spent
            self.spent += spent
            if charge:
                world.operating.charge(key, spent, settings)

    def _time(self, started: float, method: str, nested: bool = False) -> dict[str, Any]:
        settings = self.world.settings
        finish = self.world.portal_time()
        started += settings.clock_ahead
        shown: dict[str, Any] = {
            "start": started,
            "finish": finish,
            "duration": finish - started,
            "processing": finish - started,
            "date_start": iso(started, settings.server_offset),
            "date_finish": iso(finish, settings.server_offset),
        }
        if settings.operating_shown:
            if nested and settings.operating_model == "ban":
                method = "batch"
            key = (self.caller.app, method)
            shown["operating_reset_at"] = self.world.operating.reset_at(key, settings)
            shown["operating"] = self.world.operating.used(key, settings)
        return shown


def batch_commands(params: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Key and line of each command of a batch; what is no text is skipped without a word.

    :param params: the parameters of the batch
    """
    return [(key, line) for key, line in php.entries(_either(params, "cmd")) if isinstance(line, str)]


def _either(params: dict[str, Any], name: str) -> Any:
    return params.get(name, params.get(name.upper()))


def split(line: str) -> tuple[str, dict[str, Any]]:
    """
    Take a command apart into method and parameters.

    :param line: ``method?query``
    """
    name, _, query = line.partition("?")
    return name, php.parse(query)
