"""A set of workflows, flows and instances to try the provider on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_workflows.simulator.control import Control

WORKFLOWS = 3000
OLD_WORKFLOWS = 1200
STUCK = 40
WAITING_INSTANCE = "2052e10a-d142-4391-a731-2be1ab1c0188"
WORKING_INSTANCE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PURCHASE_MODEL = "5f0c7a3e-2b4d-4c61-9d8e-1a2b3c4d5e6f"
DAY = 86_400


def seed(control: Control) -> dict[str, Any]:
    """
    Put the demonstration set into a simulator.

    :param control: of the simulator
    :returns: the counts of what is there
    """
    control.add_templates(
        [
            {"ID": 1, "NAME": "Lead approval", "MODULE_ID": "crm", "ENTITY": "CCrmDocumentLead"},
            {"ID": 2, "NAME": "Invoice", "MODULE_ID": "lists", "ENTITY": "Bitrix\\Lists\\BizprocDocumentLists"},
            {"ID": 3, "NAME": "Deal follow-up", "MODULE_ID": "crm", "ENTITY": "CCrmDocumentDeal"},
        ]
    )
    now = datetime.now(UTC)
    long_ago, quarter = now - timedelta(days=400), now - timedelta(days=92)
    control.generate_workflows(WORKFLOWS, stuck=STUCK)
    control.generate_workflows(
        OLD_WORKFLOWS, stuck=10, seed=2, started_from=long_ago.isoformat(), started_to=quarter.isoformat()
    )
    control.add_flow(id=517, name="Support requests", distributionType="queue", plannedCompletionTime=7200)
    control.add_flow(id=518, name="Purchases", distributionType="himself", plannedCompletionTime=2 * DAY)
    control.add_flow(id=519, name="Summer campaign", active=False)
    control.add_domo_models([{"id": PURCHASE_MODEL, "name": "PurchaseApproval", "versions": ["1.0.0", "2.0.0"]}])
    control.configure(start_delay=2.0, finishes_after=60.0, cancel_delay=3.0)
    runs: list[dict[str, Any]] = [
        {"id": WAITING_INSTANCE, "status": None, "starts_after": 3600.0},
        {"id": WORKING_INSTANCE, "status": "IN_PROGRESS"},
        {"status": "IN_PROGRESS", "finishes_after": 120.0},
        {"status": "COMPLETED"},
        {"status": "FAILED"},
        {"status": "CANCELED"},
    ]
    control.add_domo_instances([{"modelId": PURCHASE_MODEL, **run} for run in runs])
    return control.summary()
