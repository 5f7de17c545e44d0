"""Where Airflow's workers run, as far as it bears on the pace."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import conf

from airflow_provider_workflows.rest.findings import Finding

_SHARE = "Name a connection to Redis, PostgreSQL or MySQL in extra.shared_store, so that all pace as one."


def check_pace(*, shared: bool) -> Finding:
    """Tell whether what keeps the rate limits suits where the workers run.

    :param shared: whether a store keeps them that all hosts reach; else each host does for itself.
    """
    if shared:
        return Finding("pace", "ok", "all hosts keep the rate limits together")
    executor = conf.get("core", "executor", fallback="")
    if "KubernetesExecutor" in executor:
        return Finding("pace", "defect", f"each task runs in a pod of its own and paces by itself. {_SHARE}")
    # Kubernetes sets it in every container.
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return Finding("pace", "defect", f"this process runs in a pod and paces by itself. {_SHARE}")
    if "LocalExecutor" in executor or not executor:
        return Finding("pace", "ok", "this host's processes keep the rate limits together")
    return Finding("pace", "warning", f"with {executor}, workers on several hosts pace each by itself. {_SHARE}")
