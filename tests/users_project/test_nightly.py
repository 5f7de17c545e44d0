"""The tests of a Dag as docs/testing.md shows them."""

from datetime import UTC, datetime

from nightly import dag, end


def test_what_is_old_is_ended_and_the_rest_goes_on(bitrix24_simulator, run_dag):
    old = bitrix24_simulator.add_workflows(3, STARTED="2026-01-01T00:00:00Z")
    new = bitrix24_simulator.add_workflows(2)

    assert run_dag(dag).state == "success"

    assert bitrix24_simulator.terminated == old
    assert bitrix24_simulator.running == new


def test_a_cancellation_that_takes_five_minutes_is_waited_for(domo_simulator, run_dag):
    domo_simulator.control.configure(cancel_delay=300.0)
    one, other = domo_simulator.add_instances(2)

    run = run_dag(dag, conf={"instances": [one]}, logical_date=None)

    assert run.tasks == {"old": "success", "end": "success", "cancel": "success"}
    assert run.returned["cancel"]["ended_ids"] == [one]
    assert (domo_simulator.canceled, domo_simulator.running) == ([one], [other])


def test_one_task(bitrix24_simulator, run_task):
    first, second = bitrix24_simulator.add_workflows(2)

    run_task(end, returned={"old": [first]}, logical_date=datetime(2026, 5, 4, tzinfo=UTC))

    assert bitrix24_simulator.terminated == [first]
    assert bitrix24_simulator.workflows[first]["status_text"] == "Ended by night, 2026-05-04"
    assert bitrix24_simulator.running == [second]


def test_a_lost_reply_ends_nothing_twice(bitrix24_simulator, run_task):
    ids = bitrix24_simulator.add_workflows(2)
    bitrix24_simulator.control.inject("lost_after", method="batch")

    run_task(end, returned={"old": ids})

    assert bitrix24_simulator.terminated == ids
    assert len(bitrix24_simulator.control.journal("terminate")) == 2
