"""Keep an application alive: call the portal once a week, so that its tokens do not run out.

**What it does.** Once a week it asks the portal who it is (`profile`), which changes nothing there. The access token of
the week before has expired by then, so new tokens are fetched and stored.

**Why.** The refresh token of a local application stops working when nobody uses it for 180 days, by older pages of
Bitrix24 for 28. Then a person has to authorise the connection again, and until then every task that uses it fails. An
application that is used more often needs no such Dag.

**What it needs.** The connection `bitrix24_application`: a local application (`client_id` and `client_secret`),
authorised with `python -m airflow_provider_workflows authorize bitrix24_application`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

with DAG(
    dag_id="keep_application_alive",
    doc_md=__doc__,
    schedule="@weekly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "maintenance"],
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(hours=1)},
):

    @task
    def call_portal() -> None:
        """Make a call that changes nothing."""
        # Here, as the file is parsed over and over.
        from airflow_provider_workflows.bitrix24.calls import get_profile
        from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
        from airflow_provider_workflows.rest.plans import send

        Bitrix24Hook("bitrix24_application").run(send(get_profile()))

    call_portal()
