"""Waiting under Airflow's own services; what counts is what became of the simulated systems."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

from airflow_provider_workflows.simulator import Control
from tests.e2e.api import Airflow
from tests.e2e.services import Services, wait_until

LONG_AGO = "2026-01-01T00:00:00Z"


def starts(control: Control, vendor: str) -> list[str]:
    """Return the ids of what was started in a system."""
    return [entry["id"] for entry in control.journal("start") if entry["vendor"] == vendor]


def instances(control: Control) -> dict[str, str]:
    """Return the status of each instance."""
    return {id: row["status"] for id, row in control.state()["domo"]["instances"].items()}


def workflows(control: Control) -> dict[str, str]:
    """Return the state of each workflow."""
    return {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}


def test_everything_that_waits_defers_and_comes_to_its_end(airflow: Airflow, control: Control) -> None:
    control.configure(finishes_after=15.0, cancel_delay=15.0)
    watched, cancelled = control.add_domo_instances([{"finishes_after": 30.0}, {}])
    run = airflow.run("all_that_waits", watched=watched, cancelled=cancelled)
    airflow.wait_for("all_that_waits", run, "deferred", task_id="start_workflow")
    airflow.wait_for("all_that_waits", run, "deferred", task_id="workflows")
    (appeared,) = control.add_workflows([{"TEMPLATE_ID": 70}])
    (workflow,) = starts(control, "bitrix24")
    control.finish_workflows([workflow])

    airflow.wait_for("all_that_waits", run, "success", 120)

    assert airflow.xcom("all_that_waits", run, "workflows") == [appeared]
    assert airflow.xcom("all_that_waits", run, "instance")["status"] == "COMPLETED"
    assert airflow.xcom("all_that_waits", run, "cancel")["by_status"] == {"CANCELED": 1}
    (instance,) = starts(control, "domo")
    assert airflow.xcom("all_that_waits", run, "start_instance")["status"] == "COMPLETED"
    assert airflow.xcom("all_that_waits", run, "start_workflow") == workflow
    assert instances(control) == {watched: "COMPLETED", cancelled: "CANCELED", instance: "COMPLETED"}
    secrets = [control.settings()[name] for name in ("webhook_code", "domo_token")]
    for task in airflow.states("all_that_waits", run):
        log = airflow.log("all_that_waits", run, task)
        assert ".log.trigger." in log, "it was deferred"
        assert not [secret for secret in secrets if secret in log]


def test_a_killed_deferred_task_ends_what_it_started(airflow: Airflow, control: Control) -> None:
    run = airflow.run("starts")
    airflow.wait_for_triggers("starts", run)
    time.sleep(5)
    (instance,), (workflow,) = starts(control, "domo"), starts(control, "bitrix24")

    for task in ("instance", "workflow"):
        airflow.set_state("starts", run, task, "failed")

    wait_until(lambda: instances(control)[instance] == "CANCELED", 30, "the instance is cancelled")
    wait_until(lambda: workflows(control)[workflow] == "terminated", 30, "the workflow is terminated")


def test_a_worker_killed_after_the_start_is_followed_by_one_that_goes_on(airflow: Airflow, control: Control) -> None:
    run = airflow.run("starts_in_the_worker")
    airflow.wait_for("starts_in_the_worker", run, "running")
    wait_until(lambda: len(control.journal("start")) == 2, 60, "both have started")
    time.sleep(2)
    (instance,), (workflow,) = starts(control, "domo"), starts(control, "bitrix24")

    for task in airflow.tasks("starts_in_the_worker", run):
        os.kill(task["pid"], signal.SIGKILL)

    def again() -> bool:
        return all(one["try_number"] == 2 for one in airflow.tasks("starts_in_the_worker", run))

    wait_until(again, 90, "both are tried again")
    airflow.wait_for("starts_in_the_worker", run, "running")
    control.finish_workflows([workflow])
    wait_until(lambda: airflow.states("starts_in_the_worker", run)["workflow"] == "success", 60, "it has ended")
    assert (starts(control, "domo"), starts(control, "bitrix24")) == ([instance], [workflow])
    assert airflow.xcom("starts_in_the_worker", run, "workflow") == workflow
    # Marked failed in the worker, the other ends what the first try started.
    airflow.set_state("starts_in_the_worker", run, "instance", "failed")
    wait_until(lambda: instances(control)[instance] == "CANCELED", 60, "the instance is cancelled")


def test_a_cleared_task_starts_another_one(airflow: Airflow, control: Control) -> None:
    control.configure(finishes_after=1.0)
    run = airflow.run("starts")
    airflow.wait_for("starts", run, "success", task_id="instance")
    airflow.clear("starts", run, "instance")
    wait_until(lambda: len(starts(control, "domo")) == 2, 90, "a second one has started")
    airflow.wait_for("starts", run, "success", task_id="instance")
    assert airflow.xcom("starts", run, "instance")["id"] == starts(control, "domo")[1]
    control.finish_workflows(starts(control, "bitrix24"))
    airflow.wait_for("starts", run, "success")


def test_waits_go_on_after_the_triggerer_was_killed(airflow: Airflow, control: Control, services: Services) -> None:
    run = airflow.run("one_sensor")
    airflow.wait_for_triggers("one_sensor", run)
    services.kill("triggerer")
    (appeared,) = control.add_workflows([{"TEMPLATE_ID": 71}])
    time.sleep(5)
    assert airflow.states("one_sensor", run) == {"workflows": "deferred"}

    services.start("triggerer")

    airflow.wait_for("one_sensor", run, "success", 120)
    assert airflow.xcom("one_sensor", run, "workflows") == [appeared]


def test_the_watcher_starts_its_dag_once_for_an_appearance_which_ends_just_that(
    airflow: Airflow, control: Control
) -> None:
    airflow.unpause("stuck_workflows_watcher")
    (working,) = control.add_workflows([{}])
    time.sleep(10)
    assert airflow.runs("stuck_workflows_watcher") == []

    stuck = control.add_workflows([{"OWNED_UNTIL": LONG_AGO}] * 2)

    wait_until(lambda: bool(airflow.runs("stuck_workflows_watcher")), 120, "the Dag has started")
    (run,) = airflow.runs("stuck_workflows_watcher")
    airflow.wait_for("stuck_workflows_watcher", run["dag_run_id"], "success")
    assert workflows(control) == dict.fromkeys(stuck, "terminated") | {working: "running"}
    time.sleep(15)
    assert len(airflow.runs("stuck_workflows_watcher")) == 1


def test_a_restart_of_the_triggerer_repeats_no_event(airflow: Airflow, control: Control, services: Services) -> None:
    dag = "stuck_workflows_watcher"
    airflow.unpause(dag)
    before = {run["dag_run_id"] for run in airflow.runs(dag)}
    # They stay stuck, as the portal refuses to end them.
    control.inject("error", method="bizproc.workflow.terminate", times=None)

    def reported(count: int) -> list[list[str]]:
        """Wait for so many runs, and give what each was told."""
        wait_until(lambda: len(airflow.runs(dag)) == len(before) + count, 120, f"run {count} has started")
        runs = [run["dag_run_id"] for run in airflow.runs(dag) if run["dag_run_id"] not in before]
        for run in runs:
            airflow.wait_for(dag, run, "success", task_id="reported")
        return [airflow.xcom(dag, run, "reported") for run in runs]

    (stuck,) = control.add_workflows([{"OWNED_UNTIL": LONG_AGO}])
    assert reported(1) == [[stuck]]
    (first,) = {run["dag_run_id"] for run in airflow.runs(dag)} - before
    airflow.wait_for(dag, first, "up_for_retry", task_id="end_stuck")
    airflow.set_state(dag, first, "end_stuck", "failed")

    services.kill("triggerer")
    services.start("triggerer")
    (later,) = control.add_workflows([{"OWNED_UNTIL": LONG_AGO}])

    assert sorted(reported(2)) == sorted([[stuck], [later]])
    time.sleep(10)
    assert len(airflow.runs(dag)) == len(before) + 2


def test_a_long_pause_of_a_clean_up_is_spent_in_the_triggerer(airflow: Airflow, control: Control) -> None:
    # The ban model blocks batches for 65 s, here after the first one.
    control.configure(
        operating_model="ban",
        operating_ban=65.0,
        operating_per_command=4.0,
        operating_limit=90.0,
        operating_minimum=10.0,
    )
    ids = control.add_workflows([{"TEMPLATE_ID": 8}] * 100)
    run = airflow.run("clean_up")
    airflow.wait_for("clean_up", run, "deferred", 60)
    left = list(workflows(control).values()).count("running")
    assert 0 < left < 400

    airflow.wait_for("clean_up", run, "success", 240)

    report = airflow.xcom("clean_up", run, "clean_up")
    assert (sorted(report["ended_ids"]), report["failed"]) == (sorted(ids), 0)
    assert Counter(entry["id"] for entry in control.journal("terminate")) == dict.fromkeys(ids, 1)
    assert report["paused_seconds"] >= 60


def test_two_hundred_sensors_wait_at_once_and_share_their_looks(airflow: Airflow, control: Control) -> None:
    run = airflow.run("many_sensors")
    airflow.wait_for_triggers("many_sensors", run, 420)
    began, seconds = len(control.requests("bitrix24")), 60
    time.sleep(seconds)
    # The watcher's looks, which are others, go alone.
    looks = [entry for entry in control.requests("bitrix24")[began:] if entry["commands"]]
    # Four requests of fifty for each ten seconds; one at a time, it would be 1,200.
    assert len(looks) <= (seconds / 10 + 1) * 4 + 4
    assert {entry["http_status"] for entry in looks} == {200}

    control.add_workflows([{"TEMPLATE_ID": 1000 + number} for number in range(200)])

    airflow.wait_for("many_sensors", run, "success", 420)
    tasks = airflow.tasks("many_sensors", run)
    assert len(tasks) == 200
