"""Peak memory of listing and ending many, above what the client takes once imported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.job import Job, Limits
from benchmarks.portal import ROOT, serve

#: The portal has no limits here: ending 100,000 takes 2,000 requests.
UNLIMITED = Limits(bucket_capacity=1_000_000, bucket_drain=1_000_000.0, operating_limit=1_000_000.0)


@dataclass(frozen=True)
class Memory:
    """What one job took.

    :param contestant: whose.
    :param action: ``list``, or ``clean up``: list and end.
    :param count: of how many workflows.
    :param mebibytes: peak of resident memory above the import.
    :param said: what the contestant says.
    """

    contestant: str
    action: str
    count: int
    mebibytes: float
    said: str


def measure_memory(contestant: str, action: str, count: int, cap: float = 300.0) -> Memory:
    """Measure one job.

    :param contestant: whose.
    :param action: ``list``, or ``clean up``: list and end.
    :param count: how many workflows.
    :param cap: seconds after which it is stopped.
    """
    # Not for the process that is measured, which runs this module too.
    from airflow_provider_workflows.bitrix24.calls import WORKFLOW_FIELDS

    with serve() as portal:
        portal.control.generate_workflows(count)
        job = Job(action, portal.url, list(WORKFLOW_FIELDS), limits=UNLIMITED)
        try:
            child = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", contestant],
                cwd=ROOT,
                env=portal.environment,
                input=f"{json.dumps(job.json())}\n",
                capture_output=True,
                text=True,
                timeout=cap,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return Memory(contestant, action, count, float("nan"), f"stopped after {cap:.0f} s")
        told = json.loads(child.stdout.splitlines()[-1])
        if action == "clean up":
            told["said"] = f"{len(portal.control.journal('terminate')):,} ended"
    return Memory(contestant, action, count, told["mebibytes"], told["said"])


def _main() -> None:
    from benchmarks.contestants import CONTESTANTS

    job = Job.from_json(json.loads(sys.stdin.readline()))
    run = CONTESTANTS[sys.argv[1]](job)
    before = peak()
    said = run()
    print(json.dumps({"mebibytes": (peak() - before) / 1024, "said": said}))


def peak() -> int:
    """Return the most resident memory that this process ever had, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    _main()
