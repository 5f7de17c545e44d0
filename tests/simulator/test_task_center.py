"""Domo's Task Center: queues, and the tasks in them that instances wait for."""

from __future__ import annotations

import pytest

QUEUE = "168ecd84-4a15-45f6-89d9-021fbbce0481"
TASKS = f"queues/v1/{QUEUE}/tasks"


@pytest.fixture
def task(control, instance):
    """Have an instance wait for somebody."""

    def add(**fields):
        [id] = control.add_domo_tasks([{"instanceId": instance(), **fields}])
        return id

    return add


def listed(domo, **body):
    return [one["id"] for one in domo("POST", "queues/v1/tasks/list", json=body).json()]


def shown(domo, id, queue=QUEUE):
    return domo("GET", f"queues/v1/{queue}/tasks/{id}").json()


def assigned(domo, *ids, to="9", spelt="tasksId"):
    return domo("PUT", f"{TASKS}/{ids[0]}/assign", json={spelt: list(ids[1:]), "type": "USER", "userId": to})


def test_tells_which_instances_wait_for_whom(domo, control, task):
    first, second = task(assignedTo="7"), task(assignedTo="8")
    assert listed(domo) == [first, second]
    assert listed(domo, assignedTo=["7"], status=["OPEN"], queueId=[QUEUE]) == [first]
    for name in ("createdOn", "assignedOn", "updatedOn", "completedOn"):
        assert listed(domo, **{name: [["2001-01-01T00:00:00.000Z", "2002-01-01T00:00:00.000Z"]]}) == []
    assert listed(domo, updatedOn=[["2001-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"]]) == [first, second]
    instance_id = shown(domo, second)["sourceInfo"]["instanceId"]
    assert instance_id in control.state()["domo"]["instances"]


def test_the_list_comes_in_the_wanted_order(domo, task):
    late, early = task(assignedTo="8"), task(assignedTo="7")
    assert listed(domo, orderByString=["status", "assignedTo"]) == [early, late]
    for _ in range(9):
        assigned(domo, late)
    assigned(domo, early)
    assert listed(domo, orderByString=["version"]) == [early, late], "2 comes before 10"


def test_a_task_has_the_fields_of_the_documented_sample(domo, task):
    row = shown(domo, task())
    assert {name: row[name] for name in ("attributes", "tags", "comments", "lockedOn", "completedOn")} == {
        "attributes": [],
        "tags": [],
        "comments": [],
        "lockedOn": None,
        "completedOn": None,
    }
    assert row["sourceInfo"]["workflowInstanceId"] != row["sourceInfo"]["instanceId"]
    assert (row["status"], row["version"], row["assigneeType"], row["updatedBy"]) == ("OPEN", 1, "USER", "8811501")


def test_queues_are_listed_and_shown(domo, control):
    [other] = control.add_domo_queues([{"name": "Complaints"}])
    assert [queue["id"] for queue in domo("GET", "queues/v1/").json()] == [QUEUE, other]
    assert domo("GET", "queues/v1?archived=true").json() == []
    queue = domo("GET", f"queues/v1/{other}").json()
    assert (queue["name"], queue["active"], queue["owner"]) == ("Complaints", True, "8811501")


def test_what_is_saved_is_no_other_version(domo, control, task):
    id = task()
    saved = domo("PUT", f"{TASKS}/{id}/outputs", json={"ok": True}).json()
    assert (saved["version"], saved["outputVariables"], saved["lockedBy"]) == (1, {"ok": True}, "8811501")
    done = domo("POST", f"{TASKS}/{id}/complete?version=1", json={"note": "x"}).json()
    assert (done["status"], done["outputVariables"]) == ("COMPLETED", {"ok": True, "note": "x"})
    assert (done["completedBy"], done["completedOn"] is None) == ("8811501", False)


def test_who_has_seen_an_older_version_cannot_complete_it(domo, control, task):
    id = task()
    assigned(domo, id)
    assert domo("POST", f"{TASKS}/{id}/complete?version=1", json={}).status_code == 409
    control.configure(stale_version="400")
    assert domo("POST", f"{TASKS}/{id}/complete?version=1", json={}).status_code == 400
    assert domo("POST", f"{TASKS}/{id}/complete?version=2", json={}).ok
    assert domo("POST", f"{TASKS}/{id}/complete?version=3", json={}).status_code == 400
    assert [effect["id"] for effect in control.journal("complete")] == [id]


def test_who_does_not_say_what_they_have_seen_can(domo, task):
    id = task()
    assigned(domo, id)
    assert domo("POST", f"{TASKS}/{id}/complete", json={}).json()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("accepted", "spelt", "moved"),
    [
        ("both", "tasksId", 2),
        ("both", "taskIds", 2),
        ("tasksId", "taskIds", 1),
        ("taskIds", "taskIds", 2),
        ("taskIds", "tasksId", 1),
    ],
)
def test_tasks_go_to_somebody_else_with_the_list_spelt_either_way(domo, control, task, accepted, spelt, moved):
    control.configure(assign_key=accepted)
    ids = [task(), task()]
    assert assigned(domo, *ids, spelt=spelt).json()["assignedTo"] == "9"
    assert listed(domo, assignedTo="9") == ids[:moved]


def test_a_task_moves_to_another_queue(domo, control, task):
    [other] = control.add_domo_queues([{}])
    id = task()
    assert domo("PUT", f"{TASKS}/{id}/move?targetQueueId={other}").json()["queueId"] == other
    assert domo("GET", f"{TASKS}/{id}").status_code == 404
    assert shown(domo, id, other)["id"] == id
    assert [one["id"] for one in domo("GET", f"queues/v1/{other}/tasks").json()] == [id]
    assert domo("GET", TASKS).json() == []


def test_the_instance_of_a_task_that_is_voided_goes_on_waiting(domo, control, task):
    id = task()
    voided = domo("POST", f"{TASKS}/{id}/void").json()
    assert voided["status"] == "VOIDED"
    assert control.state()["domo"]["instances"][voided["sourceInfo"]["instanceId"]]["status"] == "IN_PROGRESS"
    assert domo("POST", f"{TASKS}/{id}/void").status_code == 400


def test_an_instance_that_is_cancelled_waits_for_nobody(domo, task):
    id = task()
    domo("POST", f"workflow/v1/instances/{shown(domo, id)['sourceInfo']['instanceId']}/cancel")
    assert shown(domo, id)["status"] == "VOIDED"
    assert domo("PUT", f"{TASKS}/{id}/outputs", json={}).status_code == 400


def test_a_queue_is_shared(domo, control):
    entry = {"id": "7", "type": "USER", "name": "Bea", "permissions": ["READ_CONTENT"]}
    assert domo("POST", f"queues/v1/{QUEUE}/permissions", json=[entry]).ok
    assert control.state()["domo"]["queues"][QUEUE]["permissions"] == {"7": entry}
    assert domo("POST", f"queues/v1/{QUEUE}/permissions", json=[{**entry, "permissions": ["FLY"]}]).status_code == 400


@pytest.mark.parametrize(
    ("verb", "address", "body", "status"),
    [
        ("GET", "other", None, 404),
        ("GET", "other/tasks", None, 404),
        ("GET", "other/tasks/x", None, 404),
        ("PUT", f"{QUEUE}/tasks/x/assign", {"type": "USER", "userId": "1"}, 404),
        ("POST", "other/permissions", [], 404),
        ("POST", "tasks/list", [1], 400),
        ("POST", "tasks/list", {"createdOn": [["2001"]]}, 400),
        ("POST", "tasks/list", {"updatedOn": "today"}, 400),
    ],
)
def test_what_is_not_in_order(domo, verb, address, body, status):
    assert domo(verb, f"queues/v1/{address}", json=body).status_code == status


@pytest.mark.parametrize(
    ("verb", "what", "body", "status"),
    [
        ("PUT", "assign", {"userId": "9"}, 400),
        ("PUT", "assign", {"type": "USER"}, 400),
        ("PUT", "move", None, 400),
        ("PUT", "move?targetQueueId=other", None, 404),
        ("PUT", "outputs", [1], 400),
    ],
)
def test_what_cannot_be_done_to_a_task_changes_nothing(domo, control, task, verb, what, body, status):
    id = task()
    assert domo(verb, f"{TASKS}/{id}/{what}", json=body).status_code == status
    assert shown(domo, id)["version"] == 1
    assert control.journal() == []
