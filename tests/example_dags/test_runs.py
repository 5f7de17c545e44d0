"""The example Dags under a real Airflow; what counts is what became of the simulated systems."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_workflows.simulator import Control
from tests.example_dags.conftest import EXAMPLES, DagsTest

#: Two runs show that the Dags run on Airflow 2 as well.
once = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 3 runs it")

SUPPORT, PURCHASES, OTHER = 517, 518, 519
WAITING, WORKING = "2052e10a-d142-4391-a731-2be1ab1c0188", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
HOUR = 3600
#: At DEBUG, Airflow 3's `dags test` (and nothing else of Airflow) prints whatever it is asked to mask, passwords of
#: connections among it.
MASKING = "msg=MaskSecret("


def states(control: Control) -> dict[str, str]:
    return {id: row["state"] for id, row in control.state()["bitrix24"]["workflows"].items()}


def switches(control: Control) -> list[tuple[int, bool]]:
    return sorted((effect["id"], effect["active"]) for effect in control.journal("activate"))


def days_from_now(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def variant(dag_id: str, changes: dict[str, str], folder: Path) -> Path:
    """Put a copy of an example into a folder, changed where the original would take hours."""
    text = (EXAMPLES / f"{dag_id}.py").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / f"{dag_id}.py").write_text(text)
    return folder


@once
class TestNightlyCleanup:
    def test_ends_what_was_started_before_the_date_and_nothing_else(self, dags_test: DagsTest, control: Control):
        # Thirty days before the run is 1 September, midnight UTC.
        control.generate_workflows(120, stuck=5, started_from="2026-01-01T00:00:00Z", started_to="2026-08-31T00:00:00Z")
        old = control.add_workflows([{"STARTED": "2026-08-31T23:59:59Z"}, {"STARTED": "2026-09-01T01:59:59+02:00"}])
        old += [id for id in states(control) if id not in old]
        kept = control.add_workflows([{"STARTED": "2026-09-01T00:00:00Z"}, {"STARTED": "2026-09-01T02:00:01+02:00"}])

        done = dags_test("nightly_workflow_cleanup", "2026-10-01", {"keep_days": 30})

        assert done.returncode == 0, done.stdout
        assert states(control) == dict.fromkeys(old, "terminated") | dict.fromkeys(kept, "running")
        rows = control.state()["bitrix24"]["workflows"]
        assert {rows[id]["status_text"] for id in old} == {"Ended by nightly_workflow_cleanup, 2026-10-01"}
        assert len(control.journal()) == len(old)


@once
class TestHolidaySwitch:
    def test_switches_the_flow_off_for_the_holiday_and_on_after_it(self, dags_test: DagsTest, control: Control):
        control.add_flow(id=SUPPORT, name="Support", taskControl=True)
        # Somebody gave it the longer time already.
        control.add_flow(id=PURCHASES, name="Purchases", plannedCompletionTime=120 * HOUR, taskControl=True)
        flows = control.state()["bitrix24"]["flows"]
        support, purchases = flows[str(SUPPORT)], flows[str(PURCHASES)]
        holiday = {"first_day": days_from_now(-1), "last_day": days_from_now(1)}

        done = dags_test("holiday_flow_switch", conf=holiday)

        assert done.returncode == 0, done.stdout
        assert control.state()["bitrix24"]["flows"] == {
            str(SUPPORT): support | {"active": False},
            str(PURCHASES): purchases,
        }
        assert [(effect["what"], effect["id"]) for effect in control.journal()] == [("activate", SUPPORT)]

        done = dags_test("holiday_flow_switch", conf={"first_day": days_from_now(-9), "last_day": days_from_now(-2)})

        assert done.returncode == 0, done.stdout
        assert control.state()["bitrix24"]["flows"] == {
            str(SUPPORT): support,
            str(PURCHASES): purchases | {"plannedCompletionTime": 48 * HOUR},
        }
        assert switches(control) == [(SUPPORT, False), (SUPPORT, True)]
        assert [effect["changed"] for effect in control.journal("update")] == [{"plannedCompletionTime": 48 * HOUR}]


class TestCrossSystemCleanup:
    @pytest.fixture(autouse=True)
    def systems(self, control: Control) -> None:
        for id in (SUPPORT, PURCHASES, OTHER):
            control.add_flow(id=id)
        control.add_domo_instances(
            [
                {"id": WAITING, "status": None, "starts_after": HOUR},
                {"id": WORKING, "status": "IN_PROGRESS"},
                {"id": "not-asked-for", "status": "IN_PROGRESS"},
            ]
        )
        control.configure(cancel_delay=0.5)

    @pytest.fixture
    def stuck(self, control: Control) -> set[str]:
        control.generate_workflows(100, stuck=60)
        long_ago = datetime.now(UTC) - timedelta(minutes=5)
        rows = control.state()["bitrix24"]["workflows"]
        locks = {id: row["OWNED_UNTIL"] for id, row in rows.items()}
        return {id for id, end in locks.items() if end is not None and datetime.fromisoformat(end) < long_ago}

    def instances(self, control: Control) -> dict[str, Any]:
        return {id: row["status"] for id, row in control.state()["domo"]["instances"].items()}

    def test_cleans_up_both_systems_while_the_flows_are_off(
        self, dags_test: DagsTest, control: Control, stuck: set[str]
    ):
        done = dags_test("cross_system_cleanup")

        assert done.returncode == 0, done.stdout
        assert len(stuck) == 60
        assert {id for id, state in states(control).items() if state == "terminated"} == stuck
        assert list(states(control).values()).count("running") == 40
        assert self.instances(control) == {WAITING: "CANCELED", WORKING: "CANCELED", "not-asked-for": "IN_PROGRESS"}
        assert switches(control) == [(SUPPORT, False), (SUPPORT, True), (PURCHASES, False), (PURCHASES, True)]
        effects = [(effect["what"], effect.get("active")) for effect in control.journal()]
        assert effects[:2] == [("activate", False)] * 2
        assert effects[-2:] == [("activate", True)] * 2
        assert len(effects) == 2 + 60 + 2 + 2

    @once
    def test_switches_the_flows_on_again_and_fails_when_domo_refuses(
        self, dags_test: DagsTest, control: Control, stuck: set[str], tmp_path: Path
    ):
        control.configure(domo_forbidden=["cancel"])
        folder = variant("cross_system_cleanup", {'"retries": 3': '"retries": 0'}, tmp_path)

        done = dags_test("cross_system_cleanup", folder=folder)

        assert done.returncode != 0
        assert "Access is denied" in done.stdout
        assert control.summary()["bitrix24"]["workflows"] == {"terminated": 60, "running": 40}
        assert control.journal("cancel") == []
        assert switches(control) == [(SUPPORT, False), (SUPPORT, True), (PURCHASES, False), (PURCHASES, True)]

    @once
    def test_touches_nothing_when_nothing_is_stuck(self, dags_test: DagsTest, control: Control, tmp_path: Path):
        control.generate_workflows(10)
        changes = {"poke_interval=300": "poke_interval=1", "hours=10": "seconds=1"}
        folder = variant("cross_system_cleanup", changes, tmp_path)

        done = dags_test("cross_system_cleanup", folder=folder)

        assert done.returncode == 0, done.stdout
        assert control.journal() == []
        assert {entry["method"] for entry in control.requests()} == {"bizproc.workflow.instances"}


@once
class TestMisspeltFilter:
    def test_fails_names_the_field_ends_nothing_and_shows_no_secret(
        self, dags_test: DagsTest, control: Control, tmp_path: Path
    ):
        control.generate_workflows(10)
        control.add_domo_instances([{"id": "completed-instance", "status": "COMPLETED"}])

        done = dags_test(
            "misspelt_filter",
            folder=Path(__file__).parent / "dags",
            AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG",
            AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(tmp_path),
        )

        assert done.returncode != 0
        assert "unknown field '<STARTDE'" in done.stdout
        assert control.journal() == []
        sent = control.requests()
        assert [entry["method"] for entry in sent if entry["vendor"] == "bitrix24"] == ["bizproc.workflow.instances"]
        assert {entry["method"] for entry in sent if entry["vendor"] == "domo"} == {"cancel", "get"}

        texts = [done.stdout, *(file.read_text() for file in tmp_path.rglob("*") if file.is_file())]
        lines = [line for text in texts for line in text.splitlines()]
        assert any("debug" in line.lower() and "/bizproc.workflow.instances" in line for line in lines)
        settings = control.settings()
        secrets = (settings["webhook_code"], settings["domo_token"])
        assert [line for line in lines if any(secret in line for secret in secrets) and MASKING not in line] == []


class TestStartAndWait:
    @pytest.fixture
    def busy_people(self, control: Control) -> Iterator[None]:
        """Have every workflow that is started come to its end a second later."""
        over = Event()

        def work() -> None:
            while not over.wait(1.0):
                control.finish_workflows([id for id, state in states(control).items() if state == "running"])

        worker = Thread(target=work)
        worker.start()
        yield
        over.set()
        worker.join()

    def test_starts_one_in_each_system_and_waits_for_their_ends(
        self, dags_test: DagsTest, control: Control, busy_people: None, tmp_path: Path
    ):
        control.add_templates([{"ID": 7}])
        control.configure(finishes_after=1.0)
        changes = {"        wait_timeout=": "        poll_interval=1,\n        wait_timeout="}
        folder = variant("start_and_wait", changes, tmp_path)

        done = dags_test("start_and_wait", folder=folder)

        assert done.returncode == 0, done.stdout
        instance, workflow = control.journal("start")
        assert control.state()["domo"]["instances"][instance["id"]]["status"] == "COMPLETED"
        assert states(control) == {workflow["id"]: "finished"}
        assert workflow["parameters"] == {"execution": instance["id"]}
        assert [entry["what"] for entry in control.journal() if entry["what"] not in {"start", "finish"}] == []
