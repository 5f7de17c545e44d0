"""What happens in a real deployment when parts of it are killed; what counts is what became of the portals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.simulator.settings import Settings
from tests.cluster.cluster import TRIGGERERS, WORKERS, Cluster, break_down
from tests.e2e.api import Airflow
from tests.e2e.services import wait_until

#: How many workflows each of the ten tasks ends.
EACH = 300
#: What of all requests may be refused: on a busy machine one comes late, and with the next.
REFUSED = 0.1

Portal = Callable[[str], Simulator]


def killed(control: Control) -> Counter[str]:
    """Return how often each workflow was killed."""
    return Counter(entry["id"] for entry in control.journal("kill"))


def starts(control: Control) -> list[str]:
    """Return the ids of what was started."""
    return [entry["id"] for entry in control.journal("start")]


def states(airflow: Airflow, run: str, task_id: str) -> Counter[str]:
    """Return how many of a mapped task are in which state."""
    return Counter(one["state"] for one in airflow.tasks("work", run) if one["task_id"] == task_id)


def begin(airflow: Airflow, control: Control, name: str) -> str:
    """Have all that a cluster may be at be under way, and return the run."""
    control.add_workflows([{"TEMPLATE_ID": 100 + nth % 10} for nth in range(10 * EACH)])
    run = airflow.run("work", portal=name)
    wait_until(lambda: len(starts(control)) == 5, "all five have started")
    wait_until(lambda: len(control.journal("kill")) >= 2 * EACH, "some are killed")
    assert len(control.journal("kill")) < 10 * EACH, "the ten are still at it"
    wait_until(lambda: states(airflow, run, "wait")["deferred"] == 5, "the sensors wait in the triggerers")
    return run


def end(airflow: Airflow, control: Control, run: str) -> None:
    """Have what is waited for happen, and see that nothing was done twice and nothing left out."""
    control.finish_workflows(starts(control))
    control.add_workflows([{"TEMPLATE_ID": 30 + number} for number in range(5)])
    airflow.wait_for("work", run, "success")
    assert killed(control) == dict.fromkeys(killed(control), 1)
    assert len(killed(control)) == 10 * EACH
    assert len(starts(control)) == 5
    assert control.summary()["bitrix24"]["workflows"]["running"] == 5


def refused(control: Control) -> float:
    """Return what part of the requests was refused."""
    answers = [entry["http_status"] for entry in control.requests("bitrix24")]
    return answers.count(503) / len(answers)


def test_ten_tasks_on_two_workers_share_the_portals_limit(airflow: Airflow, cluster: Cluster, portal: Portal) -> None:
    simulator = portal("calm")
    control = simulator.control
    before = cluster.metrics.copy()
    run = begin(airflow, control, "calm")
    end(airflow, control, run)
    assert all(cluster.tasks_of(worker) >= 3 for worker in WORKERS)
    # Each was let go by the store that all machines share; a place may be taken and not used.
    assert cluster.places_taken(simulator.url) >= len(control.requests())
    print(f"{refused(control):.1%} of {len(control.requests())} requests were refused")
    assert refused(control) < REFUSED
    # Airflow's metrics tell the same: of what the workers did, and of the polls of the triggerers.
    counted = cluster.metrics - before
    assert counted["ended"] == 10 * EACH
    assert counted["requests"] == len(control.requests())
    assert counted["polls"] >= counted["polls_sent"] > 0


def test_when_a_worker_is_killed_in_the_middle_the_other_goes_on_and_does_nothing_twice(
    airflow: Airflow, cluster: Cluster, portal: Portal
) -> None:
    control = portal("worker").control
    run = begin(airflow, control, "worker")
    cluster.kill(WORKERS[0])
    end(airflow, control, run)
    assert {one["try_number"] for one in airflow.tasks("work", run)} == {1, 2}
    cluster.start(WORKERS[0])


def test_when_a_triggerer_is_killed_in_the_middle_the_other_takes_its_waits_over(
    airflow: Airflow, cluster: Cluster, portal: Portal
) -> None:
    first, second = TRIGGERERS
    cluster.kill(second)
    control = portal("triggerer").control
    run = begin(airflow, control, "triggerer")
    cluster.start(second)
    cluster.kill(first)
    end(airflow, control, run)
    cluster.start(first)


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_when_a_server_is_killed_in_the_middle_all_goes_on_and_nothing_is_done_twice(
    airflow: Airflow, cluster: Cluster, portal: Portal, name: str
) -> None:
    control = portal(name).control
    run = begin(airflow, control, name)
    break_down({"redis": cluster.broker, "postgres": cluster.database}[name])
    wait_until(cluster.ready, "the services are healthy again")
    end(airflow, control, run)


def test_tokens_that_expire_meanwhile_are_renewed_for_all(airflow: Airflow, cluster: Cluster, portal: Portal) -> None:
    simulator = portal("application")
    control = simulator.control
    # The chain of refresh tokens ends where one is used twice.
    control.configure(refresh_rotation="strict", token_check_seconds=0.0)
    cluster.authorize("application")

    def has_pair(nth: int) -> bool:
        return len(control.journal("token")) == nth

    run = begin(airflow, control, "application")
    # A call is sent again twice at most, so it must not meet a third expiry while it waits for its turn.
    for nth in (2, 3):
        control.expire_tokens()
        wait_until(partial(has_pair, nth), f"there is a pair number {nth}")
    end(airflow, control, run)
    assert has_pair(3), "for each expiry one worker has renewed the tokens for all"
    renewals = [entry["params"] for entry in control.requests(method="oauth.token")]
    assert len(renewals) == 3
    cluster.secrets |= {one.get("refresh_token") or one["code"] for one in renewals}


def test_marked_failed_with_no_triggerer_alive_what_was_started_goes_on(
    airflow: Airflow, cluster: Cluster, portal: Portal
) -> None:
    """The page on deployment says so, and what to do then."""
    control = portal("alone").control
    run = airflow.run("start", portal="alone")
    airflow.wait_for_triggers("start", run)
    (started,) = starts(control)
    for triggerer in TRIGGERERS:
        cluster.kill(triggerer)

    airflow.set_state("start", run, "start", "failed")
    for triggerer in TRIGGERERS:
        cluster.start(triggerer)

    # By then they have seen what there is for them.
    later = airflow.run("start", portal="alone")
    airflow.wait_for_triggers("start", later)
    wait_until(lambda: len(starts(control)) == 2, "the next run has started its own")
    (own,) = {*starts(control)} - {started}
    control.finish_workflows([own])
    airflow.wait_for("start", later, "success")
    assert control.state()["bitrix24"]["workflows"][started]["state"] == "running"
    assert started in cluster.logs("start")


def test_no_secret_is_in_a_dump_a_log_or_a_brokers_message(airflow: Airflow, cluster: Cluster) -> None:
    """What the other tests have left behind is searched."""
    portals = {Settings().webhook_code, Settings().client_secret}
    secrets = [secret.encode() for secret in cluster.secrets | portals]
    left = {
        "the database": cluster.dump(),
        "the broker": cluster.messages(),
        "the tasks' logs": cluster.logs("").encode(),
        "the services' logs": cluster.services_logs().encode(),
    }
    assert b"COPY public.trigger " in left["the database"]
    assert b"cluster.py" in left["the broker"]
    assert b"about to kill 300 running workflows" in left["the tasks' logs"]
    assert [(place, secret) for place, content in left.items() for secret in secrets if secret in content] == []
