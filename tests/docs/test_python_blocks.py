"""What the docs show runs, against the simulator."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.rest.errors import NotConnectedError, ReplyLostError
from airflow_provider_workflows.testing.tasks import TaskInstance

ROOT = Path(__file__).parents[2]
OLD = {"STARTED": "2025-05-01T10:00:00+00:00", "MODULE_ID": "crm", "TEMPLATE_ID": 7}


def python_blocks(file):
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def names_of(*blocks):
    """Run blocks one after the other, and give what they define."""
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block, namespace)  # noqa: S102
    return namespace


@pytest.fixture
def portal(bitrix24_simulator, domo_simulator):
    bitrix24_simulator.add_workflows(2, **OLD)
    bitrix24_simulator.add_workflows(**{**OLD, "TEMPLATE_ID": 12})
    bitrix24_simulator.add_flow(id=517, active=True, name="Sales")
    domo_simulator.add_instances(id="2052e10a-d142-4391-a731-2be1ab1c0188")
    return bitrix24_simulator.control


def rendered(task, **arguments):
    for name, value in arguments.items():
        setattr(task, name, value)
    return task


def context():
    return {"ti": TaskInstance()}


def states(control):
    return sorted(row["state"] for row in control.state()["bitrix24"]["workflows"].values())


def test_the_first_dag_of_the_readme_shows_what_is_stuck_and_then_ends_it(portal):
    (block,) = python_blocks("README.md")
    (task,) = names_of(block)["dag"].tasks
    (stuck,) = portal.add_workflows([{"OWNED_UNTIL": "2025-05-01T00:00:00Z"}])

    assert rendered(task, is_dry_run="True").execute(context())["requested"] == 1
    assert set(states(portal)) == {"running"}

    assert rendered(task, is_dry_run="False").execute(context())["ended_ids"] == [stuck]
    assert states(portal) == ["running", "running", "running", "terminated"]


@pytest.fixture
def tasks():
    with DAG("docs", schedule=None, start_date=datetime(2026, 1, 1)):
        namespace = names_of(*python_blocks("docs/operators.md"))
    return SimpleNamespace(**{name: task for name, task in namespace.items() if isinstance(task, BaseOperator)})


def test_the_clean_ups_of_the_operators_page_end_what_they_say(portal, tasks):
    portal.add_users([{"ID": "9", "NAME": "Bob", "LAST_NAME": "Gone", "ACTIVE": False}])
    (waiting,) = portal.add_workflows([OLD])
    portal.add_tasks([{"WORKFLOW_ID": waiting, "USER_ID": 9, "STATUS": 0}])

    report = tasks.employee.execute(context())
    assert (report["ended_ids"], report["by_template"]) == ([waiting], {"7": 1})

    filters = {**tasks.clean_up.filters, "<STARTED": "2026-01-01"}
    report = rendered(tasks.clean_up, filters=filters, is_dry_run="False").execute(context())
    assert (len(report["ended_ids"]), report["by_template"]) == (1, {"12": 1})
    assert states(portal) == ["running", "running", "terminated", "terminated"]


def test_the_block_of_the_simulator_page_runs():
    (block,) = python_blocks("docs/simulator.md")
    namespace = names_of(block)
    assert set(namespace["states"].values()) == {"running"}


def test_the_tasks_of_the_operators_page_do_what_it_says(portal, tasks):
    rows = rendered(tasks.old_deals, filters={**tasks.old_deals.filters, "<STARTED": "2026-01-01"}).execute(context())
    assert len(rows) == 2

    report = rendered(tasks.terminate, workflow_id=rows).execute(context())
    assert report["ended_ids"] == [row["ID"] for row in rows]
    assert states(portal) == ["running", "terminated", "terminated"]

    assert tasks.kill.execute(context())["already_ended_ids"] == ["66e412fdc9bd44.36306599"]

    assert tasks.flow_off.execute(context()) == {"flow_id": 517, "before": True, "after": False}
    changed = tasks.holiday_shift.execute(context())["changed"]
    assert changed["name"] == {"before": "Sales", "after": "Sales, holiday shift"}
    assert portal.state()["bitrix24"]["flows"]["517"]["active"] is False

    assert not tasks.stuck.poke(context())
    assert not tasks.none_left.poke(context())

    report = tasks.cancel.execute(context())
    assert report["by_status"] == {"CANCELED": 1}


def test_the_tasks_of_the_waiting_page_do_what_it_says(portal):
    portal.add_templates([{"ID": 7}])
    portal.configure(finishes_after=0.0)
    namespace = names_of(*python_blocks("docs/waiting.md"))

    started = namespace["approval"].execute(context())
    assert portal.state()["bitrix24"]["workflows"][started]["state"] == "running"

    assert namespace["figures"].execute(context())["status"] == "COMPLETED"
    assert [entry["data"] for entry in portal.journal("start") if "data" in entry] == [{"region": "EMEA"}]

    assert not namespace["finished"].poke(context())
    path, arguments = namespace["stuck"].serialize()
    assert (path.rpartition(".")[2], arguments["stuck_for"]) == ("WorkflowsAppearedTrigger", 3600.0)


def test_the_blocks_of_the_page_without_airflow_end_what_is_stuck(portal):
    portal.change_workflows(list(portal.state()["bitrix24"]["workflows"]), OWNED_UNTIL="2025-05-02T00:00:00Z")
    connection = json.loads(os.environ["AIRFLOW_CONN_BITRIX24_DEFAULT"])
    address = f"http://{connection['host']}:{connection['port']}"
    blocks = [
        block.replace("https://acme.bitrix24.com/rest/1/<code>/", f"{address}/rest/1/sim0webhook0code/").replace(
            '"acme.domo.com", "<developer token>"', f'"{address}", "sim-domo-developer-token"'
        )
        for block in python_blocks("docs/without-airflow.md")
    ]
    told = names_of(*blocks)

    assert told["report"].json()["ended_ids"] == list(told["by_starter"])
    assert states(portal) == ["running", "running", "terminated"]
    assert (told["name"], portal.state()["bitrix24"]["flows"]["517"]["active"]) == ("Sales", False)
    assert told["used"].requests > 2
    assert portal.state()["domo"]["instances"][told["instance"].id]["status"] == "CANCELED"
    assert told["outcome"] == "the portal said no, with code '0'"


def error_of(task):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        task.execute(context())
    return raised.value


class TestTheRetryPolicyOfTheSafetyPage:
    @pytest.fixture(params=["as written", "as a worker reads it"])
    def decide(self, request):
        sdk = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies came with Airflow 3.3")
        (block,) = python_blocks("docs/safety.md")
        policy = names_of(block)["after_the_block"]
        if request.param == "as a worker reads it":
            policy = sdk.ExceptionRetryPolicy.deserialize(json.loads(json.dumps(policy.serialize())))

        def decide(error):
            decision = policy.evaluate(error, try_number=1, max_tries=3)
            return decision.action.value, decision.retry_delay

        return decide

    def test_a_blocked_method_is_tried_again_when_the_block_is_over(self, decide):
        assert decide(OperatingTimeLimitError("bizproc.workflow.terminate")) == ("retry", timedelta(minutes=10))

    @pytest.mark.parametrize("error", [NotConnectedError("batch"), ReplyLostError("batch")])
    def test_what_may_pass_is_retried_as_the_task_says(self, decide, error):
        assert decide(error) == ("default", None)


class TestNotifier:
    def test_the_callbacks_of_a_dag_and_of_a_task_tell_a_chat_and_a_person(self, portal):
        portal.add_chats(["chat29"])
        portal.add_users([{"ID": 17}])
        dag = names_of(python_blocks("docs/notifier.md")[0])["dag"]
        callbacks = [dag.on_failure_callback, dag.get_task("clean_up").on_failure_callback]
        ti = SimpleNamespace(task_id="clean_up", dag_id="nightly", run_id="run", try_number=2)
        for callback in callbacks:
            (callback[0] if isinstance(callback, list) else callback)({"ti": ti, "dag": dag})
        told = portal.state()["bitrix24"]
        assert [one["to"] for one in told["messages"]] == ["chat29"]
        assert [one["text"] for one in told["notifications"]] == ["[B]clean_up[/B] of nightly has failed, try 2"]

    def test_a_deadline_tells_a_person_from_the_triggerer(self, portal):
        callback = pytest.importorskip("airflow.triggers.callback", reason="it came with Airflow 3.2")
        portal.add_users([{"ID": 17}])
        dag = names_of(python_blocks("docs/notifier.md")[1])["dag"]
        (deadline,) = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]

        async def work():
            # As Airflow's scheduler puts it into the triggerer.
            trigger = callback.CallbackTrigger(deadline.callback.path, {**deadline.callback.kwargs, "context": {}})
            return [event.payload["state"] async for event in trigger.run()]

        assert asyncio.run(work())[-1] == "success"
        told = portal.state()["bitrix24"]["notifications"]
        assert [one["text"] for one in told] == ["Dag nightly runs for more than two hours"]
