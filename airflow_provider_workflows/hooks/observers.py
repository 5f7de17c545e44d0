"""Airflow's metrics and traces of what clients do. Both are off unless Airflow's are on, and cost nothing then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.observer import UNOBSERVED, Observer

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_METRICS = ("statsd_on", "statsd_datadog_enabled", "otel_on")


def observer_for(conn_type: str, base_url: str, clock: Clock) -> Observer:
    """Return an observer that reports an account's work to Airflow's metrics and traces.

    :param conn_type: ``bitrix24`` or ``domo``; metrics' names begin with it.
    :param base_url: the account's address, whose host is a tag of each metric.
    """
    metrics = any(conf.getboolean("metrics", name, fallback=False) for name in _METRICS)
    traces = conf.getboolean("traces", "otel_on", fallback=False)
    if not (metrics or traces):
        return UNOBSERVED
    host = urlsplit(base_url).hostname or ""
    return AirflowObserver(conn_type, host, _stats() if metrics else None, _tracer() if traces else None, clock)


class AirflowObserver(Observer):
    """Reports what a client does to Airflow's metrics and traces.

    :param conn_type: metrics' names begin with it.
    :param host: tag of each metric, attribute of each span.
    :param stats: Airflow's ``Stats``; ``None``: no metrics.
    :param tracer: makes spans; ``None``: no traces.
    """

    def __init__(self, conn_type: str, host: str, stats: Any, tracer: Tracer | None, clock: Clock) -> None:
        self._conn_type = conn_type
        self._host = host
        self._stats = stats
        self._tracer = tracer
        self._clock = clock

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Add to a counter."""
        if self._stats is not None and amount:
            # A failing metric must not stop the work.
            with suppress(Exception):
                self._stats.incr(f"{self._conn_type}.{name}", amount, tags={"host": self._host, **tags})

    @contextmanager
    def request(self, call: str) -> Iterator[None]:
        """Count a request, time it, and show it as a span of the task."""
        began = self._clock.monotonic()
        try:
            with self._span(call):
                yield
        finally:
            self.count("requests")
            # Added up, as the backends do not agree on what a timing is: their averages are in other units.
            self.count("request_ms", round((self._clock.monotonic() - began) * 1000))

    def _span(self, call: str) -> AbstractContextManager[object]:
        if self._tracer is None:
            return nullcontext()
        from opentelemetry.trace import SpanKind, get_current_span

        # With no task or trigger around it, it would be a trace of its own.
        if not get_current_span().is_recording():
            return nullcontext()
        return self._tracer.start_as_current_span(
            call,
            kind=SpanKind.CLIENT,
            attributes={"server.address": self._host, "peer.service": self._conn_type},
            record_exception=False,
        )


def _stats() -> Any:
    # Airflow 3.2 and 3.3 have two of them, and set up but one in each process: in the triggerer that of the core.
    if "airflow.jobs.triggerer_job_runner" in sys.modules:
        try:
            return import_module("airflow.observability.stats").Stats
        except ImportError:
            pass
    from airflow.providers.common.compat.sdk import Stats

    return Stats


def _tracer() -> Tracer:
    from opentelemetry.trace import get_tracer

    return get_tracer("airflow_provider_workflows")
