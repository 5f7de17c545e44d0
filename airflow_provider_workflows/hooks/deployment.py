"""Checks of where Airflow's workers run, as far as that matters to the rate limit."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import conf

from airflow_provider_workflows.records.store import RecordStore
from airflow_provider_workflows.rest.findings import Finding

_SHARE = "Name a connection to Redis, PostgreSQL or MySQL in extra.shared_store, so that all share one rate limit."


def check_pace(store: RecordStore, *, shared: bool) -> list[Finding]:
    """Check whether the store of the rate limit can be used, and suits where the workers run.

    :param shared: whether all hosts reach it; else each host has one.
    """
    return [_check_store(store, shared=shared), _check_deployment(shared=shared)]


def _check_store(store: RecordStore, *, shared: bool) -> Finding:
    try:
        store.change("doctor", lambda _, __: (None, b"checked"), keep_for=60.0)
    except OSError as error:
        alone = "host" if shared else "process"
        return Finding("store", "defect", f"not usable, so each {alone} keeps to half the rate by itself: {error}")
    return Finding("store", "ok", f"{store} can be used")


def _check_deployment(*, shared: bool) -> Finding:
    if shared:
        return Finding("pace", "ok", "all hosts that use this store share one rate limit")
    executor = conf.get("core", "executor", fallback="")
    if "KubernetesExecutor" in executor:
        return Finding("pace", "defect", f"each task runs in its own pod and keeps the rate limit by itself. {_SHARE}")
    # Kubernetes sets it in every container.
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return Finding("pace", "defect", f"this process runs in a pod and keeps the rate limit by itself. {_SHARE}")
    if any(local in executor for local in ("LocalExecutor", "SequentialExecutor")) or not executor:
        return Finding("pace", "ok", "this host's processes share one rate limit")
    return Finding("pace", "warning", f"with {executor}, each host keeps the rate limit by itself. {_SHARE}")
