"""All benchmarks: ``make bench``. It writes those parts of docs/benchmarks.md of which all was measured."""

from __future__ import annotations

import argparse
import re
import time

from benchmarks.hosts import measure_fleets
from benchmarks.imports import measure_imports
from benchmarks.measure import Measurement, measure
from benchmarks.memory import Memory, measure_memory
from benchmarks.page import (
    describe_machine,
    fleets_table,
    footprint_section,
    hosts_section,
    imports_table,
    memory_table,
    scenario_table,
    scenarios_section,
    summary_table,
    waiting_section,
    waiting_table,
)
from benchmarks.portal import ROOT
from benchmarks.scenarios import GROUPS, QUICK
from benchmarks.waiting import Scale, measure_waiting

PAGE = ROOT / "docs" / "benchmarks.md"
MEMORY, IMPORTS, WAITING, HOSTS = "memory", "imports", "waiting", "hosts"
SCENARIOS = tuple(scenario.key for group in GROUPS for scenario in group.scenarios)
#: The parts of the page.
PARTS = ("scenarios", "footprint", WAITING, HOSTS)


def main() -> None:
    """Measure what was asked for, print it, and write those parts of the page of which that was all."""
    keys = [*SCENARIOS, MEMORY, IMPORTS, WAITING, HOSTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"only {', '.join(QUICK)}, the last three on a small scale"
    )
    parser.add_argument("--only", nargs="+", choices=keys, metavar="KEY", help=f"only these of {', '.join(keys)}")
    options = parser.parse_args()
    wanted = options.only or (QUICK if options.quick else keys)
    begun = time.monotonic()
    machine = describe_machine()
    print(machine)
    results: dict[str, list[Measurement]] = {}
    for group in GROUPS:
        for scenario in group.scenarios:
            if scenario.key in wanted:
                results[scenario.key] = list(measure(scenario))
                print(f"\n{group.title}: {scenario.title}  ({scenario.key})\n", flush=True)
                print(scenario_table(results[scenario.key]), flush=True)
    if results:
        print(summary_table(GROUPS, results), flush=True)
    if results.keys() == set(SCENARIOS):
        _write("scenarios", scenarios_section(GROUPS, results, (time.monotonic() - begun) / 60, machine))
    memory: list[Memory] = []
    if MEMORY in wanted:
        count = 10_000 if options.quick else 100_000
        memory = [
            measure_memory(contestant, action, count)
            for action in ("list", "clean up")
            for contestant in ("this provider", "b24pysdk", "fast-bitrix24")
        ]
        print(memory_table(memory), flush=True)
    imports = measure_imports(1 if options.quick else 3) if IMPORTS in wanted else []
    if imports:
        print(imports_table(imports), flush=True)
    if memory and imports and not options.quick:
        _write("footprint", footprint_section(memory, imports, machine))
    if WAITING in wanted:
        scale = Scale(sensors=100, interval=5.0, seconds=40.0) if options.quick else Scale()
        measured = measure_waiting(scale)
        print(waiting_table(measured, scale.interval), flush=True)
        if not options.quick:
            _write(WAITING, waiting_section(measured, scale, machine))
    if HOSTS in wanted:
        fleets = list(measure_fleets())
        print(fleets_table(fleets), flush=True)
        _write(HOSTS, hosts_section(fleets, machine))


def _write(name: str, text: str) -> None:
    """Write a part of the page, and leave the others as they are."""
    marks = [f"<!-- {part} -->\n" for part in PARTS]
    parts = re.split("|".join(marks), PAGE.read_text())[1:]
    parts[PARTS.index(name)] = text
    PAGE.write_text("\n".join(f"{mark}{part.rstrip()}\n" for mark, part in zip(marks, parts, strict=True)))


if __name__ == "__main__":
    main()
