"""What was measured, as tables in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten

from benchmarks.hosts import COUNT, FleetRun
from benchmarks.hosts import LIMIT as FLEET_LIMIT
from benchmarks.imports import Import
from benchmarks.measure import Measurement
from benchmarks.memory import Memory
from benchmarks.scenarios import Group, Scenario
from benchmarks.waiting import Scale, Wait

PACKAGES = (
    "airflow-provider-workflows",
    "b24pysdk",
    "fast-bitrix24",
    "apache-airflow",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-databricks",
    "aiohttp",
)
PROVIDER, LIMIT = "this provider", "the limit"
MEMORY_TARGET = 150.0
IMPORT_TARGET = 80.0
ROUND_TARGET = 20
#: Milliseconds over what the idle process shows.
BLOCK_TARGET = 50.0
HOSTS_WITHIN, HOSTS_REFUSED = 1.10, 0.02
LONGEST_TEXT = 200

HOW = """\
How it is measured:

- The simulator runs in a process of its own, anew for each contestant, and each contestant in a fresh process that has
  imported all it needs before the clock starts. All use TLS, as `b24pysdk` speaks nothing else.
- Requests, refusals (HTTP 503 or 429) and ended workflows are read from the simulator, not from the clients.
- *The limit* sends prepared requests, as few as possible and evenly filled, each at the first moment the portal allows,
  knowing all its limits and who else uses them, and has as many under way as that takes. It is measured like others.
- The peers are used as their documentation says: `b24pysdk` with `call_list` and `call_batches`, `fast-bitrix24` with
  `get_all` and `call`, with their defaults and the portal's figures where they take them. `b24pysdk-70s` has its
  timeout raised from 10 s to 70 s. This provider is used as it comes, with no setting but the portal's figures. Where
  the operating limit is scaled down, it and `fast-bitrix24` are told its window too.
- *Ratio* is the time divided by that of the limit, in the same run. Rows of less than a second or so show the work of
  the client and of the simulator, both in Python and on one machine, and nothing of a network. Lists are measured
  several times, in turn; the middle run is shown.
"""

WAITING_HOW = """\
They wait for workflows of one portal, with its limits on, in one event loop, as in Airflow's triggerer. At random
moments workflows appear for some of them. *One request a sensor* is the same without shared polls; it cannot keep up,
and is measured for a shorter time. *Ratio* is its requests a second, by this provider's. A block of the event loop is
what a coroutine that sleeps for 10 ms wakes too late by; *idle* is the same in a process with no sensor beside it, and
*collector* the longest run of Python's garbage collector, which looks through all that Airflow has loaded.
"""

HOSTS_HOW = """\
A *host* is four processes with a folder of their own for temporary files and for their home; the hosts' clocks lie up
to 30 s apart. All are behind one address, so the portal counts their requests together. Each process ends its part, in
whole batches. Redis and PostgreSQL are the machine's own (`redis-server`, `postgresql`), started for each row with an
empty folder on a free port; what is not installed is skipped. Through *files*, the default, only the processes of one
host know of each other.

- *workers are killed*: from the tenth second on, every three seconds one of them with `SIGKILL`, and begun anew with
  all that it had to do, as Airflow's retry does. Here the limit is that of the requests that were sent.
- *Redis is frozen for 10 s*: with `SIGSTOP`, from the tenth second on.
- *Redis is killed for good*: in the tenth second.

*Warnings* are the most that one process logged about the store.
"""

Results = Mapping[str, Sequence[Measurement]]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table; all columns but the first and the last are numbers."""
    marks = ["---"] + ["---:"] * (len(header) - 2) + ["---"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, marks, *rows]) + "\n"


def scenario_table(measurements: Sequence[Measurement]) -> str:
    """Show one scenario."""
    limit = next((one.seconds for one in measurements if one.contestant == LIMIT and one.done), None)
    rows = [
        (
            one.contestant,
            _seconds(one.seconds),
            f"{one.seconds / limit:.2f}" if one.done and limit else "" if one.done else "not done",
            f"{one.requests:,}",
            f"{one.refused:,}",
            _result(one),
        )
        for one in measurements
    ]
    return table(("", "seconds", "ratio", "requests", "refused", "result"), rows)


def _result(one: Measurement) -> str:
    if one.done:
        return f"{one.ended:,} ended" if one.ended else one.said
    ended = f"; {one.ended:,} ended" if one.ended else ""
    return f"{shorten(one.said, LONGEST_TEXT, placeholder=' …')}{ended}".replace("|", "\\|")


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"


def summary_table(groups: Sequence[Group], results: Results) -> str:
    """Show this provider beside the limit, its targets and the better peer. What misses its target is bold."""
    rows = [
        _summary(group, scenario, results[scenario.key])
        for group in groups
        for scenario in group.scenarios
        if scenario.key in results
    ]
    header = ("work", "seconds", "limit", "ratio", "wanted", "refused", "wanted", "better peer", "ratio", "which")
    return table(header, rows)


def _summary(group: Group, scenario: Scenario, measurements: Sequence[Measurement]) -> tuple[str, ...]:
    by_name = {one.contestant: one for one in measurements}
    ours, limit = by_name[PROVIDER], by_name[LIMIT]
    peers = [one for name, one in by_name.items() if name not in (LIMIT, PROVIDER)]
    peer = min((one for one in peers if one.done), key=lambda one: one.seconds, default=None)
    ratio, refused = round(ours.seconds / limit.seconds, 2), ours.refused / max(1, ours.requests)
    met = scenario.within is None or ratio <= scenario.within
    of_peer = round(ours.seconds / peer.seconds, 2) if peer else None
    return (
        f"{group.title}: {scenario.title[0].lower()}{scenario.title[1:]}",
        _seconds(ours.seconds),
        _seconds(limit.seconds),
        _mark(f"{ratio:.2f}", met) if ours.done and limit.done else _mark("not done", met=False),
        f"{scenario.within:.2f}" if scenario.within else "",
        _mark(f"{refused:.1%}", refused < scenario.refused or not refused),
        f"under {scenario.refused:.0%}" if scenario.refused else "0",
        _seconds(peer.seconds) if peer else "",
        "" if of_peer is None else _mark(f"{of_peer:.2f}", ours.done and of_peer <= 1),
        peer.contestant if peer else "none is done",
    )


def _mark(text: str, met: bool) -> str:
    return text if met else f"**{text}**"


def memory_table(measured: Sequence[Memory]) -> str:
    """Show peak memory."""
    own = {one.action: one.mebibytes for one in measured if one.contestant == PROVIDER}
    rows = [
        (
            f"{one.action} {one.count:,}",
            one.contestant,
            _mark(f"{one.mebibytes:.0f}", one.contestant != PROVIDER or one.mebibytes <= MEMORY_TARGET),
            f"{one.mebibytes / own[one.action]:.2f}",
            one.said,
        )
        for one in measured
    ]
    return table(("", "", "MiB", "to this provider", "result"), rows).replace("| --- | ---: |", "| --- | --- |", 1)


def imports_table(measured: Sequence[Import]) -> str:
    """Show import costs."""
    own = next(one.milliseconds for one in measured if (one.owner, one.what) == (PROVIDER, "all of these"))
    rows = []
    for one in measured:
        whole = one.what == "all of these"
        missed = whole and one.owner == PROVIDER and one.milliseconds > IMPORT_TARGET
        times = f"{one.milliseconds / own:.2f}" if whole else ""
        what = one.what if whole else f"`{one.what}`"
        rows.append((one.owner, _mark(f"{one.milliseconds:.0f}", not missed), times, what))
    return table(("", "ms", "to this provider", "module"), rows)


def scenarios_section(groups: Sequence[Group], results: Results, minutes: float, machine: str) -> str:
    """Write the beginning of the page, and the sections about listing and ending."""
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`, part by part. Not edited by hand.\n",
        HOW,
        "## Listing and ending\n",
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.\n",
        f"{machine}\n",
        "Beside the limit, and beside the better peer, than which it is never to be slower. What misses its target is "
        "**bold**.\n",
        summary_table(groups, results),
    ]
    for group in groups:
        parts += [f"## {group.title}\n", f"{group.text}\n"]
        for scenario in group.scenarios:
            parts += [f"### {scenario.title}\n", scenario_table(results[scenario.key])]
    return "\n".join(parts)


def footprint_section(memory: Sequence[Memory], imports: Sequence[Import], machine: str) -> str:
    """Write the sections about memory and imports."""
    parts = [
        "## Memory\n",
        f"Peak resident memory above that after the import, with the rows held that a list gives. "
        f"The portal has no limits here. Target: at most {MEMORY_TARGET:.0f} MiB.\n",
        f'Written by `make bench BENCH="--only memory imports"` on {datetime.now(UTC):%Y-%m-%d}.\n',
        f"{machine}\n",
        memory_table(memory),
        "## Import\n",
        f"Milliseconds over `import airflow.sdk`, each in fresh interpreters, the median. Target for all public "
        f"modules together: under {IMPORT_TARGET:.0f} ms.\n",
        imports_table(imports),
    ]
    return "\n".join(parts)


def waiting_table(measured: Sequence[Wait], interval: float) -> str:
    """Show what waiting takes. What misses its target is bold."""
    own = measured[0]
    rows = []
    for one in measured:
        ours = one.contestant == PROVIDER
        over = one.blocked - one.idle
        latest = f"{one.latest:.1f} s, {one.seen} of {one.appeared} seen"
        rows.append(
            (
                one.contestant,
                f"{one.seconds:.0f}",
                f"{one.requests:,}",
                f"{one.requests / one.seconds / (own.requests / own.seconds):.1f}",
                _mark(f"{one.most}", not ours or one.most <= ROUND_TARGET),
                _mark(f"{one.refused}", not ours or not one.refused),
                f"{one.blocked:.0f}",
                f"{one.idle:.0f}",
                _mark(f"{over:.0f}", not ours or over < BLOCK_TARGET),
                f"{one.collecting:.0f}",
                f"{one.blocked_at_start:.0f}",
                f"{one.mebibytes:.0f}",
                _mark(latest, not ours or (one.seen == one.appeared and one.latest <= interval + 5)),
            )
        )
    header = (
        "", "seconds", "requests", "ratio", "most in a round", "refused", "loop blocked, ms", "idle, ms",
        "over idle, ms", "collector, ms", "at the start, ms", "MiB", "seen at the latest after",
    )  # fmt: skip
    return table(header, rows)


def waiting_section(measured: Sequence[Wait], scale: Scale, machine: str) -> str:
    """Write the section about waiting."""
    parts = [
        "## Waiting\n",
        f"{scale.sensors:,} deferred sensors, each with its own filter, and a poll every {scale.interval:.0f} s.\n",
        WAITING_HOW,
        f"Targets: at most {ROUND_TARGET} requests a round, none refused, seen within {scale.interval + 5:.0f} s, the "
        f"loop blocked for less than {BLOCK_TARGET:.0f} ms longer than the idle one. What misses its target is "
        "**bold**.\n",
        f'Written by `make bench BENCH="--only waiting"` on {datetime.now(UTC):%Y-%m-%d}.\n',
        f"{machine}\n",
        waiting_table(measured, scale.interval),
    ]
    return "\n".join(parts)


def fleets_table(measured: Sequence[FleetRun]) -> str:
    """Show what many hosts do. What misses its target is bold."""
    rows = []
    for one in measured:
        ratio, refused = round(one.ratio, 2), one.refused / max(1, one.requests)
        shared = one.fleet.store != "files" and not one.fleet.event
        rows.append(
            (
                one.fleet.store + (f", {one.fleet.event}" if one.fleet.event else ""),
                f"{one.fleet.hosts}",
                _seconds(one.seconds),
                _mark(f"{ratio:.2f}", not shared or ratio <= HOSTS_WITHIN),
                f"{one.requests:,}",
                _mark(f"{refused:.1%}", not shared or refused < HOSTS_REFUSED),
                _mark(f"{one.warnings}", one.warnings <= 1),
                _mark(f"{one.ended:,} ended {one.said}".strip(), one.ended == COUNT and not one.said),
            )
        )
    return table(("store", "hosts", "seconds", "to the limit", "requests", "refused", "warnings", "result"), rows)


def hosts_section(measured: Sequence[FleetRun], machine: str) -> str:
    """Write the section about many hosts."""
    parts = [
        "## Many hosts\n",
        f"{COUNT:,} workflows are ended by four processes on each of several hosts. The limit: {FLEET_LIMIT:.0f} s.\n",
        HOSTS_HOW,
        f"Targets, through Redis or PostgreSQL: at most {HOSTS_WITHIN:.2f} times the limit, under {HOSTS_REFUSED:.0%} "
        "refused. Whatever happens, everything is ended, with one warning a process. What misses its target is "
        "**bold**.\n",
        f'Written by `make bench BENCH="--only hosts"` on {datetime.now(UTC):%Y-%m-%d}.\n',
        f"{machine}\n",
        fleets_table(measured),
    ]
    return "\n".join(parts)


def describe_machine() -> str:
    """Describe the machine, how busy it is, and the versions."""
    busy = f"load {os.getloadavg()[0]:.1f}"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Machine: {os.cpu_count()} cores, {busy}, {_cpu()}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}. Versions: {versions}."
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
