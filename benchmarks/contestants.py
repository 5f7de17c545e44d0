"""The clients that are compared, each used as its documentation says, in a process of its own."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.job import CODE, EVERY, INSTANCES, TERMINATE, USER, Job, Run, ended, rows
from benchmarks.reference import reference


def this_provider(job: Job) -> Run:
    """Set up this provider."""
    from airflow_provider_workflows.bitrix24 import (
        Bitrix24Client,
        Portal,
        WorkflowFilter,
        end_workflows,
        terminate_workflow,
    )
    from airflow_provider_workflows.bitrix24.clean_up import clean_up
    from airflow_provider_workflows.bitrix24.limits import operating_time
    from airflow_provider_workflows.bitrix24.limits.bucket import Limits
    from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
    from airflow_provider_workflows.bitrix24.listing import find_workflows
    from airflow_provider_workflows.bitrix24.models import Workflow
    from airflow_provider_workflows.bitrix24.portal import budget_name
    from airflow_provider_workflows.bitrix24.selecting import matching
    from airflow_provider_workflows.records.files import host_store

    # Constants, as Bitrix24 has one window for all.
    operating_time.WINDOW, operating_time.MINUTE = job.limits.operating_window, job.limits.operating_window / 10
    address = urlsplit(job.url)
    portal = Portal.with_webhook(address.hostname, USER, CODE, address.scheme, address.port)
    limits = Limits(job.limits.bucket_capacity, job.limits.bucket_drain, job.limits.operating_limit)
    client = Bitrix24Client(
        portal, limiter=PortalRateLimiter(limits, host_store(), budget_name(portal.base_url), portal.credential_id)
    )

    def run() -> str:
        every = WorkflowFilter.parse(EVERY)
        if job.action == "list":
            return rows(set(client.run(find_workflows(every, Workflow.row))))
        if job.action == "clean up":
            report = client.run(clean_up(matching(every), terminate_workflow)).end
        else:
            report = client.run(end_workflows(job.ids, terminate_workflow, **job.options))
        return ended(len(report.ended) + len(report.already_ended), report.failed)

    return run


def b24pysdk(job: Job) -> Run:
    """Set up Bitrix24's own SDK, with its defaults."""
    sdk = importlib.import_module("b24pysdk")
    token = sdk.BitrixWebhook(domain=urlsplit(job.url).netloc, webhook_token=f"{USER}/{CODE}")

    def run() -> str:
        if job.action != "end":
            params = {"SELECT": job.select, "FILTER": EVERY, "ORDER": {"ID": "asc"}}
            job.ids.extend(row["ID"] for row in token.call_list(INSTANCES, params, **job.options)["result"])
        if job.action == "list":
            return rows(set(job.ids))
        reply = token.call_batches([(TERMINATE, {"ID": id}) for id in job.ids], **job.options)["result"]
        return ended(len(reply["result"]), reply["result_error"])

    return run


def b24pysdk_patient(job: Job) -> Run:
    """Set up Bitrix24's own SDK, with a read timeout above the portal's own limit of 60 s."""
    job.options["timeout"] = (3.05, 70)
    return b24pysdk(job)


def fast_bitrix24(job: Job) -> Run:
    """Set up fast-bitrix24, with the portal's limits."""
    library = importlib.import_module("fast_bitrix24")
    # get_all() prefers methods that end with ".list", and says so; the result is the same.
    warnings.simplefilter("ignore")
    limits = job.limits
    # A constant there, without a parameter.
    constants: Any = importlib.import_module("fast_bitrix24.srh")
    constants.BITRIX_MEASUREMENT_PERIOD = limits.operating_window
    client = library.Bitrix(
        f"{job.url}/rest/{USER}/{CODE}/",
        verbose=False,
        request_pool_size=limits.bucket_capacity,
        requests_per_second=limits.bucket_drain,
        operating_time_limit=int(limits.operating_limit),
    )

    def run() -> str:
        if job.action != "end":
            listed = client.get_all(INSTANCES, {"select": job.select, "filter": EVERY})
            job.ids.extend(row["ID"] for row in listed)
        if job.action == "list":
            return rows(set(job.ids))
        return ended(len(client.call(TERMINATE, [{"ID": id} for id in job.ids])), {})

    return run


CONTESTANTS: dict[str, Callable[[Job], Run]] = {
    "the limit": reference,
    "this provider": this_provider,
    "b24pysdk": b24pysdk,
    "fast-bitrix24": fast_bitrix24,
    "b24pysdk-70s": b24pysdk_patient,
}


def _main() -> None:
    """Read a job, get ready, wait for the word, do the job, say what came of it."""
    job = Job.from_json(json.loads(sys.stdin.readline()))
    run = CONTESTANTS[sys.argv[1]](job)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        outcome: dict[str, str] = {"said": run()}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    _main()
