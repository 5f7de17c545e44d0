"""What a Dag's author may count on with every operator and sensor of this provider."""

from __future__ import annotations

import copy
import importlib
import inspect
import socket
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, BaseHook, BaseOperator, BaseSensorOperator

from airflow_provider_workflows.get_provider_info import get_provider_info
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.operators.bitrix24 import (
    FlowActivateOperator,
    KillWorkflowOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.tasks.base import SensorArguments, TaskArguments
from tests.operators.remote import refused, render

#: A value for each argument that some operator requires.
ARGUMENTS: dict[str, Any] = {
    "workflow_id": "66e412fdc9bd44.36306599",
    "instance_id": "2052e10a-d142-4391-a731-2be1ab1c0188",
    "flow_id": 517,
    "changes": {"name": "Sales"},
    "filters": {"TEMPLATE_ID": 1},
    "template_id": 1,
    "document_id": ["crm", "CCrmDocumentDeal", "DEAL_1"],
    "model_id": "a8afdc89-9491-4ee4-b7c3-b9e9b86c0138",
    "version": "1.0.0",
    "message_name": "Start AddTwoNumbers",
    "user_id": 3,
}


def classes() -> list[type[BaseOperator]]:
    """Return every operator and sensor that the provider tells Airflow of, whatever is added to it."""
    info = get_provider_info()
    names = [name for kind in ("operators", "sensors") for group in info[kind] for name in group["python-modules"]]
    return [
        member
        for name in names
        for _, member in inspect.getmembers(importlib.import_module(name), inspect.isclass)
        if member.__module__.startswith(name) and issubclass(member, BaseOperator) and member.__name__.endswith(ENDINGS)
        if not member.__name__.startswith("_")
    ]


ENDINGS = ("Operator", "Sensor")


def own(operator: type) -> dict[str, inspect.Parameter]:
    """Return the arguments that a class spells out itself."""
    signature = inspect.signature(vars(operator)["__init__"]) if "__init__" in vars(operator) else None
    return {name: one for name, one in signature.parameters.items() if name not in NAMELESS} if signature else {}


NAMELESS = {"self", "kwargs"}


def parameters(operator: type[BaseOperator]) -> dict[str, inspect.Parameter]:
    """Return the arguments that a class adds to Airflow's own."""
    ours = [one for one in operator.__mro__ if one.__module__.startswith("airflow_provider_workflows")]
    return {name: parameter for one in reversed(ours) for name, parameter in own(one).items()}


def required(operator: type[BaseOperator]) -> dict[str, Any]:
    """Return the arguments that a class cannot do without."""
    needed = [name for name, one in parameters(operator).items() if one.default is inspect.Parameter.empty]
    return {name: ARGUMENTS[name] for name in (*needed, *NEEDED.get(operator.__name__, ()))}


#: Arguments without which it would end too much, or does not know whom it is about.
NEEDED = {"CleanUpWorkflowsOperator": ["filters"], "CleanUpEmployeeWorkflowsOperator": ["user_id"]}


every = pytest.mark.parametrize("operator", classes())


def test_every_class_is_checked() -> None:
    names = {one.__name__ for one in classes()}
    assert names >= {
        "TerminateWorkflowOperator",
        "KillWorkflowOperator",
        "ListWorkflowsOperator",
        "FlowActivateOperator",
        "FlowUpdateOperator",
        "DomoCancelOperator",
        "RunningWorkflowsSensor",
    }


@every
def test_it_is_made_without_a_connection_or_any_input_and_output(
    operator: type[BaseOperator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("input or output at parse time")

    operator(task_id="task", **required(operator))  # Airflow itself imports some things only now
    monkeypatch.setattr(BaseHook, "get_connection", no)
    monkeypatch.setattr(socket.socket, "connect", no)
    monkeypatch.setattr("builtins.open", no)
    made = operator(task_id="task", **required(operator))
    assert all(getattr(made, name) == value for name, value in required(operator).items())


@every
def test_it_spells_out_each_of_its_arguments(operator: type[BaseOperator]) -> None:
    assert own(operator).keys() == parameters(operator).keys()


@every
def test_what_else_it_takes_are_airflows_own_arguments(operator: type[BaseOperator]) -> None:
    airflows = {
        name
        for one in operator.__mro__
        if one.__name__ in {"BaseOperator", "BaseSensorOperator"}
        for name in inspect.signature(vars(one)["__init__"]).parameters
    }
    named = (SensorArguments if issubclass(operator, BaseSensorOperator) else TaskArguments).__annotations__.keys()
    assert airflows - NAMELESS <= named
    # What only one of the supported versions knows.
    assert named - airflows <= {"retry_policy", "render_template_as_native_obj", "task_concurrency"}


@every
def test_its_arguments_are_given_by_name(operator: type[BaseOperator]) -> None:
    assert {parameter.kind for parameter in parameters(operator).values()} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises((TypeError, AirflowException)):
        operator("task", **required(operator))  # type: ignore[call-arg]


@every
def test_an_argument_it_does_not_know_is_refused(operator: type[BaseOperator]) -> None:
    with pytest.raises((TypeError, AirflowException), match="workflow_idd"):
        operator(task_id="task", workflow_idd="x", **required(operator))


@every
def test_an_argument_it_requires_must_be_given(operator: type[BaseOperator]) -> None:
    for name in required(operator):
        given = {other: value for other, value in required(operator).items() if other != name}
        with pytest.raises((TypeError, AirflowException, ArgumentError), match=name):
            operator(task_id="task", **given)


#: Template fields that are not named as their argument: Airflow's operators have a method ``dry_run``.
ARGUMENT_OF = {"is_dry_run": "dry_run"}


@every
def test_every_template_field_is_an_argument_and_is_rendered(operator: type[BaseOperator]) -> None:
    fields = list(operator.template_fields)
    arguments = [ARGUMENT_OF.get(name, name) for name in fields]
    assert set(arguments) <= set(parameters(operator))
    assert set(operator.template_fields_renderers) <= set(fields)
    task = operator(task_id="task", **required(operator) | dict.fromkeys(arguments, "{{ value }}"))
    render(task, value="rendered")
    assert [getattr(task, name) for name in fields] == ["rendered"] * len(fields)


@every
def test_it_can_be_mapped_over_whatever_it_takes(operator: type[BaseOperator]) -> None:
    for field in operator.template_fields:
        name = ARGUMENT_OF.get(field, field)
        value = ARGUMENTS.get(name, "another")
        fixed = {other: given for other, given in required(operator).items() if other != name}
        with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
            mapped: Any = operator.partial(task_id="task", **fixed).expand(**{name: [value, value]})
        task = mapped.unmap({name: value})
        assert isinstance(task, operator)
        assert {other: getattr(task, other) for other in (field, *fixed)} == {field: value} | fixed
    with pytest.raises(TypeError, match="workflow_idd"):
        operator.partial(task_id="task", workflow_idd="x")


@every
def test_it_can_be_copied_as_airflow_does(operator: type[BaseOperator]) -> None:
    copied = copy.deepcopy(operator(task_id="task", **required(operator)))
    assert all(getattr(copied, name) == value for name, value in required(operator).items())


@every
def test_the_connection_may_come_from_the_dags_defaults(operator: type[BaseOperator]) -> None:
    (name,) = (name for name in parameters(operator) if name.endswith("_conn_id"))
    with DAG("defaults", schedule=None, start_date=datetime(2026, 1, 1), default_args={name: "other"}):
        task = operator(task_id="task", **required(operator))
    assert getattr(task, name) == "other"


@every
def test_airflow_is_told_of_its_links(operator: type[BaseOperator]) -> None:
    told = get_provider_info()["extra-links"]
    links = [type(link) for link in operator.operator_extra_links or ()]
    assert {f"{link.__module__}.{link.__qualname__}" for link in links} <= set(told)


def test_what_one_task_lists_another_ends_after_it() -> None:
    with DAG("chained", schedule=None, start_date=datetime(2026, 1, 1)):
        found = ListWorkflowsOperator(task_id="find")
        end = KillWorkflowOperator(task_id="end", workflow_id=found.output)
    assert end.upstream_task_ids == {"find"}


class TestConnection:
    def test_it_is_read_under_the_rendered_name(self, control: Control, connect: Any, context: Any) -> None:
        connect("BITRIX24_DEFAULT", login="1", password="no0such0code")
        connect("BITRIX24_OTHER", login="1", password=control.settings()["webhook_code"])
        (one,) = control.add_workflows([{}])
        task = TerminateWorkflowOperator(task_id="end", workflow_id=one, bitrix24_conn_id="{{ portal }}")
        render(task, portal="bitrix24_other")
        assert task.execute(context)["ended_ids"] == [one]

    def test_one_that_is_not_there_is_named(self, control: Control, context: Any) -> None:
        with pytest.raises(Exception, match="bitrix24_nowhere"):
            FlowActivateOperator(task_id="on", flow_id=1, bitrix24_conn_id="bitrix24_nowhere").execute(context)
        assert control.requests() == []

    def test_one_that_cannot_be_used_is_told_by_its_field(self, control: Control, connect: Any, context: Any) -> None:
        connect("BITRIX24_DEFAULT", login="ada", password="sim0webhook0code")
        with refused(ConnectionFieldError, match=r"\(login\) must be the webhook's user id"):
            ListWorkflowsOperator(task_id="list").execute(context)
        assert control.requests() == []
