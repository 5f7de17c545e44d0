"""Holiday switch: keep a task flow off on holidays and on otherwise, and give another flow more time meanwhile.

**What it does.** Every morning it looks whether today lies in the holiday. If so, the support flow is switched off,
and tasks of the purchases flow get more time. On every other day the support flow is on, and purchases have their
usual time. It states what shall be, so a day on which all is as it should be changes nothing.

**Why.** A flow that takes tasks while nobody works breaks its deadlines, and somebody has to remember to switch it
off, and on again.

**What it needs.** The connection `bitrix24_default`: an incoming webhook of a portal administrator, or of the one
who made the flows, with the scope `task`. The dates of the holiday and the ids of the flows are parameters.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_workflows.operators.bitrix24 import FlowActivateOperator, FlowUpdateOperator

OFFICE = "Europe/Berlin"

with DAG(
    dag_id="holiday_flow_switch",
    doc_md=__doc__,
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz=OFFICE),
    catchup=False,
    max_active_runs=1,
    tags=["bitrix24", "flows"],
    params={
        "first_day": Param("2026-12-24", type="string", format="date", description="First day of the holiday."),
        "last_day": Param("2027-01-01", type="string", format="date", description="Last day of the holiday."),
        "support_flow": Param(517, type="integer", description="Id of the flow that is off on holidays."),
        "purchases_flow": Param(518, type="integer", description="Id of the flow that has more time on holidays."),
        "usual_hours": Param(48, type="integer", minimum=1, description="Hours for a purchase."),
        "holiday_hours": Param(120, type="integer", minimum=1, description="Hours for a purchase on holidays."),
    },
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": timedelta(minutes=2)},
):

    @task.branch
    def holiday_or_not(**context: Any) -> list[str]:
        """Choose the tasks for today."""
        # Today's date and not the run's: an old run that is cleared must not switch the flow as it was then.
        today = pendulum.today(OFFICE).date()
        first_day, last_day = (date.fromisoformat(context["params"][name]) for name in ("first_day", "last_day"))
        if first_day > last_day:
            raise ValueError(f"first_day {first_day} is after last_day {last_day}")
        if first_day <= today <= last_day:
            return ["support_off", "purchases_more_time"]
        return ["support_on", "purchases_usual_time"]

    support_off = FlowActivateOperator(task_id="support_off", flow_id="{{ params.support_flow }}", active=False)
    support_on = FlowActivateOperator(task_id="support_on", flow_id="{{ params.support_flow }}", active=True)

    # Only this field changes; the operator sends the flow's other fields as they are.
    more_time = FlowUpdateOperator(
        task_id="purchases_more_time",
        flow_id="{{ params.purchases_flow }}",
        changes={"plannedCompletionTime": "{{ params.holiday_hours * 3600 }}"},
    )
    usual_time = FlowUpdateOperator(
        task_id="purchases_usual_time",
        flow_id="{{ params.purchases_flow }}",
        changes={"plannedCompletionTime": "{{ params.usual_hours * 3600 }}"},
    )

    holiday_or_not() >> [support_off, support_on, more_time, usual_time]
