"""The addresses of the vendors' own pages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from airflow_provider_workflows.domo.models import Instance
from airflow_provider_workflows.get_provider_info import get_provider_info
from airflow_provider_workflows.links.bitrix24 import FlowLink, WorkflowLink
from airflow_provider_workflows.links.domo import InstanceLink
from airflow_provider_workflows.links.pushed import PushedLink
from airflow_provider_workflows.operators.bitrix24 import (
    CleanUpEmployeeWorkflowsOperator,
    CleanUpWorkflowsOperator,
    FlowActivateOperator,
    FlowUpdateOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    StartWorkflowOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator, DomoStartOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.sensors.domo import DomoWorkflowSensor
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.base import ProviderTask
from tests.operators.remote import TaskInstance

PORTAL, ACCOUNT = "https://acme.bitrix24.com", "https://acme.domo.com"
links = pytest.mark.parametrize("link", [WorkflowLink(), FlowLink(), InstanceLink()])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            WorkflowLink.url(PORTAL, "66e412fdc9bd44.36306599"),
            "https://acme.bitrix24.com/company/personal/bizproc/66e412fdc9bd44.36306599/",
        ),
        (
            FlowLink.url(PORTAL, 517, 3),
            "https://acme.bitrix24.com/company/personal/user/3/tasks/flow/"
            "?ID_numsel=exact&ID_from=517&ID_to=517&apply_filter=Y",
        ),
        (
            FlowLink.url(PORTAL, 517, None),
            "https://acme.bitrix24.com/company/personal/user/0/tasks/flow/"
            "?ID_numsel=exact&ID_from=517&ID_to=517&apply_filter=Y",
        ),
        (
            InstanceLink.url(ACCOUNT, Instance(id="2052e10a", model_id="a8afdc89", model_version="1.1.0")),
            "https://acme.domo.com/workflows/instances/a8afdc89/1.1.0/2052e10a",
        ),
        (
            InstanceLink.url(ACCOUNT, Instance(id="../x", model_id="a/b", model_version="1\n<")),
            "https://acme.domo.com/workflows/instances/a%2Fb/1%5Cn%3C/..%2Fx",
        ),
        (InstanceLink.url(ACCOUNT, Instance(id="2052e10a", model_id="a8afdc89")), "https://acme.domo.com/workflows"),
        (InstanceLink.url(ACCOUNT, Instance(id="2052e10a")), "https://acme.domo.com/workflows"),
        (InstanceLink.url(ACCOUNT), "https://acme.domo.com/workflows"),
        (WorkflowLink.url(PORTAL), "https://acme.bitrix24.com/bizproc/userprocesses/"),
    ],
)
def test_it_leads_to_the_things_own_page(address: str, expected: str) -> None:
    assert address == expected


@links
def test_what_a_task_pushed_is_what_airflow_shows(link: PushedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    ti: Any = TaskInstance()
    link.push({"ti": ti}, f"{PORTAL}/page")
    monkeypatch.setattr(
        "airflow_provider_workflows.links.pushed.XCom.get_value", lambda *, key, ti_key: ti_key.xcoms.get(key)
    )
    operator: Any = None
    assert link.get_link(operator, ti_key=ti) == f"{PORTAL}/page"


@links
def test_before_a_task_pushed_anything_there_is_no_link(link: PushedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_workflows.links.pushed.XCom.get_value", lambda *, key, ti_key: None)
    operator: Any = None
    ti: Any = TaskInstance()
    assert link.get_link(operator, ti_key=ti) == ""


@links
def test_airflow_3_finds_it_where_it_is_pushed(link: PushedLink) -> None:
    # Airflow 3 looks under this key by itself, without the class.
    assert link.xcom_key == f"_link_{type(link).__name__}"
    assert f"{type(link).__module__}.{type(link).__qualname__}" in get_provider_info()["extra-links"]


def test_it_leads_to_the_host_of_the_connection_and_holds_no_credential(
    control: Control, connect: Any, context: Any, ti: TaskInstance
) -> None:
    settings = control.settings()
    (workflow,) = control.add_workflows([{}])
    (instance,) = control.add_domo_instances([{}])
    flow = control.add_flow(ownerId=4)
    TerminateWorkflowOperator(task_id="end", workflow_id=workflow).execute(context)
    FlowActivateOperator(task_id="on", flow_id=flow).execute(context)
    DomoCancelOperator(task_id="cancel", instance_id=instance).execute(context)
    pushed = {key: address for key, address in ti.xcoms.items() if key.startswith("_link_")}
    assert set(pushed) == {"_link_WorkflowLink", "_link_FlowLink", "_link_InstanceLink"}
    assert all(address.startswith(control.url) for address in pushed.values())
    assert workflow in pushed["_link_WorkflowLink"]
    assert "/user/4/" in pushed["_link_FlowLink"]
    assert instance in pushed["_link_InstanceLink"]
    for secret in (settings["webhook_code"], settings["domo_token"]):
        assert secret not in str(pushed)


def test_of_a_task_that_works_on_many_it_leads_to_the_list(control: Control, context: Any, ti: TaskInstance) -> None:
    TerminateWorkflowOperator(task_id="end", workflow_id=control.add_workflows([{}, {}])).execute(context)
    DomoCancelOperator(task_id="cancel", instance_id=control.add_domo_instances([{}, {}])).execute(context)
    assert ti.xcoms["_link_WorkflowLink"] == f"{control.url}/bizproc/userprocesses/"
    assert ti.xcoms["_link_InstanceLink"] == f"{control.url}/workflows"


WORKFLOW, INSTANCE = "66e412fdc9bd44.36306599", "2052e10a-d142-4391-a731-2be1ab1c0188"
TASKS = [
    TerminateWorkflowOperator(task_id="terminate", workflow_id=WORKFLOW),
    KillWorkflowOperator(task_id="kill", workflow_id=[WORKFLOW, WORKFLOW.replace("66", "67")]),
    ListWorkflowsOperator(task_id="list"),
    CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 7}),
    CleanUpEmployeeWorkflowsOperator(task_id="employee", user_id=17),
    StartWorkflowOperator(task_id="start", template_id=7, document_id=["lists", "BizprocDocument", "1"]),
    FlowActivateOperator(task_id="activate", flow_id=517),
    FlowUpdateOperator(task_id="update", flow_id=517, changes={"name": "Sales"}),
    RunningWorkflowsSensor(task_id="wait"),
    DomoCancelOperator(task_id="cancel", instance_id=INSTANCE),
    DomoStartOperator(task_id="start_domo", model_id="m", version="1.0.0", message_name="Start"),
    DomoWorkflowSensor(task_id="wait_domo", instance_id=INSTANCE),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task_id)
def test_each_task_has_one_from_the_first_request_on(
    task: Any, control: Control, context: Any, ti: TaskInstance
) -> None:
    """While it works, and if it fails: the heading that Airflow shows for its links is never empty."""
    (link,) = task.operator_extra_links
    control.configure(webhook_known=False, domo_token="another")
    with pytest.raises(Exception, match="credential"):
        (task.poke if hasattr(task, "poke") else task.execute)(context)
    assert ti.xcoms[link.xcom_key].startswith(control.url)


def test_no_operator_or_sensor_is_left_out_here() -> None:
    names = {
        name
        for kind in ("operators", "sensors")
        for one in get_provider_info()[kind]
        for module in one["python-modules"]
        for name, value in vars(import_module(module)).items()
        if isinstance(value, type) and issubclass(value, ProviderTask) and value.__module__.startswith(module)
    }
    assert names == {type(task).__name__ for task in TASKS}
