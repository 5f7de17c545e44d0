"""bizproc.workflow.instances: the list of running workflows."""

from __future__ import annotations

import pytest
import requests

ALL = ["ID", "MODIFIED", "OWNED_UNTIL", "MODULE_ID", "ENTITY", "DOCUMENT_ID", "STARTED", "STARTED_BY", "TEMPLATE_ID"]
LIST = "bizproc.workflow.instances"


def ids(reply: requests.Response) -> list[str]:
    return [row["ID"] for row in reply.json()["result"]]


@pytest.fixture
def three(control):
    """Three workflows that differ in everything: the oldest is a, the youngest c."""
    return control.add_workflows(
        [
            {"ID": "a", "STARTED": "2024-01-01T00:00:00Z", "TEMPLATE_ID": 1, "DOCUMENT_ID": "DEAL_1", "STARTED_BY": 7},
            {
                "ID": "b",
                "STARTED": "2025-01-01T00:00:00Z",
                "TEMPLATE_ID": 2,
                "DOCUMENT_ID": "DEAL_2",
                "OWNED_UNTIL": "2025-01-01T00:05:00Z",
            },
            {"ID": "c", "STARTED": "2026-01-01T00:00:00Z", "TEMPLATE_ID": 10, "DOCUMENT_ID": "DEAL_3"},
        ]
    )


def test_a_row_has_text_for_numbers_and_dates_in_the_servers_time(rest, three):
    [row] = rest(LIST, {"SELECT": ALL, "FILTER": {"ID": "b"}}).json()["result"]
    assert row == {
        "ID": "b",
        "MODIFIED": "2025-01-01T02:00:00+02:00",
        "OWNED_UNTIL": "2025-01-01T02:05:00+02:00",
        "MODULE_ID": "crm",
        "ENTITY": "CCrmDocumentDeal",
        "DOCUMENT_ID": "DEAL_2",
        "STARTED": "2025-01-01T02:00:00+02:00",
        "STARTED_BY": "1",
        "TEMPLATE_ID": "2",
    }


def test_the_offset_of_the_server_can_be_set(rest, three, control):
    control.configure(server_offset="-05:00")
    [row] = rest(LIST, {"FILTER": {"ID": "b"}}).json()["result"]
    assert row["MODIFIED"] == "2024-12-31T19:00:00-05:00"


def test_an_old_portal_shows_the_start_in_the_format_of_the_site(rest, three, control):
    control.configure(started_format="site")
    [row] = rest(LIST, {"SELECT": ["STARTED", "MODIFIED"], "FILTER": {"ID": "b"}}).json()["result"]
    assert row == {"STARTED": "01.01.2025 02:00:00", "MODIFIED": "2025-01-01T02:00:00+02:00"}


def test_without_parameters_three_fields_come_latest_change_first(rest, three):
    reply = rest(LIST)
    assert ids(reply) == ["c", "b", "a"]
    assert list(reply.json()["result"][0]) == ["ID", "MODIFIED", "OWNED_UNTIL"]
    assert reply.json()["total"] == 3
    assert "next" not in reply.json()


def test_the_old_name_of_the_method_gives_the_same(rest, three):
    assert ids(rest("bizproc.workflow.instance.list")) == ["c", "b", "a"]


def test_an_unknown_field_in_select_is_dropped(rest, three):
    [row] = rest(LIST, {"SELECT": ["ID", "COLOUR"], "FILTER": {"ID": "a"}}).json()["result"]
    assert row == {"ID": "a"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"TEMPLATE_ID": 2}, "b"),
        ({"TEMPLATE_ID": "2"}, "b"),
        ({"!TEMPLATE_ID": 2}, "ac"),
        ({"<STARTED": "2025-01-01T00:00:00Z"}, "a"),
        ({"<=STARTED": "2025-01-01T02:00:00+02:00"}, "ab"),
        ({">STARTED": "2025-01-01 02:00:00"}, "c"),
        ({">=STARTED": "2025-01-01T00:00:00Z"}, "bc"),
        ({">TEMPLATE_ID": 2}, "c"),
        ({"<OWNED_UNTIL": "2026-01-01T00:00:00Z"}, "b"),
        ({"OWNED_UNTIL": ""}, "ac"),
        ({">ID": "a"}, "bc"),
        ({"STARTED_BY": 7, ">TEMPLATE_ID": 0}, "a"),
        ({"DOCUMENT_ID": ["DEAL_1", "DEAL_3"]}, "ac"),
    ],
)
def test_a_filter_chooses(rest, three, given, found):
    assert ids(rest(LIST, {"FILTER": given, "ORDER": {"ID": "asc"}})) == list(found)


@pytest.mark.parametrize(
    "given",
    [
        {"STARTD": "2024-06-01T00:00:00Z"},
        {"<STARTD": "2024-06-01T00:00:00Z"},
        {"<started": "2024-06-01T00:00:00Z"},
        {"=TEMPLATE_ID": 2},
        {"%DOCUMENT_ID": "DEAL_1"},
        {"<STARTED": "yesteryear"},
    ],
)
def test_what_is_not_understood_in_a_filter_is_dropped_so_that_it_widens(rest, three, given):
    assert ids(rest(LIST, {"FILTER": given})) == ["c", "b", "a"]


@pytest.mark.parametrize(
    "given", [{"=TEMPLATE_ID": 2}, {"template_id": 2}, {">Started_By": 0, "!=template_id": [1, 10]}]
)
def test_the_lenient_dialect_reads_any_case_and_the_other_operators(rest, three, control, given):
    control.configure(filter_dialect="lenient")
    assert ids(rest(LIST, {"FILTER": given})) == ["b"]


def test_a_list_as_a_value_can_be_ignored(rest, three, control):
    control.configure(filter_lists="ignored")
    assert ids(rest(LIST, {"FILTER": {"DOCUMENT_ID": ["DEAL_1"]}})) == ["c", "b", "a"]


def test_an_unreadable_date_can_match_nothing(rest, three, control):
    control.configure(unreadable_dates="nothing")
    assert ids(rest(LIST, {"FILTER": {"<STARTED": "yesteryear"}})) == []


def test_the_top_level_names_may_be_in_lower_case(rest, three):
    params = {"select": ["ID"], "filter": {"TEMPLATE_ID": 2}, "order": {"ID": "ASC"}}
    assert rest(LIST, params).json()["result"] == [{"ID": "b"}]


def test_upper_case_wins_over_lower_case(rest, three):
    assert ids(rest(LIST, {"FILTER": {"ID": "a"}, "filter": {"ID": "b"}})) == ["a"]


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ({"ID": "asc"}, "abc"),
        ({"STARTED": "DESC"}, "cba"),
        ({"TEMPLATE_ID": "desc"}, "cba"),
        ({"OWNED_UNTIL": "desc", "ID": "asc"}, "bac"),
        ({"COLOUR": "asc"}, "cba"),
    ],
)
def test_the_order_can_be_chosen(rest, three, order, found):
    assert ids(rest(LIST, {"ORDER": order})) == list(found)


def test_a_page_has_fifty_rows_and_says_where_the_next_begins(rest, control):
    control.generate_workflows(120)
    pages = [rest(LIST, {"ORDER": {"ID": "asc"}, "start": start}) for start in (0, 50, 100)]
    assert [len(ids(page)) for page in pages] == [50, 50, 20]
    assert [page.json().get("next") for page in pages] == [50, 100, None]
    assert {page.json()["total"] for page in pages} == {120}
    assert len({id for page in pages for id in ids(page)}) == 120


def test_start_is_read_in_lower_case_only(rest, control):
    control.generate_workflows(60)
    assert len(ids(rest(LIST, {"START": 50}))) == 50
    control.configure(start_any_case=True)
    assert len(ids(rest(LIST, {"START": 50}))) == 10


def test_start_minus_one_counts_all_the_same_unless_set_otherwise(rest, control):
    control.generate_workflows(60)
    assert rest(LIST, {"start": -1}).json()["total"] == 60
    control.configure(start_minus_one="skips")
    reply = rest(LIST, {"start": -1}).json()
    assert len(reply["result"]) == 50
    assert not reply.keys() & {"total", "next"}


def test_ended_workflows_are_not_listed(rest, three, control):
    before = ids(rest(LIST))
    rest("bizproc.workflow.terminate", {"ID": "a"})
    rest("bizproc.workflow.kill", {"ID": "b"})
    assert before == ["c", "b", "a"]
    assert ids(rest(LIST)) == ["c"]
    control.finish_workflows(["c"])
    assert ids(rest(LIST)) == []


def test_a_workflow_that_is_started_is_listed_at_once(rest, three):
    before = ids(rest(LIST))
    params = {"TEMPLATE_ID": 3, "DOCUMENT_ID": ["crm", "CCrmDocumentDeal", "DEAL_4"]}
    started = rest("bizproc.workflow.start", params).json()["result"]
    assert ids(rest(LIST)) == [started, *before]


def test_ending_workflows_between_two_pages_shifts_the_second(rest, control):
    control.generate_workflows(100)
    order = {"ORDER": {"ID": "asc"}}
    everything = ids(rest(LIST, order)) + ids(rest(LIST, {**order, "start": 50}))
    for id in everything[:10]:
        rest("bizproc.workflow.kill", {"ID": id})
    assert ids(rest(LIST, {**order, "start": 50})) == everything[60:]


def test_a_workflow_can_end_by_itself(rest, control):
    control.add_workflows([{"ID": "short", "ends_after": 30}, {"ID": "long"}])
    assert set(ids(rest(LIST))) == {"short", "long"}
    control.advance(30)
    assert ids(rest(LIST)) == ["long"]
    assert control.state()["bitrix24"]["workflows"]["short"]["state"] == "finished"


def test_who_is_no_administrator_may_not_list(rest, control):
    control.configure(is_admin=False)
    reply = rest(LIST)
    assert reply.status_code == 403
    assert reply.json() == {"error": "ACCESS_DENIED", "error_description": "Access denied!"}


def test_a_hundred_thousand_workflows_are_listed_fifty_pages_at_a_time(rest, control):
    control.generate_workflows(100_000)
    line = f"{LIST}?ORDER[STARTED]=asc&SELECT[]=ID&start="
    rest(LIST, {"ORDER": {"STARTED": "asc"}})
    reply = rest("batch", {"cmd": [f"{line}{start}" for start in range(50_000, 52_500, 50)]})
    assert len({row["ID"] for page in reply.json()["result"]["result"] for row in page}) == 2500
