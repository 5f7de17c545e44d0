"""A portal and an account to try the provider on: all that the example Dags need."""

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
FIGURES_MODEL = "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138"
#: The employee who has left, and how many workflows wait for that one. As many wait for a colleague, by turns.
GONE, WAITING_FOR_GONE = 9, 30
FIRST_WAITING_LEAD = 9000
#: When the first of the old workflows was started.
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
DAY = 86_400


def seed(control: Control) -> dict[str, Any]:
    """
    Put the demonstration set into a simulator.

    :param control: of the simulator
    :returns: the counts of what is there
    """
    control.configure(language="en", start_delay=2.0, finishes_after=20.0, cancel_delay=3.0)
    _add_people_and_templates(control)
    _add_workflows(control)
    _add_flows(control)
    _add_instances(control)
    return control.summary()


def _add_people_and_templates(control: Control) -> None:
    deal = {"MODULE_ID": "crm", "ENTITY": "CCrmDocumentDeal", "DOCUMENT_TYPE": "DEAL"}
    control.add_templates(
        [
            {"ID": 1, "NAME": "Lead approval", "MODULE_ID": "crm", "ENTITY": "CCrmDocumentLead"},
            {"ID": 2, "NAME": "Invoice", "MODULE_ID": "lists", "ENTITY": "Bitrix\\Lists\\BizprocDocumentLists"},
            {"ID": 3, "NAME": "Deal follow-up", **deal},
            {"ID": 7, "NAME": "Deal approval", **deal, "ends_after": 20},
        ]
    )
    people = [("Bea", "Busy", True), ("Carl", "Clerk", True), ("Gus", "Gone", False)]
    control.add_users(
        [
            {"ID": str(id), "NAME": name, "LAST_NAME": last_name, "ACTIVE": active}
            for id, (name, last_name, active) in enumerate(people, GONE - len(people) + 1)
        ]
    )


def _add_workflows(control: Control) -> None:
    until = datetime.now(UTC) - timedelta(days=92)
    control.generate_workflows(WORKFLOWS, stuck=STUCK)
    control.generate_workflows(
        OLD_WORKFLOWS, stuck=10, seed=2, started_from=LONG_AGO.isoformat(), started_to=until.isoformat()
    )
    a_month_ago = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    rows = [
        {"TEMPLATE_ID": 1, "STARTED": a_month_ago, "DOCUMENT_ID": f"LEAD_{FIRST_WAITING_LEAD + nth}"}
        for nth in range(2 * WAITING_FOR_GONE)
    ]
    control.add_tasks(
        [
            {"WORKFLOW_ID": id, "USER_ID": user, "STATUS": 0, "NAME": "Approve"}
            for id, user in zip(control.add_workflows(rows), [GONE, GONE - 1] * WAITING_FOR_GONE, strict=True)
        ]
    )


def _add_flows(control: Control) -> None:
    control.add_flow(id=517, name="Support requests", distributionType="queue", plannedCompletionTime=7200)
    control.add_flow(id=518, name="Purchases", distributionType="himself", plannedCompletionTime=2 * DAY)
    control.add_flow(id=519, name="Summer campaign", active=False)


def _add_instances(control: Control) -> None:
    control.add_domo_models(
        [
            {"id": PURCHASE_MODEL, "name": "PurchaseApproval", "versions": ["1.0.0", "2.0.0"]},
            {"id": FIGURES_MODEL, "name": "AddTwoNumbers", "versions": ["1.0.0"]},
        ]
    )
    runs: list[dict[str, Any]] = [
        {"id": WAITING_INSTANCE, "status": None, "starts_after": 3600.0},
        {"id": WORKING_INSTANCE, "status": "IN_PROGRESS"},
        {"status": "IN_PROGRESS", "finishes_after": 120.0},
        {"status": "COMPLETED"},
        {"status": "FAILED"},
        {"status": "CANCELED"},
    ]
    control.add_domo_instances([{"modelId": PURCHASE_MODEL, **run} for run in runs])
