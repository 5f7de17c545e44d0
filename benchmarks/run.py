"""All benchmarks: ``make bench``. It writes those parts of docs/benchmarks.md of which all was measured."""

from __future__ import annotations

import argparse
import time

from benchmarks.hosts import measure_fleets
from benchmarks.imports import measure_imports
from benchmarks.measure import Measurement, measure
from benchmarks.memory import Memory, measure_memory
from benchmarks.page import (
    describe_machine,
    fleets_table,
    hosts_section,
    imports_table,
    memory_table,
    page,
    scenario_table,
    summary_table,
    waiting_section,
    waiting_table,
)
from benchmarks.portal import ROOT
from benchmarks.scenarios import GROUPS, QUICK
from benchmarks.waiting import Scale, measure_waiting

PAGE = ROOT / "docs" / "benchmarks.md"
MEMORY, IMPORTS, WAITING, HOSTS = "memory", "imports", "waiting", "hosts"
#: Between the parts of the page.
MARK, MARK_HOSTS = "<!-- waiting -->\n", "<!-- hosts -->\n"


def main() -> None:
    """Measure what was asked for, print it, and write the page if that was all."""
    keys = [scenario.key for group in GROUPS for scenario in group.scenarios] + [MEMORY, IMPORTS, WAITING, HOSTS]
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
        print(summary_table(GROUPS, results))
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
    work, _, rest = PAGE.read_text().partition(MARK)
    waiting, _, hosts = rest.partition(MARK_HOSTS)
    if set(wanted) >= set(keys) - {WAITING, HOSTS}:
        work = page(GROUPS, results, memory, imports, (time.monotonic() - begun) / 60, machine)
    if WAITING in wanted:
        scale = Scale(sensors=100, interval=5.0, seconds=40.0) if options.quick else Scale()
        measured = measure_waiting(scale)
        print(waiting_table(measured, scale.interval), flush=True)
        waiting = waiting if options.quick else waiting_section(measured, scale, machine)
    if HOSTS in wanted:
        fleets = list(measure_fleets())
        print(fleets_table(fleets), flush=True)
        hosts = hosts_section(fleets, machine)
    PAGE.write_text(f"{work.rstrip()}\n\n{MARK}{waiting.rstrip()}\n\n{MARK_HOSTS}{hosts}")


if __name__ == "__main__":
    main()
