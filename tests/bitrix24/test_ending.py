"""Ending workflows: what is sent, what is settled by reading, and what the report says of each id."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.ending import CHECK_SIZE, FRESH, end_workflows
from airflow_provider_workflows.bitrix24.errors import (
    MethodNotFoundError,
    NotAdministratorError,
    OperatingTimeLimitError,
    WorkflowError,
)
from airflow_provider_workflows.bitrix24.listing import running_workflows
from airflow_provider_workflows.rest.ending import EndReport
from airflow_provider_workflows.rest.errors import (
    ApiError,
    AuthenticationError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import ATTEMPTS, Now, Pause, Plan
from tests.plan_runner import run

#: What can become of one command or of one request that ends workflows.
REFUSED, REJECTED, LOST_BEFORE, LOST_AFTER = "refused", "rejected", "lost before", "lost after"
ENDING = {"bizproc.workflow.terminate", "bizproc.workflow.kill"}


def workflow_ids(count: int) -> list[str]:
    """Return so many ids."""
    return [f"66e412fdc9bd44.{number:08d}" for number in range(count)]


@dataclass
class TinyPortal:
    """Running workflows, and calls that end them or look for them by ID.

    :param running: ids of those that run.
    :param request_fates: what becomes of the next requests that end workflows; ``None`` is nothing special.
    :param command_fates: for an id, what becomes of the next commands that end it.
    :param read_fates: the errors that the next requests that only read end in; ``None`` is none.
    """

    running: set[str]
    request_fates: list[Any] = field(default_factory=list)
    command_fates: dict[str, list[Any]] = field(default_factory=dict)
    read_fates: list[ApiError | None] = field(default_factory=list)
    requests: list[Call] = field(default_factory=list)
    #: How often each id was ended by a call.
    ended: Counter[str] = field(default_factory=Counter)
    #: For each id, in order: "sent", "told" (its fate was told for sure), "running" or "gone" (it was read).
    story: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply | ApiError:
        """Answer a request."""
        self.requests.append(call)
        commands = call.commands or {"": call}
        if all(command.method not in ENDING for command in commands.values()):
            trouble = self.read_fates.pop(0) if self.read_fates else None
            if trouble:
                return trouble
            replies = {key: self._poll(command) for key, command in commands.items()}
            return Reply(replies) if call.commands else replies[""]
        for command in commands.values():
            self._tell(command.params["ID"], "sent")
        fate = self.request_fates.pop(0) if self.request_fates else None
        if fate == REFUSED:
            return RateLimitError(call.method)
        if fate == LOST_BEFORE:
            return ReplyLostError(call.method)
        outcomes = {key: self._end(command) for key, command in commands.items()}
        if fate == LOST_AFTER:
            return ReplyLostError(call.method)
        for key, outcome in outcomes.items():
            if isinstance(outcome, Reply):
                self._tell(commands[key].params["ID"], "told")
        return Reply(outcomes) if call.commands else outcomes[""]

    def _end(self, command: Call) -> Reply | ApiError:
        workflow_id = command.params["ID"]
        fates = self.command_fates.get(workflow_id, [])
        fate = fates.pop(0) if fates else None
        if fate == REFUSED:
            return OperatingTimeLimitError(command.method, code="OPERATION_TIME_LIMIT", retry_after=300.0)
        if fate == LOST_BEFORE:
            return UnreadableReplyError(command.method)
        if fate == REJECTED or workflow_id not in self.running:
            return WorkflowError(command.method, code="", text="Das geht nicht")
        self.running.remove(workflow_id)
        self.ended[workflow_id] += 1
        return UnreadableReplyError(command.method) if fate == LOST_AFTER else Reply(True)

    def _poll(self, command: Call) -> Reply:
        workflow_id = command.params["FILTER"]["ID"]
        found = [{"ID": workflow_id}] if workflow_id in self.running else []
        self._tell(workflow_id, "running" if found else "gone")
        return Reply(found, total=len(found))

    def _tell(self, workflow_id: str, event: str) -> None:
        self.story.setdefault(workflow_id, []).append(event)

    def endings(self) -> list[int]:
        """Return the number of workflows that each request meant to end."""
        sizes = (
            [command.method in ENDING for command in (call.commands or {"": call}).values()] for call in self.requests
        )
        return [len(size) for size in sizes if all(size)]


def end(portal: TinyPortal, ids: list[str], pauses: list[Pause] | None = None) -> EndReport:
    """Terminate workflows."""
    return run(end_workflows(ids, calls.terminate_workflow), portal, pauses)


@pytest.mark.parametrize(
    ("count", "requests"),
    [(0, []), (1, [1]), (50, [50]), (51, [26, 25]), (120, [40, 40, 40])],
)
def test_up_to_fifty_go_in_one_request(count: int, requests: list[int]) -> None:
    portal = TinyPortal(set(workflow_ids(count)))
    report = end(portal, workflow_ids(count))
    assert report == EndReport(requested=count, ended=workflow_ids(count))
    assert (portal.running, portal.endings()) == (set(), requests)
    assert len(portal.requests) == len(requests)


@pytest.mark.parametrize("ends", [calls.terminate_workflow, calls.kill_workflow])
def test_the_given_call_is_the_one_that_is_sent(ends: Any) -> None:
    portal = TinyPortal(set(workflow_ids(2)))
    run(end_workflows(workflow_ids(2), ends), portal)
    assert list(portal.requests[0].commands.values()) == [ends(one) for one in workflow_ids(2)]


@pytest.mark.parametrize("count", [1, 2, 60])
def test_what_does_not_run_is_found_by_reading_and_is_no_failure(count: int) -> None:
    portal = TinyPortal(set())
    assert end(portal, workflow_ids(count)) == EndReport(requested=count, already_ended=workflow_ids(count))


def test_running_dead_and_stubborn_ones_are_told_apart() -> None:
    ids = workflow_ids(6)
    portal = TinyPortal(set(ids[:4]), command_fates={ids[1]: [REJECTED] * 99, ids[3]: [REJECTED] * 99})
    report = end(portal, ids)
    assert (report.ended, report.already_ended) == ([ids[0], ids[2]], [ids[4], ids[5]])
    assert report.failed == dict.fromkeys([ids[1], ids[3]], "error code '', Das geht nicht.")
    assert portal.running == set(report.failed)
    assert json.loads(json.dumps(report.json())) == report.json()


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("times", [1, 5])
def test_after_a_lost_reply_it_is_read_what_was_done(count: int, times: int) -> None:
    ids = workflow_ids(count)
    portal = TinyPortal(set(ids), request_fates=[LOST_BEFORE] * (times - 1) + [LOST_AFTER])
    report = end(portal, ids)
    report.ended.sort()
    assert report == EndReport(requested=count, ended=ids)
    # A request that was lost may have been too long for the portal, so the next ones are shorter.
    assert portal.endings()[:2] == [count, max(1, count // 2)][:times]


def test_an_answer_that_does_not_confirm_the_end_is_settled_by_reading() -> None:
    done, stubborn = workflow_ids(2)
    portal = TinyPortal({stubborn})
    unsure = {method: Reply(False) for method in ENDING}

    def answer(call: Call) -> Reply | ApiError:
        if any(command.method in ENDING for command in call.commands.values()):
            return Reply({key: unsure[command.method] for key, command in call.commands.items()})
        return portal(call)

    report = run(end_workflows([done, stubborn], calls.terminate_workflow), answer)
    assert report.ended == [done]
    assert report.failed == {stubborn: "the portal did not confirm that it was ended, and it still runs"}


def test_of_a_batch_that_was_cut_only_the_rest_is_sent_again() -> None:
    ids = workflow_ids(50)
    portal = TinyPortal(set(ids), command_fates={one: [LOST_BEFORE] for one in ids[30:]}, request_fates=[LOST_AFTER])
    report = end(portal, ids)
    assert (report.ended, portal.endings()) == (ids, [50, 20])


def test_a_command_that_the_reply_does_not_mention_is_settled_by_reading() -> None:
    ids = workflow_ids(4)
    fates = {ids[1]: [LOST_BEFORE], ids[2]: [LOST_AFTER]}
    portal = TinyPortal(set(ids), command_fates=fates)
    report = end(portal, ids)
    assert sorted(report.ended) == ids
    assert portal.endings() == [4, 1]
    assert portal.story[ids[1]] == ["sent", "running", "sent", "told"]
    assert portal.story[ids[2]] == ["sent", "gone"]


def test_a_refused_request_is_sent_again_with_exponential_backoff() -> None:
    ids = workflow_ids(2)
    portal = TinyPortal(set(ids), request_fates=[REFUSED] * 4)
    pauses: list[Pause] = []
    assert end(portal, ids, pauses).ended == ids
    assert len(portal.requests) == 5
    assert len(pauses) == 4
    assert all(low <= pause.seconds <= high for pause, (low, high) in zip(pauses, DELAYS, strict=False))


DELAYS = [(0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (15, 30), (15, 30)]


def test_a_command_whose_method_is_blocked_waits_until_the_block_is_over() -> None:
    ids = workflow_ids(3)
    portal = TinyPortal(set(ids), command_fates={ids[1]: [REFUSED] * 3})
    pauses: list[Pause] = []
    assert sorted(end(portal, ids, pauses).ended) == ids
    # Others were done beside the first refusal; how long the next try waits is the pace's to know then.
    assert portal.endings() == [3, 1, 1, 1]
    assert [pause.seconds for pause in pauses] == [300.0, 300.0]


@pytest.mark.parametrize(("count", "answered"), [(1, 0), (150, 2)])
def test_a_portal_that_refuses_for_ever_stops_it_with_the_rest_reported_as_failed(count: int, answered: int) -> None:
    ids = workflow_ids(count)
    portal = TinyPortal(set(ids), request_fates=[None] * answered + [REFUSED] * 999)
    report = end(portal, ids)
    assert isinstance(report.stopped_by, RateLimitError)
    assert list(report.failed) == ids[answered * 50 :]
    assert portal.running == set(report.failed)
    assert len(portal.requests) > answered + 100, "a refusal may be repeated for an hour"


def test_one_whose_reply_is_always_lost_is_given_up_after_eight_tries() -> None:
    ids = workflow_ids(2)
    portal = TinyPortal(set(ids), command_fates={ids[0]: [LOST_BEFORE] * 99})
    report = end(portal, ids)
    assert (report.ended, list(report.failed), report.stopped_by) == ([ids[1]], [ids[0]], None)
    assert portal.story[ids[0]] == ["sent", "running"] * ATTEMPTS


@pytest.mark.parametrize("error", [AuthenticationError("x"), NotAdministratorError("x", code="ACCESS_DENIED")])
@pytest.mark.parametrize("count", [1, 60])
def test_a_credential_that_is_not_accepted_stops_it_at_once(error: ApiError, count: int) -> None:
    sent: list[Call] = []

    def answer(call: Call) -> ApiError:
        sent.append(call)
        return error

    report = run(end_workflows(workflow_ids(count), calls.kill_workflow), answer)
    assert (list(report.failed), report.stopped_by) == (workflow_ids(count), error)
    # What is said of a batch says nothing of the workflows in it; of a single one it is read whether it runs.
    assert len(sent) == 2
    assert [call.method for call in sent].count("batch") == (0 if count == 1 else 2), "both batches were under way"


def test_a_method_that_the_portal_does_not_have_fails_those_that_run_and_no_others() -> None:
    ids = workflow_ids(3)
    portal = TinyPortal(set(ids[:2]))

    def answer(call: Call) -> Reply | ApiError:
        if any(command.method in ENDING for command in call.commands.values()):
            return Reply({key: MethodNotFoundError("bizproc.workflow.kill") for key in call.commands})
        return portal(call)

    report = run(end_workflows(ids, calls.kill_workflow), answer)
    assert (list(report.failed), report.already_ended) == (ids[:2], ids[2:])


def test_if_it_cannot_be_read_what_was_done_the_ids_have_failed() -> None:
    ids = workflow_ids(100)
    portal = TinyPortal(set(ids), request_fates=[LOST_AFTER], read_fates=[ServerError("x")] * 99)
    report = end(portal, ids)
    # The second batch was under way, and was answered.
    assert (list(report.failed), report.ended) == (ids[:50], ids[50:])
    assert isinstance(report.stopped_by, ServerError)
    assert len(portal.requests) == 2 + ATTEMPTS


def test_a_portal_that_ignores_the_filter_by_id_ends_nothing_by_mistake_and_says_so() -> None:
    ids = workflow_ids(2)

    def answer(call: Call) -> Reply | ApiError:
        if call.commands and all(command.method in ENDING for command in call.commands.values()):
            return Reply({key: WorkflowError(command.method, code="") for key, command in call.commands.items()})
        return Reply({key: Reply([{"ID": "another.1"}], total=1) for key in call.commands})

    report = run(end_workflows(ids, calls.kill_workflow), answer)
    assert (report.ended, report.already_ended, list(report.failed)) == ([], [], ids)
    assert "does not filter workflows by ID" in report.failed[ids[0]]


def test_a_misshapen_id_is_refused_before_anything_is_sent() -> None:
    portal = TinyPortal(set(workflow_ids(50)))
    with pytest.raises(ValueError, match="'no id' is not a workflow id such as"):
        end(portal, [*workflow_ids(50), "no id"])
    assert portal.requests == []


def test_an_id_that_is_given_twice_is_ended_once() -> None:
    portal = TinyPortal(set(workflow_ids(2)))
    assert end(portal, workflow_ids(2) * 2) == EndReport(requested=2, ended=workflow_ids(2))
    assert portal.ended == Counter(workflow_ids(2))


fates = st.sampled_from([None, REFUSED, REJECTED, LOST_BEFORE, LOST_AFTER])
request_fates = st.sampled_from([None, None, REFUSED, LOST_BEFORE, LOST_AFTER])
read_fates = st.sampled_from([None, None, None, RateLimitError("x"), ReplyLostError("x"), NotConnectedError("x")])


@st.composite
def portals(draw: st.DrawFn) -> TinyPortal:
    """Return a portal in which some workflows run, and anything can become of any command and request."""
    ids = workflow_ids(draw(st.integers(1, MOST)))
    return TinyPortal(
        running=draw(st.sets(st.sampled_from(ids))),
        request_fates=draw(st.lists(request_fates, max_size=12)),
        command_fates=draw(st.dictionaries(st.sampled_from(ids), st.lists(fates, max_size=10))),
        read_fates=draw(st.lists(read_fates, max_size=10)),
    )


#: Enough for several requests under way at once, with batches as small as this.
MOST, SMALL_BATCH = 16, 3


def end_in_small_batches(portal: TinyPortal, ids: list[str], chance: random.Random) -> EndReport:
    """Terminate workflows, the requests under way being done in any order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_workflows.bitrix24.batches.BATCH", SMALL_BATCH)
        report = run(end_workflows(ids, calls.terminate_workflow), portal, chance=chance)
    assert all(size <= SMALL_BATCH for size in portal.endings())
    return report


@settings(deadline=None)
@given(portals(), st.integers(1, MOST), st.randoms(use_true_random=False))
def test_whatever_happens_the_report_is_true(portal: TinyPortal, count: int, chance: random.Random) -> None:
    ids = workflow_ids(count)
    before = portal.running.copy()
    report = end_in_small_batches(portal, ids, chance)

    # Each id stands in exactly one place.
    assert sorted([*report.ended, *report.already_ended, *report.failed]) == ids
    # What is said to have ended runs no more, ...
    assert not portal.running & {*report.ended, *report.already_ended}
    # ... by our doing, unless a lost reply left that open, ...
    assert all(portal.ended[one] == 1 or "gone" in portal.story[one] for one in report.ended)
    assert all(portal.ended[one] == 0 and one not in before for one in report.already_ended)
    # ... and what has failed still runs, unless it could not be read.
    assert report.stopped_by is not None or portal.running & set(ids) == set(report.failed)
    # Nothing else was touched.
    assert before - portal.running <= {*report.ended, *report.failed}


@settings(deadline=None)
@given(portals(), st.integers(1, MOST), st.randoms(use_true_random=False))
def test_whatever_happens_nothing_is_sent_again_whose_end_is_known(
    portal: TinyPortal, count: int, chance: random.Random
) -> None:
    end_in_small_batches(portal, workflow_ids(count), chance)
    for story in portal.story.values():
        events: Iterator[str] = iter(story)
        for event in events:
            if event in {"told", "gone"}:
                assert list(events) == []


class TestOnlyWhatStillMatches:
    """Workflows that were chosen a while ago are checked again shortly before they are ended."""

    def end(self, portal: TinyPortal, ids: list[str], moved: Callable[[str], bool], **how: Any) -> EndReport:
        """End those that have not moved on."""

        def recheck(some: Sequence[str]) -> Plan[dict[str, bool]]:
            return {one: not moved(one) for one in (yield from running_workflows(some))}

        return run(end_workflows(ids, calls.kill_workflow, recheck=recheck, **how), portal)

    def test_what_has_moved_on_is_left_alone_and_what_is_gone_had_ended(self) -> None:
        ids = workflow_ids(5)
        portal = TinyPortal(set(ids[:4]))
        report = self.end(portal, ids, lambda one: one in ids[1:3])
        assert (report.ended, report.moved_on, report.already_ended) == ([ids[0], ids[3]], ids[1:3], [ids[4]])
        assert portal.running == set(ids[1:3])
        assert (report.json()["moved_on"], report.failed) == (2, {})

    def test_of_many_the_last_are_checked_when_it_is_their_turn(self) -> None:
        ids = workflow_ids(2 * CHECK_SIZE)
        portal = TinyPortal(set(ids))
        # One that moves on while the first part is ended.
        report = self.end(portal, ids, lambda one: one == ids[-1] and not portal.running & set(ids[:1]))
        assert (report.moved_on, portal.running) == ([ids[-1]], {ids[-1]})

    def test_it_costs_one_request_more_for_each_fifty(self) -> None:
        portal = TinyPortal(set(workflow_ids(CHECK_SIZE)))
        self.end(portal, workflow_ids(CHECK_SIZE), lambda _: False)
        assert len(portal.requests) == 2 * CHECK_SIZE // 50

    @pytest.mark.parametrize(("seconds_ago", "requests"), [(FRESH - 1, 1), (FRESH + 1, 2)])
    def test_what_was_seen_within_a_minute_is_not_checked_again(self, seconds_ago: float, requests: int) -> None:
        portal = TinyPortal(set(workflow_ids(3)))
        self.end(portal, workflow_ids(3), lambda _: False, seen=run(now(), portal) - seconds_ago)
        assert len(portal.requests) == requests

    def test_if_that_cannot_be_read_nothing_more_is_ended(self) -> None:
        ids = workflow_ids(2)
        portal = TinyPortal(set(ids), read_fates=[NotAdministratorError("batch")])
        report = self.end(portal, ids, lambda _: False)
        assert isinstance(report.stopped_by, NotAdministratorError)
        assert (list(report.failed), portal.running) == (ids, set(ids))


def now() -> Plan[float]:
    """Ask for the time."""
    time: float = yield Now()
    return time
