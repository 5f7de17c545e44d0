"""What importing a module costs over ``import airflow.sdk``, in a fresh interpreter each time."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

THIS = "airflow_provider_workflows"
KINDS = ("hooks", "operators", "sensors", "triggers", "links")
#: Each kind's main module; these providers have more.
PEERS = {
    "dbt-cloud": "airflow.providers.dbt.cloud.{kind}.dbt",
    "databricks": "airflow.providers.databricks.{kind}.databricks",
}
_CODE = """
import sys, time
import airflow.sdk
begun = time.perf_counter()
for name in sys.argv[1:]:
    __import__(name)
print((time.perf_counter() - begun) * 1000)
"""


@dataclass(frozen=True)
class Import:
    """An import and what it costs.

    :param owner: this provider, or a peer.
    :param what: module, or ``all``.
    :param milliseconds: over ``import airflow.sdk``, the median.
    """

    owner: str
    what: str
    milliseconds: float


def measure_imports(repeats: int) -> list[Import]:
    """Measure each public module alone, and all of a provider's together.

    :param repeats: fresh interpreters for each.
    """
    targets: dict[tuple[str, str], list[str]] = {}
    for owner, modules in {"this provider": _public_modules(), **_peers()}.items():
        targets |= {(owner, module): [module] for module in modules}
        targets[owner, "all of these"] = modules
    times: dict[tuple[str, str], list[float]] = {target: [] for target in targets}
    for nth in range(repeats + 1):
        for target, modules in targets.items():
            milliseconds = _import(modules)
            if nth:  # the first round warms the disk's cache
                times[target].append(milliseconds)
    return [Import(owner, what, median(some)) for (owner, what), some in times.items()]


def _import(modules: list[str]) -> float:
    command = [sys.executable, "-W", "ignore", "-c", _CODE, *modules]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.splitlines()[-1])


def _public_modules() -> list[str]:
    """Return the modules people import: one for each vendor in each of Airflow's folders, and the vendors' APIs."""
    names = []
    for kind in KINDS:
        folder = importlib.util.find_spec(f"{THIS}.{kind}")
        if folder is not None and folder.submodule_search_locations:
            found = {module.name for module in pkgutil.iter_modules(folder.submodule_search_locations)}
            names += [f"{THIS}.{kind}.{vendor}" for vendor in ("bitrix24", "domo") if vendor in found]
    return [*names, f"{THIS}.bitrix24", f"{THIS}.domo"]


def _peers() -> dict[str, list[str]]:
    return {owner: [pattern.format(kind=kind) for kind in KINDS[:-1]] for owner, pattern in PEERS.items()}
