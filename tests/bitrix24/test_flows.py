"""Switching and changing a flow: toggles, lost replies, and others who do the same at the same time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24.calls import Call, Reply
from airflow_provider_workflows.bitrix24.errors import FlowError, FlowNotReachedError
from airflow_provider_workflows.bitrix24.flow_changes import FlowChangesError, differences, parse_changes
from airflow_provider_workflows.bitrix24.flows import FLOW_TRIES, FlowTransition, change_flow, read_flow, switch_flow
from airflow_provider_workflows.rest.errors import (
    ApiError,
    NotConnectedError,
    RateLimitError,
    ReplyLostError,
    ServerError,
    UnreadableReplyError,
)
from airflow_provider_workflows.rest.plans import Pause, Plan
from tests.bitrix24.test_flow_changes import WHOLE
from tests.plan_runner import run

GET, ACTIVATE, UPDATE = "tasks.flow.Flow.get", "tasks.flow.Flow.activate", "tasks.flow.Flow.update"
#: An answer that never comes back, before or after the call was done.
LOST_BEFORE, LOST_AFTER = "lost before", "lost after"
REFUSALS = [RateLimitError("x", retry_after=3.0), NotConnectedError("x")]
UNKNOWN = [ReplyLostError("x"), ServerError("x", http_status=500), UnreadableReplyError("x")]


@dataclass
class OneFlow:
    """A portal with one flow.

    :param active: whether it is on.
    :param fates: what becomes of the next changes; ``None`` is nothing special, an error is given undone.
    :param read_fates: the same of the next reads.
    """

    active: bool = False
    fates: list[Any] = field(default_factory=list)
    read_fates: list[ApiError | None] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=lambda: dict(WHOLE))
    sent: list[str] = field(default_factory=list)
    changed: int = 0

    def __call__(self, call: Call) -> Reply | ApiError:
        """Answer a call."""
        self.sent.append(call.method)
        if call.method == GET:
            return (self.read_fates.pop(0) if self.read_fates else None) or self.flow()
        fate = self.fates.pop(0) if self.fates else None
        if fate == LOST_BEFORE:
            return ReplyLostError(call.method)
        if isinstance(fate, ApiError):
            return fate
        self.changed += 1
        if call.method == ACTIVATE:
            self.active = not self.active
        else:
            self.fields |= self.take(call.params["flowData"])
        if fate == LOST_AFTER:
            return ReplyLostError(call.method)
        return Reply(True) if call.method == ACTIVATE else self.flow()

    def take(self, flow_data: dict[str, Any]) -> dict[str, Any]:
        """Return what an update really sets."""
        return flow_data

    def flow(self) -> Reply:
        """Return the flow as it is."""
        return Reply(self.fields | {"active": self.active})


def states(transition: FlowTransition) -> tuple[bool, bool]:
    """Return the state before and after."""
    return transition.before.active, transition.after.active


class TestSwitchFlow:
    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_flow_that_differs_is_toggled_once_and_read_again(self, wanted: bool) -> None:
        portal = OneFlow(active=not wanted)
        assert states(run(switch_flow(517, wanted), portal)) == (not wanted, wanted)
        assert portal.sent == [GET, ACTIVATE, GET]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_flow_that_is_so_already_is_not_touched(self, wanted: bool) -> None:
        portal = OneFlow(active=wanted)
        assert states(run(switch_flow(517, wanted), portal)) == (wanted, wanted)
        assert portal.sent == [GET]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_a_toggle_whose_reply_was_lost_is_not_sent_again(self, wanted: bool) -> None:
        portal = OneFlow(active=not wanted, fates=[LOST_AFTER])
        pauses: list[Pause] = []
        assert states(run(switch_flow(517, wanted), portal, pauses)) == (not wanted, wanted)
        assert (portal.sent, pauses) == ([GET, ACTIVATE, GET], [])

    @pytest.mark.parametrize("error", UNKNOWN)
    def test_a_toggle_that_was_lost_on_the_way_is_sent_again_once_the_portal_cannot_be_at_it(
        self, error: ApiError
    ) -> None:
        portal = OneFlow(fates=[error])
        pauses: list[Pause] = []
        assert states(run(switch_flow(517, True), portal, pauses)) == (False, True)
        assert (portal.sent.count(ACTIVATE), portal.changed) == (2, 1)
        assert sum(pause.seconds for pause in pauses) >= 60

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_a_refused_toggle_is_sent_again_and_done_once(self, refusal: ApiError) -> None:
        portal = OneFlow(fates=[refusal] * 7)
        assert states(run(switch_flow(517, True), portal)) == (False, True)
        assert portal.changed == 1

    def test_a_portal_that_is_not_there_for_long_leaves_the_flow_alone(self) -> None:
        portal = OneFlow(fates=[NotConnectedError("x")] * 99)
        with pytest.raises(NotConnectedError):
            run(switch_flow(517, True), portal)
        assert (portal.changed, portal.sent.count(ACTIVATE)) == (0, 8)

    def test_a_toggle_is_refused_for_as_long_as_any_call_may_be(self) -> None:
        pauses: list[Pause] = []
        portal = OneFlow(fates=[RateLimitError("x", retry_after=60.0)] * 50)
        assert states(run(switch_flow(517, True), portal, pauses)) == (False, True)
        assert (portal.changed, sum(pause.seconds for pause in pauses)) == (1, 3000.0)

    def test_a_toggle_that_is_refused_for_longer_leaves_the_flow_alone(self) -> None:
        portal = OneFlow(fates=[RateLimitError("x", retry_after=60.0)] * 99)
        with pytest.raises(RateLimitError):
            run(switch_flow(517, True), portal, retry_timeout=3600.0)
        assert portal.changed == 0

    def test_a_refused_toggle_is_not_sent_again_if_someone_else_switched_it_meanwhile(self) -> None:
        portal = OneFlow(active=False, fates=[REFUSALS[0]])

        def answer(call: Call) -> Reply | ApiError:
            refused = call.method == ACTIVATE
            reply = portal(call)
            portal.active = portal.active or refused
            return reply

        assert states(run(switch_flow(517, True), answer)) == (False, True)
        assert (portal.sent, portal.changed) == ([GET, ACTIVATE, GET], 0)

    def test_a_rejected_toggle_is_final(self) -> None:
        portal = OneFlow(fates=[FlowError("x", code="0", http_status=400, text="Zugriff verweigert")])
        with pytest.raises(FlowError, match="Zugriff verweigert"):
            run(switch_flow(517, True), portal)
        assert portal.sent == [GET, ACTIVATE]

    def test_if_no_toggle_arrives_it_gives_up_and_tells_the_state(self) -> None:
        portal = OneFlow(fates=[LOST_BEFORE] * 99)
        with pytest.raises(FlowNotReachedError, match="flow 517 is off after 5 attempts to switch it on"):
            run(switch_flow(517, True), portal)
        assert portal.sent.count(ACTIVATE) == FLOW_TRIES

    def test_if_someone_switches_it_back_every_time_it_gives_up_and_tells_the_state(self) -> None:
        portal = OneFlow(active=True)

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            if call.method == ACTIVATE:
                portal.active = True
            return reply

        with pytest.raises(FlowNotReachedError, match="flow 517 is on after 5 attempts to switch it off"):
            run(switch_flow(517, False), answer)
        assert portal.changed == FLOW_TRIES

    def test_if_someone_switches_it_back_a_few_times_it_is_there_in_the_end(self) -> None:
        portal = OneFlow()

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            if call.method == ACTIVATE and portal.changed < FLOW_TRIES:
                portal.active = False
            return reply

        assert states(run(switch_flow(517, True), answer)) == (False, True)

    def test_each_toggle_that_was_done_gives_the_next_one_all_its_attempts(self) -> None:
        portal = OneFlow(fates=[*[NotConnectedError("x")] * 7, None] * FLOW_TRIES)

        def answer(call: Call) -> Reply | ApiError:
            before = portal.changed
            reply = portal(call)
            if before < portal.changed < FLOW_TRIES:
                portal.active = False  # Somebody else switches it back.
            return reply

        assert states(run(switch_flow(517, True), answer)) == (False, True)

    def test_it_reads_again_before_it_toggles_again(self) -> None:
        portal = OneFlow()

        def answer(call: Call) -> Reply | ApiError:
            reply = portal(call)
            if portal.sent == [GET, ACTIVATE, GET]:
                # Someone else toggled at the same time, sees that it is off, and puts it right.
                portal.active = True
                return Reply(WHOLE | {"active": False})
            return reply

        assert states(run(switch_flow(517, True), answer)) == (False, True)
        assert portal.sent == [GET, ACTIVATE, GET, GET]

    @pytest.mark.parametrize("answer", [Reply(None), Reply([]), Reply({"id": 517}), Reply({"active": True})])
    def test_a_flow_that_cannot_be_read_is_not_toggled(self, answer: Reply) -> None:
        sent: list[Call] = []

        def portal(call: Call) -> Reply:
            sent.append(call)
            return answer

        with pytest.raises(UnreadableReplyError):
            run(switch_flow(517, True), portal)
        assert [call.method for call in sent] == [GET]

    @pytest.mark.parametrize("troubles", [[ReplyLostError("x")], [RateLimitError("x")] * 7])
    def test_reads_that_fail_in_passing_are_repeated(self, troubles: list[ApiError | None]) -> None:
        portal = OneFlow(fates=[LOST_AFTER], read_fates=[None, *troubles])
        assert states(run(switch_flow(517, True), portal)) == (False, True)
        assert portal.changed == 1

    @settings(deadline=None)
    @given(
        st.booleans(),
        st.booleans(),
        st.lists(st.sampled_from([None, LOST_BEFORE, LOST_AFTER, *REFUSALS, *UNKNOWN]), max_size=6),
        st.lists(st.sampled_from([None, None, *REFUSALS, *UNKNOWN]), max_size=6),
    )
    def test_whatever_is_lost_one_task_alone_never_toggles_twice(
        self, active: bool, wanted: bool, fates: list[Any], read_fates: list[Any]
    ) -> None:
        portal = OneFlow(active=active, fates=fates, read_fates=read_fates)
        try:
            transition = run(switch_flow(517, wanted), portal)
        except FlowNotReachedError:
            assert (portal.active, portal.changed) == (active, 0)
        else:
            assert states(transition) == (active, wanted)
            assert (portal.active, portal.changed) == (wanted, int(active != wanted))


@dataclass
class Race:
    """Tasks that switch one flow at the same time, each call and pause taking its time.

    :param seconds: gives the next delay of the network or the portal.
    """

    seconds: Callable[[], float]
    active: bool
    now: float = 0.0
    events: int = 0
    queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen."""
        self.events += 1
        heapq.heappush(self.queue, (self.now + seconds, self.events, what))

    def run(self, plans: list[Plan[FlowTransition]]) -> list[FlowTransition | ApiError]:
        """Run the plans and give what each came to."""
        ends: list[FlowTransition | ApiError | None] = [None] * len(plans)

        def step(nth: int, result: Any, first: bool = False) -> None:
            try:
                call = next(plans[nth]) if first else plans[nth].send(result)
            except StopIteration as end:
                ends[nth] = end.value
            except ApiError as error:
                ends[nth] = error
            else:
                if isinstance(call, Pause):
                    self.later(call.seconds, lambda: step(nth, None))
                else:
                    self.later(self.seconds(), lambda: arrive(nth, call))

        def arrive(nth: int, call: Any) -> None:
            if call.method == ACTIVATE:
                self.active = not self.active
            reply = Reply(WHOLE | {"active": self.active} if call.method == GET else True)
            self.later(self.seconds(), lambda: step(nth, reply))

        for nth in range(len(plans)):
            self.later(self.seconds(), lambda nth=nth: step(nth, None, first=True))  # type: ignore[misc]
        while self.queue:
            self.now, _, what = heapq.heappop(self.queue)
            what()
        return [end for end in ends if end is not None]


class TestSwitchFlowTogether:
    @settings(deadline=None)
    @given(st.integers(2, 4), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
    def test_tasks_that_want_the_same_all_see_it_reached(
        self, tasks: int, active: bool, wanted: bool, chance: random.Random
    ) -> None:
        race = Race(lambda: chance.uniform(0.01, 0.2), active)
        ends = race.run([switch_flow(517, wanted) for _ in range(tasks)])
        assert [states(end)[1] for end in ends if isinstance(end, FlowTransition)] == [wanted] * tasks
        assert race.active is wanted

    @settings(deadline=None)
    @given(st.integers(1, 3), st.booleans(), st.data())
    def test_however_unlucky_the_steps_fall_nobody_is_told_what_is_not_so(
        self, tasks: int, active: bool, data: st.DataObject
    ) -> None:
        # Steps in any order at all: no pause helps.
        plans: list[Any] = [switch_flow(517, True) for _ in range(tasks)]
        results: dict[int, Reply | None] = dict.fromkeys(range(tasks))
        flow = active
        ends: dict[int, Any] = {}
        toggles = [0] * tasks
        while results:
            nth = data.draw(st.sampled_from(sorted(results)))
            try:
                step = plans[nth].send(results[nth])
            except StopIteration as end:
                ends[nth] = end.value
                del results[nth]
                continue
            except FlowNotReachedError as error:
                ends[nth] = error
                del results[nth]
                continue
            if isinstance(step, Pause):
                results[nth] = None
            elif step.method == GET:
                results[nth] = Reply(WHOLE | {"active": flow})
            else:
                flow, results[nth] = not flow, Reply(True)
                toggles[nth] += 1
        assert all(count <= FLOW_TRIES for count in toggles)
        reached = [isinstance(ends[nth], FlowTransition) for nth in range(tasks)]
        assert all(toggles[nth] == FLOW_TRIES for nth in range(tasks) if not reached[nth])
        if all(reached):
            assert flow is True


class TestChangeFlow:
    NEW = parse_changes({"description": "New", "taskControl": False})

    def test_the_whole_flow_is_sent_with_the_changes_in_it(self) -> None:
        portal = OneFlow()
        transition = run(change_flow(517, self.NEW), portal)
        assert portal.sent == [GET, UPDATE]
        assert portal.fields == WHOLE | {"description": "New", "taskControl": 0}
        assert set(differences(transition.before, transition.after)) == {"description", "taskControl"}

    def test_a_flow_that_is_so_already_is_not_touched(self) -> None:
        portal = OneFlow(fields=WHOLE | {"description": "New", "taskControl": False})
        transition = run(change_flow(517, self.NEW), portal)
        assert portal.sent == [GET]
        assert transition.before == transition.after

    def test_an_update_whose_reply_was_lost_is_not_sent_again(self) -> None:
        portal = OneFlow(fates=[LOST_AFTER])
        transition = run(change_flow(517, self.NEW), portal)
        assert portal.sent == [GET, UPDATE, GET]
        assert transition.after.description == "New"

    @pytest.mark.parametrize("answer", [True, None, [], {"id": 517}])
    def test_an_update_whose_reply_is_no_flow_is_settled_by_reading(self, answer: Any) -> None:
        portal = OneFlow()

        def odd(call: Call) -> Reply | ApiError:
            reply = portal(call)
            return Reply(answer) if call.method == UPDATE else reply

        assert run(change_flow(517, self.NEW), odd).after.description == "New"
        assert portal.sent == [GET, UPDATE, GET]

    @pytest.mark.parametrize("error", UNKNOWN)
    def test_an_update_that_was_lost_on_the_way_is_sent_again_once_the_portal_cannot_be_at_it(
        self, error: ApiError
    ) -> None:
        portal = OneFlow(fates=[error])
        pauses: list[Pause] = []
        assert run(change_flow(517, self.NEW), portal, pauses).after.description == "New"
        assert portal.changed == 1
        assert sum(pause.seconds for pause in pauses) >= 60

    def test_the_last_try_counts_even_if_its_reply_was_lost(self) -> None:
        portal = OneFlow(fates=[LOST_BEFORE] * (FLOW_TRIES - 1) + [LOST_AFTER])
        assert run(change_flow(517, self.NEW), portal).after.description == "New"

    def test_if_no_update_arrives_it_gives_up_and_names_the_fields(self) -> None:
        portal = OneFlow(fates=[LOST_BEFORE] * 99)
        with pytest.raises(FlowNotReachedError, match="flow 517 keeps its description, taskControl"):
            run(change_flow(517, self.NEW), portal)
        assert portal.sent.count(UPDATE) == FLOW_TRIES
        assert portal.fields == WHOLE

    def test_a_portal_that_ignores_a_field_is_an_error_that_names_it(self) -> None:
        class Deaf(OneFlow):
            def take(self, flow_data: dict[str, Any]) -> dict[str, Any]:
                return flow_data | {"taskControl": True}

        with pytest.raises(FlowNotReachedError, match="flow 517 keeps its taskControl after an update"):
            run(change_flow(517, self.NEW), Deaf())

    def test_a_portal_that_spells_a_value_in_its_own_way_has_taken_it(self) -> None:
        class Tidy(OneFlow):
            def take(self, flow_data: dict[str, Any]) -> dict[str, Any]:
                return flow_data | {"description": "new"}

        portal = Tidy()
        assert run(change_flow(517, self.NEW), portal).after.description == "new"
        assert portal.changed == 1

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_a_refused_update_is_sent_again(self, refusal: ApiError) -> None:
        portal = OneFlow(fates=[refusal] * 7)
        assert run(change_flow(517, self.NEW), portal).after.description == "New"
        assert portal.changed == 1

    def test_a_rejected_update_is_final(self) -> None:
        portal = OneFlow(fates=[FlowError("x", code="0", http_status=400, text="Name vergeben")])
        with pytest.raises(FlowError, match="Name vergeben"):
            run(change_flow(517, self.NEW), portal)
        assert portal.sent == [GET, UPDATE]

    def test_changes_that_do_not_go_with_the_flow_are_not_sent(self) -> None:
        portal = OneFlow()
        with pytest.raises(FlowChangesError, match="must name the one user"):
            run(change_flow(517, parse_changes({"distributionType": "manually"})), portal)
        assert portal.sent == [GET]

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([None, LOST_BEFORE, LOST_AFTER, *REFUSALS, *UNKNOWN]), max_size=6))
    def test_whatever_is_lost_the_flow_is_as_wanted_or_untouched(self, fates: list[Any]) -> None:
        portal = OneFlow(fates=fates)
        try:
            run(change_flow(517, self.NEW), portal)
        except FlowNotReachedError:
            assert (portal.changed, portal.fields) == (0, WHOLE)
        else:
            assert (portal.changed, portal.fields) == (1, WHOLE | {"description": "New", "taskControl": 0})


def test_a_flow_that_is_not_there_is_the_portals_own_error() -> None:
    refusal = FlowError("tasks.flow.Flow.get", code="0", http_status=400, text="Flow nicht gefunden")
    with pytest.raises(FlowError, match="Flow nicht gefunden"):
        run(read_flow(1), lambda call: refusal)
