"""Run the example Dags with a real Airflow against simulated systems, and show what became of those.

``make demo`` needs no account; it takes a minute or two, and half a gigabyte for Airflow, which other targets use as
well. The numbers shown are read from the simulator's own state, not from the Dags'
reports. The exit status is 0 only if each Dag succeeded and left behind what it promises.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from airflow_provider_workflows.simulator import Simulator
from airflow_provider_workflows.simulator.demo import WAITING_INSTANCE, WORKING_INSTANCE, seed

EXAMPLES = Path(__file__).parent
HOME = EXAMPLES.parent / ".airflow" / "demo"
LOG = HOME / "demo.log"
AIRFLOW = Path(sys.executable).with_name("airflow")
#: Seconds for one Airflow command.
TIMEOUT = 120

#: The defaults of the Dags' parameters.
SUPPORT, PURCHASES = 517, 518
INSTANCES = (WAITING_INSTANCE, WORKING_INSTANCE)
KEEP_DAYS, STUCK_FOR = timedelta(days=90), timedelta(minutes=5)

State = Mapping[str, Any]
Effects = Sequence[Mapping[str, Any]]
Findings = dict[str, str]

console = Console()


class AirflowFailedError(Exception):
    """An Airflow command failed; the log tells why."""


@dataclass(frozen=True)
class Step:
    """One run of a Dag, and what is to be seen of it from outside.

    :param title: what this run is about.
    :param promise: what the Dag promises to do.
    :param dag_id: the Dag.
    :param observe: reads from both systems' state, and the effects since the run began, what the promise is about.
    :param promised: what is to be otherwise afterwards; everything else that ``observe`` sees is to stay.
    :param conf: the run's parameters, where they are not the defaults.
    """

    title: str
    promise: str
    dag_id: str
    observe: Callable[[State, Effects], Findings]
    promised: Findings
    conf: dict[str, str] = field(default_factory=dict)


def running(state: State) -> list[dict[str, Any]]:
    """Return the workflows that run."""
    return [row for row in state["bitrix24"]["workflows"].values() if row["state"] == "running"]


def old_workflows(state: State, _: Effects) -> Findings:
    """Count the running workflows by their start."""
    before = datetime.now(UTC) - KEEP_DAYS
    old = sum(datetime.fromisoformat(row["STARTED"]) < before for row in running(state))
    return {
        "Running, started more than 90 days ago": f"{old:,}",
        "Running, started since": f"{len(running(state)) - old:,}",
    }


def flow_fields(state: State, effects: Effects) -> Findings:
    """Show what the holiday is about, and which fields an update really changed."""
    flows = state["bitrix24"]["flows"]
    changed = {name for effect in effects if effect["what"] == "update" for name in effect["changed"]}
    return {
        "Flow 'Support requests'": "on" if flows[str(SUPPORT)]["active"] else "off",
        "Flow 'Purchases', hours for a task": f"{flows[str(PURCHASES)]['plannedCompletionTime'] / 3600:g}",
        "Flow 'Purchases', other fields changed": ", ".join(sorted(changed - {"plannedCompletionTime"})) or "none",
    }


def both_systems(state: State, effects: Effects) -> Findings:
    """Show what is stuck, how the flows were switched, and the instances in Domo."""
    before = datetime.now(UTC) - STUCK_FOR
    stuck = sum(
        row["OWNED_UNTIL"] is not None and datetime.fromisoformat(row["OWNED_UNTIL"]) < before for row in running(state)
    )
    flows, instances = state["bitrix24"]["flows"], state["domo"]["instances"]
    return {
        "Stuck workflows in Bitrix24": f"{stuck:,}",
        "Other running workflows": f"{len(running(state)) - stuck:,}",
        **{f"Flow '{flows[str(id)]['name']}'": switched(id, flows[str(id)], effects) for id in (SUPPORT, PURCHASES)},
        **{f"Domo, instance {id[:8]}": instances[id]["status"] or "not yet started" for id in INSTANCES},
        "Domo, other instances cancelled": str(
            sum(effect["what"] == "cancel" and effect["id"] not in INSTANCES for effect in effects)
        ),
    }


def switched(id: int, flow: Mapping[str, Any], effects: Effects) -> str:
    """Return whether a flow is on, and how it was switched on the way."""
    switches = [effect["active"] for effect in effects if effect["what"] == "activate" and effect["id"] == id]
    states = [not switches[0], *switches] if switches else [flow["active"]]
    return ", ".join("on" if active else "off" for active in states)


def steps() -> list[Step]:
    """Return the runs in their order."""
    today = datetime.now(UTC)
    yesterday, tomorrow = (f"{today + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
    last_year = f"{today - timedelta(days=365):%Y-%m-%d}"
    on_off_on = "on, off, on"
    return [
        Step(
            "Nightly clean-up",
            "ends every workflow that was started more than 90 days ago, and no other",
            "nightly_workflow_cleanup",
            old_workflows,
            {"Running, started more than 90 days ago": "0"},
        ),
        Step(
            "Holiday switch, in the holiday",
            "switches the support flow off and gives purchases five days; other fields of the flow stay as they are",
            "holiday_flow_switch",
            flow_fields,
            {
                "Flow 'Support requests'": "off",
                "Flow 'Purchases', hours for a task": "120",
            },
            {"first_day": yesterday, "last_day": tomorrow},
        ),
        Step(
            "Holiday switch, after the holiday",
            "switches the support flow on and gives purchases two days again",
            "holiday_flow_switch",
            flow_fields,
            {
                "Flow 'Support requests'": "on",
                "Flow 'Purchases', hours for a task": "48",
            },
            {"first_day": last_year, "last_day": last_year},
        ),
        Step(
            "Clean-up across both systems",
            "switches both flows off, ends all stuck workflows and two instances in Domo, switches the flows on again",
            "cross_system_cleanup",
            both_systems,
            {
                "Stuck workflows in Bitrix24": "0",
                "Flow 'Support requests'": on_off_on,
                "Flow 'Purchases'": on_off_on,
                **{f"Domo, instance {id[:8]}": "CANCELED" for id in INSTANCES},
            },
        ),
    ]


def environment(simulator: Simulator) -> dict[str, str]:
    """Return the environment: a home of its own, nothing of another Airflow's, and the simulator's connections."""
    own = {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "no_proxy": "127.0.0.1",
    }
    for conn_id, connection in simulator.connections().items():
        own[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
    # Where the latter is set, every Airflow process compiles all of Airflow anew.
    foreign = ("AIRFLOW", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | own


def airflow(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Run an Airflow command, with its output in the log.

    :raises AirflowFailedError: if it fails or takes too long.
    """
    with LOG.open("a") as log:
        process = subprocess.Popen(  # noqa: S603
            [AIRFLOW, *arguments], env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AirflowFailedError(f"airflow {' '.join(arguments)}: not done after {TIMEOUT} s") from None
        finally:
            _end(process)
    if status:
        raise AirflowFailedError(f"airflow {' '.join(arguments)}: exit status {status}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started."""
    for stop in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, stop)
        except ProcessLookupError:
            return
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue


def run(step: Step, simulator: Simulator, env: Mapping[str, str]) -> bool:
    """Run a Dag, show the state before and after, and tell whether the promise was kept."""
    control = simulator.control
    before = step.observe(control.state(), [])
    effects, requests, began = len(control.journal()), len(control.requests()), time.monotonic()
    console.print(f"\n[bold]{step.title}[/bold] ({step.dag_id}.py) {step.promise}.")
    with console.status("Airflow is at work ..."):
        airflow(["dags", "test", step.dag_id, "--conf", json.dumps(step.conf)], env)
    took = time.monotonic() - began
    after = step.observe(control.state(), control.journal()[effects:])
    promised = {**before, **step.promised}

    table = Table("What the systems themselves say", "before", "after", "promise")
    for name in promised:
        kept = "[green]kept[/]" if after[name] == promised[name] else f"[bold red]BROKEN: {promised[name]}[/]"
        table.add_row(name, before[name], after[name], kept)
    console.print(table)
    console.print(f"{len(control.requests()) - requests} HTTP requests, {took:.0f} s with Airflow's own start.")
    return after == promised


def main() -> int:
    """Run the demonstration and return the exit status."""
    began = time.monotonic()
    HOME.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    try:
        with Simulator() as simulator:
            seed(simulator.control)
            env = environment(simulator)
            console.print(f"A Bitrix24 portal and a Domo account are simulated at {simulator.url}.")
            console.print(f"Airflow now runs five times, which takes a minute or two, and 3 MB in {HOME}.")
            with console.status("Airflow makes its database ..."):
                airflow(["db", "migrate"], env)
            kept = [run(step, simulator, env) for step in steps()]
    except AirflowFailedError as error:
        console.print(LOG.read_text(), markup=False, highlight=False, soft_wrap=True)
        console.print(f"[bold red]{error}[/bold red]\nAirflow's log is above, and in {LOG}.")
        return 1
    console.print(f"\nAirflow's log is in {LOG}.")
    if not all(kept):
        console.print("[bold red]Not every promise was kept.[/bold red]")
        return 1
    console.print(f"[bold green]Every promise was kept.[/bold green] It took {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    # As for Ctrl-C, so that what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
