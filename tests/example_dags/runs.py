"""Run the example Dags as they are, in one Airflow process, against what the simulator's ``--demo`` begins with.

``python -m tests.example_dags.runs <file>`` writes a JSON list of what was run, with what went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from airflow.providers.common.compat.version_compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_1_PLUS,
    AIRFLOW_V_3_3_PLUS,
)

from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.simulator import Control, Simulator
from airflow_provider_workflows.simulator.demo import (
    FIGURES_MODEL,
    FIRST_WAITING_LEAD,
    WAITING_FOR_GONE,
    WAITING_INSTANCE,
    WORKING_INSTANCE,
    seed,
)
from airflow_provider_workflows.testing.clock import VirtualTime

try:
    from airflow.dag_processing.dagbag import DagBag
except ModuleNotFoundError:
    # Before Airflow 3.2.
    from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

SUPPORT, PURCHASES = "517", "518"
#: The connection of an application that has to be authorised.
APPLICATION = "bitrix24_application"
HOUR = 3600

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What a Dag run has left behind.

    :param control: of the simulator.
    :param before: the workflows, before the run.
    :param began: when the run began.
    :param portal_time: what the portal's clock told then, which is ahead by all pauses so far.
    """

    control: Control
    before: Rows
    began: datetime
    portal_time: datetime

    def stuck_for(self, span: timedelta) -> set[str]:
        """Return the workflows whose lock had ended that long ago when the run began."""
        return stuck_for(self.before, self.portal_time - span)

    def texts(self, ids: set[str]) -> set[str]:
        """Return the status texts of workflows."""
        rows: Rows = self.control.state()["bitrix24"]["workflows"]
        return {rows[id]["status_text"] for id in ids}

    def ended(self) -> set[str]:
        """Return the ids of the workflows that the Dag ended."""
        return {effect["id"] for effect in self.control.journal("terminate")}

    def effects(self) -> list[tuple[str, Any, Any]]:
        """Return all that was done, with flows' new state."""
        return [(effect["what"], str(effect["id"]), effect.get("active")) for effect in self.control.journal()]


def portal_time() -> datetime:
    """Return what the portal's clock tells."""
    return datetime.fromtimestamp(AccountHook.clock.time(), UTC)


def started(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["STARTED"])


def stuck_for(rows: Rows, latest: datetime) -> set[str]:
    """Return the workflows whose lock ended before a time."""
    ends = {id: datetime.fromisoformat(row["OWNED_UNTIL"]) for id, row in rows.items() if row["OWNED_UNTIL"]}
    return {id for id, end in ends.items() if end < latest}


def nothing_is_done(seen: Seen) -> None:
    assert seen.effects() == [], seen.effects()


def ends_what_is_too_old(seen: Seen) -> None:
    old = {id for id, row in seen.before.items() if started(row) < seen.began - timedelta(days=91)}
    assert len(old) == 1200
    assert seen.ended() == old
    assert len(seen.effects()) == len(old)
    # It may be midnight meanwhile.
    days = {f"{day:%Y-%m-%d}" for day in (seen.began, datetime.now(UTC))}
    assert seen.texts(old) in [{f"Ended by nightly_workflow_cleanup, {day}"} for day in days]


def ends_what_was_started_before_the_date(seen: Seen) -> None:
    old = {id for id, row in seen.before.items() if started(row) < datetime(2026, 1, 1, tzinfo=UTC)}
    assert len(old) > 500
    assert seen.ended() == old
    assert seen.texts(old) == {"Ended by mass_ending_by_date"}


def ends_what_waits_for_the_one_who_left(seen: Seen) -> None:
    documents = {f"LEAD_{FIRST_WAITING_LEAD + 2 * nth}" for nth in range(WAITING_FOR_GONE)}
    assert seen.ended() == {id for id, row in seen.before.items() if row["DOCUMENT_ID"] in documents}
    assert len(seen.effects()) == WAITING_FOR_GONE


def ends_what_a_person_approved(seen: Seen) -> None:
    stuck = seen.stuck_for(timedelta(hours=1))
    assert 0 < len(stuck) < 50
    # Until it has looked, others may have been stuck for an hour, too.
    assert stuck <= seen.ended() <= seen.stuck_for(timedelta(minutes=45))
    assert len(seen.stuck_for(timedelta(minutes=45))) < 50


def cleans_up_both_systems_while_the_flows_are_off(seen: Seen) -> None:
    stuck = seen.stuck_for(timedelta(minutes=5))
    assert len(stuck) == 50
    assert seen.ended() == stuck
    effects = seen.effects()
    assert sorted(effects[:2]) == [("activate", SUPPORT, False), ("activate", PURCHASES, False)]
    assert sorted(effects[-2:]) == [("activate", SUPPORT, True), ("activate", PURCHASES, True)]
    cancelled = {id for what, id, _ in effects if what == "cancel"}
    assert cancelled == {WAITING_INSTANCE, WORKING_INSTANCE}
    instances = seen.control.state()["domo"]["instances"]
    assert {instances[id]["status"] for id in cancelled} == {"CANCELED"}
    assert len(effects) == 2 + 50 + 2 + 2


def switches_the_flows_on_again(seen: Seen) -> None:
    assert seen.ended() == seen.stuck_for(timedelta(minutes=5))
    assert seen.control.journal("cancel") == []
    switches = sorted((id, active) for what, id, active in seen.effects() if what == "activate")
    assert switches == [(SUPPORT, False), (SUPPORT, True), (PURCHASES, False), (PURCHASES, True)]


def only_looks(seen: Seen) -> None:
    nothing_is_done(seen)
    assert {entry["method"] for entry in seen.control.requests()} == {"bizproc.workflow.instances"}


def switches_for_the_holiday(seen: Seen) -> None:
    flows = seen.control.state()["bitrix24"]["flows"]
    assert (flows[SUPPORT]["active"], flows[PURCHASES]["plannedCompletionTime"]) == (False, 120 * HOUR)
    assert [effect["changed"] for effect in seen.control.journal("update")] == [{"plannedCompletionTime": 120 * HOUR}]


def switches_back_after_it(seen: Seen) -> None:
    flows = seen.control.state()["bitrix24"]["flows"]
    assert (flows[SUPPORT]["active"], flows[PURCHASES]["plannedCompletionTime"]) == (True, 48 * HOUR)
    assert len(seen.effects()) == 4


def renews_the_tokens(seen: Seen) -> None:
    first, second = seen.control.journal("token")
    assert [entry["http_status"] for entry in seen.control.requests(method="profile")] == [401, 200]
    stored, _ = Bitrix24Hook(APPLICATION).application_tokens().chain.store.change(lambda found, now: None)
    assert stored is not None
    assert (stored.access_token, stored.refresh_token) == (second["access_token"], second["refresh_token"])
    assert first["refresh_token"] != stored.refresh_token


def starts_one_in_each_system_and_waits_for_their_ends(seen: Seen) -> None:
    instance, workflow = seen.control.journal("start")
    state = seen.control.state()
    row = state["domo"]["instances"][instance["id"]]
    assert (row["modelId"], row["status"]) == (FIGURES_MODEL, "COMPLETED")
    assert state["bitrix24"]["workflows"][workflow["id"]]["state"] == "finished"
    assert workflow["parameters"] == {"execution": instance["id"]}
    done = {effect["what"] for effect in seen.control.journal()}
    assert done <= {"start", "finish"}, done


def begin_anew(control: Control) -> None:
    """Have what the simulator's ``--demo`` begins with."""
    control.reset()
    seed(control)


def go_on(control: Control) -> None:
    """Leave it as the run before has."""


def let_domo_refuse(control: Control) -> None:
    begin_anew(control)
    control.configure(domo_forbidden=["cancel"])


def let_nothing_be_stuck(control: Control) -> None:
    begin_anew(control)
    control.finish_workflows(list(stuck_for(control.state()["bitrix24"]["workflows"], portal_time())))


def authorize(control: Control) -> None:
    """Do as the command ``authorize`` does; then an hour passes."""
    begin_anew(control)
    tokens = Bitrix24Hook(APPLICATION).application_tokens()
    sent = requests.get(tokens.chain.application.authorize_url("any"), allow_redirects=False, timeout=300).headers[
        "Location"
    ]
    tokens.exchange(parse_qs(urlsplit(sent).query)["code"][0], None)
    control.expire_tokens()


@dataclass(frozen=True)
class Run:
    """One run of a Dag.

    :param dag_id: the Dag.
    :param promise: finds out whether it did what it is for.
    :param conf: its parameters, where they are not the defaults.
    :param prepare: has the systems be as they are when it begins.
    :param changes: what of tasks is not as in the file, as the original would take hours.
    :param ends: the state of the run.
    """

    dag_id: str
    promise: Callable[[Seen], None]
    conf: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Control], None] = begin_anew
    changes: dict[str, Any] = field(default_factory=dict)
    ends: str = "success"


def days(first: int, last: int) -> dict[str, str]:
    """Return a holiday, by days from today."""
    day = {"first_day": first, "last_day": last}
    return {name: f"{datetime.now(UTC) + timedelta(days=number):%Y-%m-%d}" for name, number in day.items()}


#: As they are, with nothing chosen.
AS_THEY_ARE = [
    Run("nightly_workflow_cleanup", ends_what_is_too_old),
    Run("mass_ending_by_date", nothing_is_done),
    Run("dismissed_employee", nothing_is_done),
    # Before Airflow 3.3 an approval waits in the triggerer, where nobody answers here.
    *([Run("approved_cleanup", ends_what_a_person_approved)] if AIRFLOW_V_3_3_PLUS else []),
    Run("cross_system_cleanup", cleans_up_both_systems_while_the_flows_are_off),
    Run("keep_application_alive", renews_the_tokens, prepare=authorize),
    Run("start_and_wait", starts_one_in_each_system_and_waits_for_their_ends),
    # No event has started it.
    Run("stuck_workflows_watcher", nothing_is_done),
    Run("holiday_flow_switch", switches_for_the_holiday, days(-1, 1)),
    Run("holiday_flow_switch", switches_back_after_it, days(-9, -2), go_on),
]
OTHERWISE = [
    Run("mass_ending_by_date", ends_what_was_started_before_the_date, {"dry_run": False}),
    Run("dismissed_employee", ends_what_waits_for_the_one_who_left, {"dry_run": False}),
    Run(
        "cross_system_cleanup", switches_the_flows_on_again, prepare=let_domo_refuse,
        changes={"retries": 0}, ends="failed",
    ),
    # A test run of 3.0 never takes up a sensor again that it has rescheduled.
    *(
        [Run("cross_system_cleanup", only_looks, {}, let_nothing_be_stuck, {"poke_interval": 1.0, "timeout": 1.0})]
        if AIRFLOW_V_3_1_PLUS or not AIRFLOW_V_3_0_PLUS else []
    ),
]  # fmt: skip


def answering_approvals(real_sleep: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what approves where Airflow would sleep until a person has, as its API does it for a click."""
    from airflow.models import TaskInstance
    from airflow.models.hitl import HITLDetail
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    def sleep(seconds: Any) -> None:
        with create_session() as session:
            for task in session.query(TaskInstance).filter(TaskInstance.state == "awaiting_input"):
                asked = session.get_one(HITLDetail, task.id)
                asked.chosen_options, asked.responded_at = ["Approve"], datetime.now(UTC)
                handle_event_submit(TriggerEvent(asked.as_resume_event_payload()), task_instance=task, session=session)
        real_sleep(min(seconds, 0.1))

    return sleep


def writing_dags_once() -> None:
    """Have Airflow write the Dags of the folder into its database before the first run, and not before each."""
    from airflow.dag_processing import dagbag

    write = dagbag.sync_bag_to_db

    def once(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        dagbag.sync_bag_to_db = lambda *_, **__: None

    dagbag.sync_bag_to_db = once


def go(run: Run, dag: Any, control: Control, nth: int | None) -> None:
    """Run a Dag, and find out whether it did what it is for.

    :param nth: the number of a run on schedule, whose logical date must be its own.
    """
    run.prepare(control)
    before = control.state()["bitrix24"]["workflows"]
    for task in dag.tasks:
        for name, value in run.changes.items():
            if hasattr(task, name):
                setattr(task, name, value)
    began = datetime.now(UTC)
    seen = Seen(control, before, began, portal_time())
    date = None if nth is None else began + timedelta(microseconds=nth)
    done = dag.test(run_conf=run.conf, **{"logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date": date})
    assert str(done.state) == run.ends, f"the run is {done.state}"
    run.promise(seen)


def main(results: Path) -> None:
    """Run all of them, and write down what became of each."""
    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    bag = DagBag(folder)
    AccountHook.clock = clock = VirtualTime()
    runs = [(run, "on schedule") for run in AS_THEY_ARE]
    # Before Airflow 3 every run has a logical date.
    runs += [(run, "by hand") for run in AS_THEY_ARE] if AIRFLOW_V_3_0_PLUS else []
    runs += [(run, "on schedule") for run in OTHERWISE]
    told = []
    with Simulator(clock=clock) as simulator:
        for name, connection in simulator.connections().items():
            # One bucket for the portals of all runs.
            extra = {"bucket_capacity": 100_000} if connection["conn_type"] == "bitrix24" else {}
            os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps({**connection, "extra": extra})
        place = simulator.connections()["bitrix24_default"] | {"login": "", "password": ""}
        keys = {"client_id": "local.sim0client", "client_secret": "sim0client0secret"}
        keys |= {"token_url": f"{simulator.url}/oauth/token/"}
        os.environ[f"AIRFLOW_CONN_{APPLICATION.upper()}"] = json.dumps({**place, "extra": keys})
        for nth, (run, way) in enumerate(runs):
            if run.dag_id in bag.dags:
                wrong = ""
                try:
                    go(run, bag.dags[run.dag_id], simulator.control, None if way == "by hand" else nth)
                except Exception:
                    wrong = traceback.format_exc()
                told.append({"dag": run.dag_id, "way": way, "promise": run.promise.__name__, "wrong": wrong})
    results.write_text(json.dumps(told))


if __name__ == "__main__":
    if AIRFLOW_V_3_3_PLUS:
        time.sleep = answering_approvals(time.sleep)
        writing_dags_once()
    main(Path(sys.argv[1]))
