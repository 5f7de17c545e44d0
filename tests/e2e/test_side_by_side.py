"""What happens under Airflow's own services; what counts is what became of the simulated systems.

All of it happens side by side, each case with a Dag, a portal and an account of its own.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.rest.protocol import IN_FLIGHT
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.simulator.bitrix24.tokens import FIRST_ACCESS_TOKEN, FIRST_REFRESH_TOKEN
from tests.e2e.api import Airflow
from tests.e2e.services import Services, wait_until

LONG_AGO = "2026-01-01T00:00:00Z"
WATCHER = "stuck_workflows_watcher"


def starts(control: Control, vendor: str) -> list[str]:
    """Return the ids of what was started in a system."""
    return [entry["id"] for entry in control.journal("start") if entry["vendor"] == vendor]


def instances(control: Control) -> dict[str, str]:
    """Return the status of each instance."""
    return {id: row["status"] for id, row in control.state()["domo"]["instances"].items()}


def workflows(control: Control) -> dict[str, str]:
    """Return the state of each workflow."""
    return {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}


def wait_for_requests(control: Control, vendor: str, count: int) -> None:
    """Wait for so many more requests to a system."""
    before = len(control.requests(vendor))
    wait_until(lambda: len(control.requests(vendor)) >= before + count, f"{count} more requests to {vendor}")


def everything_that_waits_defers_and_comes_to_its_end(airflow: Airflow, control: Control, dag: str) -> None:
    control.configure(finishes_after=60.0, cancel_delay=60.0)
    watched, cancelled = control.add_domo_instances([{}, {}])
    run = airflow.run(dag, watched=watched, cancelled=cancelled)
    for task in ("start_workflow", "workflows", "instance"):
        airflow.wait_for(dag, run, "deferred", task)
    (appeared,) = control.add_workflows([{"TEMPLATE_ID": 70}])
    (workflow,) = starts(control, "bitrix24")
    control.finish_workflows([workflow])
    control.add_domo_instances([{"id": watched, "status": "COMPLETED"}])

    airflow.wait_for(dag, run, "success")

    assert airflow.xcom(dag, run, "workflows") == [appeared]
    assert airflow.xcom(dag, run, "instance")["status"] == "COMPLETED"
    assert airflow.xcom(dag, run, "cancel")["by_status"] == {"CANCELED": 1}
    (instance,) = starts(control, "domo")
    assert airflow.xcom(dag, run, "start_instance")["status"] == "COMPLETED"
    assert airflow.xcom(dag, run, "start_workflow") == workflow
    assert instances(control) == {watched: "COMPLETED", cancelled: "CANCELED", instance: "COMPLETED"}
    secrets = [control.settings()[name] for name in ("webhook_code", "domo_token")]
    for task in airflow.states(dag, run):
        log = airflow.log(dag, run, task)
        assert ".log.trigger." in log, "it was deferred"
        assert not [secret for secret in secrets if secret in log]


def a_killed_deferred_task_ends_what_it_started(airflow: Airflow, control: Control, dag: str) -> None:
    run = airflow.run(dag)
    airflow.wait_for_triggers(dag, run)
    # By now the triggerer is at work on them.
    wait_for_requests(control, "domo", 1)
    wait_for_requests(control, "bitrix24", 1)
    (instance,), (workflow,) = starts(control, "domo"), starts(control, "bitrix24")

    for task in ("instance", "workflow"):
        airflow.set_state(dag, run, task, "failed")

    wait_until(lambda: instances(control)[instance] == "CANCELED", "the instance is cancelled")
    wait_until(lambda: workflows(control)[workflow] == "terminated", "the workflow is terminated")


def a_worker_killed_after_the_start_is_followed_by_one_that_goes_on(
    airflow: Airflow, control: Control, dag: str
) -> None:
    run = airflow.run(dag)
    wait_until(lambda: len(control.journal("start")) == 2, "both have started")
    (instance,), (workflow,) = starts(control, "domo"), starts(control, "bitrix24")
    # What they have started is noted before they look at it.
    wait_for_requests(control, "domo", 1)
    wait_for_requests(control, "bitrix24", 1)

    for task in airflow.tasks(dag, run):
        os.kill(task["pid"], signal.SIGKILL)

    def again() -> bool:
        return all((one["try_number"], one["state"]) == (2, "running") for one in airflow.tasks(dag, run))

    wait_until(again, "both are tried again")
    control.finish_workflows([workflow])
    wait_until(lambda: airflow.states(dag, run)["workflow"] == "success", "it has ended")
    assert (starts(control, "domo"), starts(control, "bitrix24")) == ([instance], [workflow])
    assert airflow.xcom(dag, run, "workflow") == workflow
    # Marked failed in the worker, the other ends what the first try started.
    airflow.set_state(dag, run, "instance", "failed")
    wait_until(lambda: instances(control)[instance] == "CANCELED", "the instance is cancelled")


def a_cleared_task_starts_another_one(airflow: Airflow, control: Control, dag: str) -> None:
    control.configure(finishes_after=1.0)
    run = airflow.run(dag)
    airflow.wait_for(dag, run, "success", task_id="instance")
    airflow.clear(dag, run, "instance")
    wait_until(lambda: len(starts(control, "domo")) == 2, "a second one has started")
    airflow.wait_for(dag, run, "success", task_id="instance")
    assert airflow.xcom(dag, run, "instance")["id"] == starts(control, "domo")[1]
    control.finish_workflows(starts(control, "bitrix24"))
    airflow.wait_for(dag, run, "success")


def what_the_portal_rejects_is_not_tried_again(airflow: Airflow, control: Control, dag: str) -> None:
    run = airflow.run(dag)
    airflow.wait_for(dag, run, "failed")
    (task,) = airflow.tasks(dag, run)
    assert (task["try_number"], task["max_tries"]) == (1, 3)
    assert control.journal("start") == []


def a_long_pause_of_a_clean_up_is_spent_in_the_triggerer(airflow: Airflow, control: Control, dag: str) -> None:
    # The ban model blocks batches for 90 s, here after the first one.
    control.configure(
        operating_model="ban",
        operating_ban=90.0,
        operating_per_command=4.0,
        operating_limit=90.0,
        operating_minimum=10.0,
    )
    ids = control.add_workflows([{"TEMPLATE_ID": 8}] * 100)
    run = airflow.run(dag)
    airflow.wait_for(dag, run, "deferred")
    assert 0 < list(workflows(control).values()).count("running") < 100

    airflow.wait_for(dag, run, "success")

    report = airflow.xcom(dag, run, "clean_up")
    assert (report["requested"], report["ended"], report["failed"]) == (100, 100, 0)
    assert sorted(report["ended_ids"]) == sorted(ids)
    assert Counter(entry["id"] for entry in control.journal("terminate")) == dict.fromkeys(ids, 1)
    assert report["paused_seconds"] >= 60


def a_clean_up_that_is_marked_failed_kills_no_more_and_tells_what_it_killed(
    airflow: Airflow, control: Control, dag: str
) -> None:
    # A batch takes a second, so it is at work for a minute; and it is told within seconds.
    count = 10_000
    control.configure(bucket_capacity=0, method_seconds={"bizproc.workflow.kill": 0.02})
    control.add_workflows([{"TEMPLATE_ID": 8}] * count)
    run = airflow.run(dag)
    wait_until(lambda: control.summary()["effects"].get("kill", 0) >= 1000, "a thousand are killed")

    airflow.set_state(dag, run, "clean_up", "failed")

    def told() -> bool:
        return any(one["key"] == "return_value" for one in airflow.xcoms(dag, run, "clean_up"))

    wait_until(told, "the report is pushed")
    wait_until(lambda: all(request["http_status"] for request in control.requests("bitrix24")), "all is answered")
    sent = len(control.requests("bitrix24"))
    report, killed = airflow.xcom(dag, run, "clean_up"), {entry["id"] for entry in control.journal("kill")}
    assert report["requested"] == count
    assert 1000 <= report["ended"] <= len(killed) < count
    # What was under way when the worker was ended for good is at most a batch of each request.
    assert len(killed) - report["ended"] <= IN_FLIGHT * 50
    assert set(report["ended_ids"]) <= killed
    wait_until(lambda: f"Of {count} requested: " in airflow.log(dag, run, "clean_up"), "the log tells how far it came")
    assert len(control.requests("bitrix24")) == sent


def the_watcher_starts_its_dag_once_for_an_appearance_which_ends_just_that(
    airflow: Airflow, control: Control, dag: str
) -> None:
    (working,) = control.add_workflows([{}])
    airflow.unpause(WATCHER)
    wait_for_requests(control, "bitrix24", 3)
    assert airflow.runs(WATCHER) == []

    stuck = control.add_workflows([{"OWNED_UNTIL": LONG_AGO}] * 2)

    wait_until(lambda: bool(airflow.runs(WATCHER)), "the Dag has started")
    (run,) = airflow.runs(WATCHER)
    airflow.wait_for(WATCHER, run["dag_run_id"], "success")
    assert workflows(control) == dict.fromkeys(stuck, "terminated") | {working: "running"}
    wait_for_requests(control, "bitrix24", 5)
    assert len(airflow.runs(WATCHER)) == 1


def many_sensors_share_their_looks(airflow: Airflow, control: Control, dag: str) -> None:
    run = airflow.run(dag)
    airflow.wait_for_triggers(dag, run)
    began = len(control.requests("bitrix24"))

    def looks() -> list[dict[str, Any]]:
        return control.requests("bitrix24")[began:]

    def questions() -> int:
        return sum(len(entry["commands"] or [None]) for entry in looks())

    wait_until(lambda: questions() >= 3 * 60, "each has looked three times")
    # Two requests each time, or some more on a slow machine; each for itself, there would be sixty.
    assert questions() >= 5 * len(looks())
    assert {entry["http_status"] for entry in looks()} <= {200, None}

    control.add_workflows([{"TEMPLATE_ID": 1000 + number} for number in range(60)])

    airflow.wait_for(dag, run, "success")
    assert len(airflow.tasks(dag, run)) == 60


def sensors_that_start_in_the_triggerer_need_no_worker_before_there_is_something(
    airflow: Airflow, control: Control, dag: str
) -> None:
    """See the triggerer fill in templates, and mapped ones start in a worker."""
    run = airflow.run(dag, template=71, before="2026-03-01")
    for task in ("templated", "mapped", *(f"workflows_{number}" for number in range(10))):
        airflow.wait_for(dag, run, "deferred", task)
    rows: list[dict[str, Any]] = [{"TEMPLATE_ID": 2000 + number} for number in range(10)]
    (found, *_) = control.add_workflows(
        [
            {"TEMPLATE_ID": 71, "STARTED": "2026-02-01T00:00:00Z"},
            {"TEMPLATE_ID": 71, "STARTED": "2026-04-01T00:00:00Z"},
            {"TEMPLATE_ID": 72},
            *rows,
        ]
    )

    def over() -> bool:
        return Counter(one["state"] for one in airflow.tasks(dag, run)) == {"success": 12, "skipped": 1}

    wait_until(over, "all have seen theirs, but the one that waits in vain and is skipped")
    assert airflow.states(dag, run)["in_vain"] == "skipped"
    assert airflow.xcom(dag, run, "templated") == [found]
    assert control.settings()["webhook_code"] not in airflow.log(dag, run, "templated")


def tokens_that_expire_meanwhile_are_renewed_in_the_triggerer(airflow: Airflow, control: Control, dag: str) -> None:
    """They are in an Airflow Variable, which the triggerer writes, and the worker after it."""
    settings = control.settings()
    control.configure(access_token_seconds=20.0, refresh_rotation="strict")
    keys = {key: settings[key] for key in ("client_id", "client_secret")}
    host, port = control.url.removeprefix("http://").split(":")
    extra = json.dumps(keys | {"token_url": f"{control.url}/oauth/token/"})
    airflow.add_connection(dag, conn_type="bitrix24", host=host, port=int(port), schema="http", extra=extra)
    first = {"access_token": FIRST_ACCESS_TOKEN, "refresh_token": FIRST_REFRESH_TOKEN, "generation": 1}
    tokens = Tokens.model_validate({**first, "issued_at": time.time(), "expires_at": time.time()})
    airflow.add_variable(Application(dag, control.url, **keys).name, tokens.model_dump_json())

    run = airflow.run(dag)
    airflow.wait_for_triggers(dag, run)
    renewed = len(control.journal("token"))
    wait_until(lambda: len(control.journal("token")) >= renewed + 2, "the triggerer has renewed the tokens twice")
    (appeared,) = control.add_workflows([{"TEMPLATE_ID": 72}])
    airflow.wait_for(dag, run, "success")

    assert airflow.xcom(dag, run, "workflows") == [appeared]
    issued = control.journal("token")
    assert len(issued) == len(control.requests(method="oauth.token")), "none was refused"
    log = airflow.log(dag, run, "workflows")
    secrets = {keys["client_secret"], *(one[name] for one in issued for name in ("access_token", "refresh_token"))}
    assert not [secret for secret in secrets if secret in log]


#: Each with the Dag that it is about; those that take longest come first.
CASES: dict[Callable[[Airflow, Control, str], None], str] = {
    a_long_pause_of_a_clean_up_is_spent_in_the_triggerer: "pausing_clean_up",
    many_sensors_share_their_looks: "many_sensors",
    a_clean_up_that_is_marked_failed_kills_no_more_and_tells_what_it_killed: "killing_clean_up",
    everything_that_waits_defers_and_comes_to_its_end: "all_that_waits",
    a_killed_deferred_task_ends_what_it_started: "killed",
    a_worker_killed_after_the_start_is_followed_by_one_that_goes_on: "starts_in_the_worker",
    tokens_that_expire_meanwhile_are_renewed_in_the_triggerer: "with_tokens",
    a_cleared_task_starts_another_one: "cleared",
    what_the_portal_rejects_is_not_tried_again: "rejected",
    sensors_that_start_in_the_triggerer_need_no_worker_before_there_is_something: "starts_in_the_triggerer",
    the_watcher_starts_its_dag_once_for_an_appearance_which_ends_just_that: "default",
}


@pytest.fixture(scope="module")
def outcomes(airflow: Airflow, simulators: dict[str, Simulator]) -> Iterator[dict[str, Future[None]]]:
    """Have all cases happen, and return what becomes of each."""
    with ThreadPoolExecutor(len(CASES)) as threads:
        yield {
            case.__name__: threads.submit(case, airflow, simulators[dag].control, dag) for case, dag in CASES.items()
        }


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_side_by_side(outcomes: dict[str, Future[None]], case: str) -> None:
    outcomes[case].result()


def test_after_the_triggerer_was_killed_waits_go_on_and_no_event_is_repeated(
    airflow: Airflow, simulators: dict[str, Simulator], services: Services, outcomes: Any
) -> None:
    watched, sensed = simulators["default"].control, simulators["one_sensor"].control
    airflow.unpause(WATCHER)
    run = airflow.run("one_sensor")
    airflow.wait_for_triggers("one_sensor", run)
    before = {run["dag_run_id"] for run in airflow.runs(WATCHER)}
    # They stay stuck, as the portal rejects what is to end them.
    watched.inject("error", method="bizproc.workflow.terminate", times=None)

    def reported(count: int) -> list[list[str]]:
        """Wait for so many runs, and give what each was told."""
        wait_until(lambda: len(airflow.runs(WATCHER)) == len(before) + count, f"run {count} has started")
        runs = [run["dag_run_id"] for run in airflow.runs(WATCHER) if run["dag_run_id"] not in before]
        for run in runs:
            airflow.wait_for(WATCHER, run, "success", task_id="reported")
        return [airflow.xcom(WATCHER, run, "reported") for run in runs]

    (stuck,) = watched.add_workflows([{"OWNED_UNTIL": LONG_AGO}])
    assert reported(1) == [[stuck]]
    (first,) = {run["dag_run_id"] for run in airflow.runs(WATCHER)} - before
    airflow.wait_for(WATCHER, first, "failed", task_id="end_stuck")

    services.kill("triggerer")
    (later,) = watched.add_workflows([{"OWNED_UNTIL": LONG_AGO}])
    (appeared,) = sensed.add_workflows([{"TEMPLATE_ID": 71}])
    services.start("triggerer")

    assert sorted(reported(2)) == sorted([[stuck], [later]])
    airflow.wait_for("one_sensor", run, "success")
    assert airflow.xcom("one_sensor", run, "workflows") == [appeared]
    wait_for_requests(watched, "bitrix24", 5)
    assert len(airflow.runs(WATCHER)) == len(before) + 2
