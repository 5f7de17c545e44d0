"""batch: up to fifty commands in one request."""

from __future__ import annotations

import pytest

LIST, KILL, TERMINATE = (f"bizproc.workflow.{name}" for name in ("instances", "kill", "terminate"))


def parts(reply):
    result = reply.json()["result"]
    assert list(result) == ["result", "result_error", "result_total", "result_next", "result_time"]
    return result


def test_each_command_answers_under_its_own_key(rest, control):
    control.add_workflows([{"ID": "a"}, {"ID": "b"}])
    reply = rest("batch", {"halt": 0, "cmd": {"one": f"{KILL}?ID=a", "two": f"{KILL}?ID=a", "all": LIST}})
    assert reply.status_code == 200
    result = parts(reply)
    assert result["result"]["one"] is True
    assert result["result_error"]["two"]["error"] == ""
    assert [row["ID"] for row in result["result"]["all"]] == ["b"]
    assert result["result_total"] == {"all": 1}
    assert set(result["result_time"]) == {"one", "all"}


def test_an_empty_map_is_an_empty_list(rest):
    result = parts(rest("batch", {"cmd": {"a": "nonsense"}}))
    assert (result["result"], result["result_total"], result["result_next"]) == ([], [], [])
    assert result["result_error"]["a"]["error"] == "ERROR_METHOD_NOT_FOUND"


def test_consecutive_numbers_as_keys_make_lists(rest):
    both = parts(rest("batch", {"cmd": {"0": "scope", "1": "scope"}}))
    assert isinstance(both["result"], list)
    second = parts(rest("batch", {"cmd": ["nonsense", "scope"]}))
    assert list(second["result"]) == ["1"]
    assert isinstance(second["result_error"], list)


def test_parameters_are_read_as_php_reads_a_query(rest, control):
    control.add_workflows([{"ID": "a", "STARTED": "2024-01-01T00:00:00Z"}, {"ID": "b"}])
    line = f"{LIST}?FILTER[%3CSTARTED]=2025-01-01T00%3A00%3A00%2B00%3A00&SELECT[]=ID&SELECT[]=TEMPLATE_ID"
    assert parts(rest("batch", {"cmd": {"a": line}}))["result"]["a"] == [{"ID": "a", "TEMPLATE_ID": "1"}]


def test_a_batch_may_also_be_a_form(rest, control):
    control.add_workflows([{"ID": "a"}])
    reply = rest("batch", data={"halt": "1", "cmd[first]": f"{TERMINATE}?ID=a", "cmd[second]": LIST})
    assert parts(reply)["result"] == {"first": True, "second": []}


@pytest.mark.parametrize("halt", [1, True, "false"])
def test_halt_stops_at_the_first_error_and_later_keys_appear_nowhere(rest, control, halt):
    control.add_workflows([{"ID": "a"}])
    reply = rest("batch", {"halt": halt, "cmd": {"x": "scope", "y": "nonsense", "z": f"{KILL}?ID=a"}})
    result = parts(reply)
    assert (set(result["result"]), set(result["result_error"])) == ({"x"}, {"y"})
    assert control.journal() == []


@pytest.mark.parametrize("halt", [0, False, "0", ""])
def test_without_halt_the_rest_runs(rest, halt):
    assert set(parts(rest("batch", {"halt": halt, "cmd": {"y": "nonsense", "z": "scope"}}))["result"]) == {"z"}


def test_commands_beyond_fifty_are_refused(rest, control):
    ids = control.add_workflows([{} for _ in range(52)])
    result = parts(rest("batch", {"cmd": {f"k{n}": f"{KILL}?ID={id}" for n, id in enumerate(ids)}}))
    assert len(result["result"]) == 50
    assert {key: error["error"] for key, error in result["result_error"].items()} == {
        "k50": "ERROR_BATCH_LENGTH_EXCEEDED",
        "k51": "ERROR_BATCH_LENGTH_EXCEEDED",
    }
    assert len(control.journal("kill")) == 50


def test_a_command_can_refer_to_an_earlier_result(rest, control):
    control.add_workflows([{"ID": "a"}])
    cmd = {"find": LIST, "end": f"{KILL}?ID=$result[find][0][ID]", "none": f"{KILL}?ID=$result[find][1][ID]"}
    result = parts(rest("batch", {"cmd": cmd}))
    assert result["result"]["end"] is True
    assert result["result_error"]["none"]["error"] == "ERROR_WRONG_WORKFLOW_ID"


def test_a_batch_in_a_batch_is_barred(rest):
    error = parts(rest("batch", {"cmd": {"a": "batch?cmd[b]=scope"}}))["result_error"]["a"]
    assert error["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"


def test_flow_methods_can_be_barred(rest, control):
    control.add_flow(id=517)
    cmd = {"a": "tasks.flow.Flow.get?flowId=517"}
    assert parts(rest("batch", {"cmd": cmd}))["result"]["a"]["id"] == 517
    control.configure(flows_in_batch=False)
    assert parts(rest("batch", {"cmd": cmd}))["result_error"]["a"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"


def test_a_command_that_is_no_text_is_skipped_without_a_word(rest):
    result = parts(rest("batch", {"cmd": {"a": {"method": "scope"}, "b": "scope", "c": 5}}))
    assert (set(result["result"]), result["result_error"]) == ({"b"}, [])


def test_pages_in_a_batch_say_where_the_next_begins(rest, control):
    control.generate_workflows(120)
    result = parts(rest("batch", {"cmd": {"a": f"{LIST}?start=0", "b": f"{LIST}?start=50", "c": f"{LIST}?start=100"}}))
    assert result["result_next"] == {"a": 50, "b": 100}
    assert result["result_total"] == {"a": 120, "b": 120, "c": 120}


def test_the_log_shows_the_commands(rest, control):
    rest("batch", {"cmd": {"a": f"{KILL}?ID=x"}})
    [entry] = control.requests(method="batch")
    assert entry["commands"] == [["a", KILL, {"ID": "x"}]]


def test_the_names_of_its_parameters_and_its_own_may_be_in_upper_case(rest, control):
    reply = rest("BATCH", {"HALT": 1, "CMD": {"x": "scope", "y": "nonsense", "z": "scope"}})
    assert (set(parts(reply)["result"]), set(parts(reply)["result_error"])) == ({"x"}, {"y"})
    assert control.requests()[0]["method"] == "batch"


def test_a_command_can_refer_to_where_the_next_page_begins_to_totals_and_to_errors(rest, control):
    control.generate_workflows(120)
    cmd = {
        "a": f"{LIST}?start=0",
        "b": f"{LIST}?start=$next[a]",
        "bad": "nonsense",
        "c": "method.get?name=$error[bad][error]",
        "d": f"{LIST}?FILTER[TEMPLATE_ID]=$total[a]",
    }
    result = parts(rest("batch", {"cmd": cmd}))
    assert result["result_next"] == {"a": 50, "b": 100}
    assert result["result"]["c"]["isExisting"] is False
    assert result["result_total"]["d"] == 0
