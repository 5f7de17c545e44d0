"""Domo's Workflows API, usable without Airflow.

The functions here return plans, procedures made of the API's calls, and a client runs a plan::

    account = Account.with_token("acme.domo.com", "<developer token>")
    with DomoClient(account) as client:
        report = client.run(cancel_instances(["2052e10a-d142-4391-a731-2be1ab1c0188"]))
"""

from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.cancelling import cancel_instances
from airflow_provider_workflows.domo.client import DomoClient
from airflow_provider_workflows.domo.starting import start_instance
from airflow_provider_workflows.domo.watching import read_instance

__all__ = ["Account", "DomoClient", "cancel_instances", "read_instance", "start_instance"]
