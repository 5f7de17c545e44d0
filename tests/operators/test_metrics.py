"""What Airflow's metrics and traces tell of the work, compared with what the simulator saw of it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_workflows.bitrix24.filters import WorkflowFilter
from airflow_provider_workflows.bitrix24.listing import list_workflows
from airflow_provider_workflows.domo.watching import read_instance
from airflow_provider_workflows.hooks import observers
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.operators.bitrix24 import TerminateWorkflowOperator
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.rest.errors import AuthenticationError
from airflow_provider_workflows.rest.observer import UNOBSERVED
from airflow_provider_workflows.simulator import Control

ROOT = Path(__file__).parents[2]


class Backend:
    """Stands in for StatsD: adds up what comes."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.tags: dict[str, set[str]] = {}

    def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: dict[str, str] | None = None) -> None:
        """Add to a counter."""
        self.totals[stat] += count
        self.tags.setdefault(stat, set()).update((tags or {}).values())


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Have Airflow's metrics on, and its own ``Stats`` send them here."""
    backend = Backend()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    if isinstance(vars(Stats).get("incr"), staticmethod):
        monkeypatch.setattr(sys.modules[Stats.incr.__module__], "_backend", backend)
    else:
        monkeypatch.setattr(Stats, "instance", backend, raising=False)
    return backend


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Have Airflow's traces on, and their spans come here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setenv("AIRFLOW__TRACES__OTEL_ON", "True")
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def test_nobody_watches_unless_airflows_metrics_or_traces_are_on(control: Control) -> None:
    assert Bitrix24Hook().get_conn().observer is UNOBSERVED
    assert DomoHook().get_conn().observer is UNOBSERVED


def test_what_a_clean_up_met_is_counted(control: Control, context: Any, backend: Backend) -> None:
    ids = control.add_workflows([{}] * 60)
    control.inject("refused", times=2)
    control.inject("lost_after", skip=1)
    report = TerminateWorkflowOperator(task_id="end", workflow_id=ids).execute(context)
    assert report["ended"] == 60
    counted = backend.totals
    assert counted["bitrix24.requests"] == len(control.requests())
    assert counted["bitrix24.refusals"] == 2
    assert backend.tags["bitrix24.refusals"] == {"127.0.0.1", "RateLimitError"}
    assert counted["bitrix24.ended"] == 60
    # The batch whose reply was lost.
    assert counted["bitrix24.settled"] == 30
    assert counted["bitrix24.waited_ms"] > 0
    assert backend.tags["bitrix24.waited_ms"] >= {"127.0.0.1", "refusal"}


def test_metrics_that_fail_fail_no_work(
    control: Control, context: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "incr", lambda *_, **__: 1 / 0)
    ids = control.add_workflows([{}] * 3)
    assert TerminateWorkflowOperator(task_id="end", workflow_id=ids).execute(context)["ended"] == 3


def test_what_a_cancellation_met_is_counted(control: Control, context: Any, backend: Backend) -> None:
    ids = control.add_domo_instances([{}, {}, {}])
    control.inject("lost_after", method="cancel")
    DomoCancelOperator(task_id="cancel", instance_id=ids).execute(context)
    assert backend.totals["domo.requests"] == len(control.requests())
    assert (backend.totals["domo.ended"], backend.totals["domo.settled"]) == (3, 1)


def test_polls_that_share_a_request_are_counted(control: Control, backend: Backend) -> None:
    async def work() -> None:
        async with Bitrix24Hook().shared_client() as client:
            filters = [WorkflowFilter.parse({"TEMPLATE_ID": template}) for template in range(1, 11)]
            await asyncio.gather(*(client.run(list_workflows(one)) for one in filters))

    asyncio.run(work())
    assert backend.totals["bitrix24.polls"] == 10
    assert backend.totals["bitrix24.polls_sent"] == backend.totals["bitrix24.requests"] == len(control.requests()) == 1


def test_each_request_is_a_span_of_the_task(control: Control, context: Any, spans: InMemorySpanExporter) -> None:
    (id,) = control.add_workflows([{}])
    with trace.get_tracer("airflow").start_as_current_span("worker.end") as task:
        TerminateWorkflowOperator(task_id="end", workflow_id=id).execute(context)
        control.configure(webhook_known=False)
        with pytest.raises(AuthenticationError):
            Bitrix24Hook().run(list_workflows(WorkflowFilter.parse({})))
    requests = [span for span in spans.get_finished_spans() if span.name != "worker.end"]
    assert [span.name for span in requests] == [entry["method"] for entry in control.requests()]
    assert {span.parent.span_id for span in requests if span.parent} == {task.get_span_context().span_id}
    assert [span.status.is_ok for span in requests] == [True, False]
    assert "NO_AUTH_FOUND" in str(requests[-1].status.description)
    code = control.settings()["webhook_code"]
    assert code not in "".join(span.to_json() for span in requests)


def test_a_request_of_a_trigger_is_a_span_of_the_trigger(control: Control, spans: InMemorySpanExporter) -> None:
    (id,) = control.add_domo_instances([{}])

    async def work() -> None:
        async with DomoHook().shared_client() as client:
            with trace.get_tracer("airflow").start_as_current_span("trigger.wait"):
                await client.run(read_instance(id))

    asyncio.run(work())
    request, trigger = spans.get_finished_spans()
    assert (request.name, request.parent) == (f"read instance {id}", trigger.context)


def test_where_nothing_is_traced_around_it_a_request_is_no_trace_of_its_own(
    control: Control, spans: InMemorySpanExporter
) -> None:
    Bitrix24Hook().run(list_workflows(WorkflowFilter.parse({})))
    assert spans.get_finished_spans() == ()


def test_in_the_triggerer_the_metrics_are_those_that_airflow_sets_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.2 and 3.3 have two copies: the one that tasks use is never set up there."""
    core = pytest.importorskip("airflow.observability.stats", reason="Airflow before 3.2 has only one")
    assert observers._stats() is Stats is not core.Stats
    monkeypatch.setitem(sys.modules, "airflow.jobs.triggerer_job_runner", ModuleType("triggerer_job_runner"))
    assert observers._stats() is core.Stats


def names_in_the_code() -> set[str]:
    """Return what anything in the package counts."""
    package = ROOT / "airflow_provider_workflows"
    counted = re.compile(r"""(?:\.count|\bCount)\(\s*"(\w+)\"""")
    # The simulator reads numbers in the same words.
    files = (path for path in package.rglob("*.py") if "simulator" not in path.parts)
    return {name for path in files for name in counted.findall(path.read_text())}


def test_the_page_names_what_is_counted_and_nothing_else() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names_in_the_code()


def test_the_dashboard_shows_what_is_counted_and_nothing_else() -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    queries = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    shown = set(re.findall(r"airflow_(?:bitrix24|domo)_(\w+)\{", queries))
    assert shown == names_in_the_code()
    assert queries.count("airflow_") == len(re.findall(r"airflow_(?:bitrix24|domo)_\w+\{", queries))
