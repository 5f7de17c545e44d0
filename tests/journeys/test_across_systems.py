"""One job in both systems: a campaign is over, so its workflows, its instances and its flow are to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_workflows.domo.errors import BlockedError
from airflow_provider_workflows.operators.bitrix24 import (
    FlowActivateOperator,
    FlowUpdateOperator,
    ListWorkflowsOperator,
    TerminateWorkflowOperator,
)
from airflow_provider_workflows.operators.domo import DomoCancelOperator
from airflow_provider_workflows.sensors.bitrix24 import RunningWorkflowsSensor
from airflow_provider_workflows.simulator import Control
from airflow_provider_workflows.simulator.faults import KINDS, ONLY_VENDOR
from tests.operators.remote import TaskInstance, VirtualTime, failed_ids, refused

CAMPAIGN, OTHER = 7, 8
LASTING = {"redirect", "error", "blocked"}
OF_BITRIX24 = {kind for kind, vendor in ONLY_VENDOR.items() if vendor == "bitrix24"}


class World:
    """What runs before the job, in both systems.

    :param control: of the simulator.
    :param clock: which both systems go by.
    """

    def __init__(self, control: Control, clock: VirtualTime) -> None:
        self.control, self.clock = control, clock
        control.configure(cancel_delay=12.0, cancel_finished="409", language="ru")
        rows = [{"TEMPLATE_ID": CAMPAIGN if nth % 4 else OTHER} for nth in range(120)]
        ids = control.add_workflows(rows)
        self.campaign = {id for id, row in zip(ids, rows, strict=True) if row["TEMPLATE_ID"] == CAMPAIGN}
        self.other = set(ids) - self.campaign
        kinds: list[dict[str, Any]] = [{}, {"status": None}, {"status": "FAILED"}, {"status": "COMPLETED"}]
        self.instances = control.add_domo_instances(kinds)
        (self.other_instance,) = control.add_domo_instances([{}])
        self.flow = control.add_flow(name="Campaign", description="Summer", ownerId=5, groupId=9, active=True)

    def is_cleaned_up(self) -> bool:
        """Tell whether all that was to stop has stopped, and nothing else."""
        self.clock.sleep(12.0)  # for a failed instance nobody waits: it is over, cancelled or not
        state = self.control.state()
        workflows, domo = state["bitrix24"]["workflows"], state["domo"]["instances"]
        flow = state["bitrix24"]["flows"][str(self.flow)]
        return (
            {id for id, row in workflows.items() if row["state"] == "running"} == self.other
            and {workflows[id]["status_text"] for id in self.campaign} == {"campaign over"}
            and [domo[id]["status"] for id in self.instances] == ["CANCELED", "CANCELED", "CANCELED", "COMPLETED"]
            and domo[self.other_instance]["status"] == "IN_PROGRESS"
            and (flow["active"], flow["description"], flow["ownerId"], flow["groupId"]) == (False, "Over", 5, 9)
        )


@pytest.fixture
def world(control: Control, clock: VirtualTime) -> World:
    """Return a world in which the campaign still runs."""
    return World(control, clock)


def steps(world: World, context: Any) -> list[Callable[[], Any]]:
    """Return the tasks of the job, in order. Each is made anew for each try, as Airflow does."""
    filters = {"TEMPLATE_ID": CAMPAIGN}
    rows: list[Any] = []

    def listed() -> None:
        rows[:] = ListWorkflowsOperator(task_id="list", filters=filters).execute(context)

    def gone() -> None:
        watch = RunningWorkflowsSensor(task_id="gone", filters=filters, min_count=0, max_count=0)
        assert watch.poke(context).is_done

    return [
        lambda: FlowActivateOperator(task_id="off", flow_id=world.flow, active=False).execute(context),
        lambda: FlowUpdateOperator(task_id="note", flow_id=world.flow, changes={"description": "Over"}).execute(
            context
        ),
        listed,
        lambda: TerminateWorkflowOperator(task_id="end", workflow_id=rows, status="campaign over").execute(context),
        gone,
        lambda: DomoCancelOperator(task_id="cancel", instance_id=world.instances, wait_for_completion=True).execute(
            context
        ),
    ]


def run(steps: list[Callable[[], Any]], tries: int = 1) -> int:
    """Run the tasks, each again while it fails; give how many tries failed."""
    failures = 0
    for step in steps:
        for nth in range(tries):
            try:
                step()
                break
            except Exception:
                failures += 1
                if nth == tries - 1:
                    raise
    return failures


def effects(control: Control) -> Counter[tuple[str, str]]:
    """Return how often each thing was really done."""
    return Counter((effect["what"], str(effect["id"])) for effect in control.journal())


def wanted(world: World) -> Counter[tuple[str, str]]:
    """Return what has to be done, each once."""
    done = {("activate", str(world.flow)), ("update", str(world.flow))}
    done |= {("terminate", id) for id in world.campaign}
    return Counter(done | {("cancel", id) for id in world.instances[:3]})


def test_it_stops_what_was_to_stop_and_nothing_else(world: World, context: Any) -> None:
    assert run(steps(world, context)) == 0
    assert world.is_cleaned_up()
    assert effects(world.control) == wanted(world)


def test_run_a_second_time_it_changes_nothing(world: World, context: Any) -> None:
    run(steps(world, context))
    run(steps(world, context))
    assert world.is_cleaned_up()
    assert effects(world.control) == wanted(world)


@pytest.mark.parametrize(
    ("vendor", "fault"),
    [("bitrix24", fault) for fault in sorted(set(KINDS) - LASTING - {"slow", "others"})]
    + [("domo", fault) for fault in sorted(set(KINDS) - LASTING - OF_BITRIX24 - {"slow", "others"})],
)
def test_a_fault_at_every_other_request_changes_nothing_about_that(
    world: World, context: Any, fault: str, vendor: str
) -> None:
    for _ in range(12):
        world.control.inject(fault, vendor=vendor, skip=1)
    assert run(steps(world, context), tries=3) <= 3
    assert world.is_cleaned_up()
    assert effects(world.control) == wanted(world)


@pytest.mark.parametrize("vendor", ["bitrix24", "domo"])
@pytest.mark.parametrize("fault", ["lost_after", "lost_before"])
@pytest.mark.parametrize("after", [0, 4, 8])
def test_nor_does_one_that_lasts_for_a_whole_try(
    world: World, context: Any, fault: str, vendor: str, after: int
) -> None:
    world.control.inject(fault, vendor=vendor, skip=after, times=9)
    run(steps(world, context), tries=4)
    assert world.is_cleaned_up()
    assert effects(world.control) == wanted(world)


@pytest.mark.parametrize(
    ("vendor", "fault", "options"),
    [
        ("bitrix24", "redirect", {}),
        ("bitrix24", "error", {"status": 401, "code": "NO_AUTH_FOUND"}),
        # All four cancellations are under way at once.
        ("domo", "redirect", {"times": 3}),
        ("domo", "blocked", {"how": "redirect", "times": 3}),
        ("domo", "error", {"status": 401, "times": 3}),
    ],
)
def test_a_lasting_fault_fails_the_job_and_once_it_is_mended_the_job_is_done(
    world: World, context: Any, vendor: str, fault: str, options: dict
) -> None:
    world.control.inject(fault, vendor=vendor, skip=1, **options)
    with pytest.raises(Exception, match=r"401|redirect|[Bb]locked"):
        run(steps(world, context))
    assert not world.is_cleaned_up()
    run(steps(world, context))
    assert world.is_cleaned_up()
    assert effects(world.control) == wanted(world)


def test_one_system_that_is_down_does_not_keep_the_other_from_being_cleaned_up(
    world: World, context: Any, ti: TaskInstance
) -> None:
    world.control.configure(domo_blocked="page")
    *in_bitrix24, in_domo = steps(world, context)
    run(in_bitrix24)
    with refused(BlockedError, match="allowlist"):
        in_domo()
    assert sorted(failed_ids(ti.xcoms["return_value"])) == sorted(world.instances)
    world.control.configure(domo_blocked="")
    in_domo()
    assert world.is_cleaned_up()
