"""The report of what was to be ended: true at any time, and of bounded size."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.rest.ending import OTHER_REASONS, EndReport
from airflow_provider_workflows.rest.errors import AccessDeniedError, AuthenticationError

MANY = 100_000
#: The longest ids are Domo's.
IDS = [f"2052e10a-d142-4391-a731-{number:012d}" for number in range(MANY)]
MOST_BYTES = 200_000


def size(report: EndReport) -> int:
    """Return how many bytes an XCom of it takes."""
    return len(json.dumps(report.json()))


class TestItsSize:
    def test_of_a_hundred_thousand_equal_reasons_is_small(self) -> None:
        report = EndReport(requested=MANY)
        for id in IDS:
            report.fail(id, AccessDeniedError("cancel", http_status=403, text="Доступ запрещён " * 100))
        assert size(report) < 20_000
        (failure,) = report.json()["failures"]
        assert (failure["count"], failure["ids"]) == (MANY, IDS[:100])

    def test_of_a_hundred_thousand_different_ones_is_bounded(self) -> None:
        report = EndReport(requested=MANY, failed={id: f"{id} geht nicht: ümläut " + "ж" * 5000 for id in IDS})
        assert size(report) < MOST_BYTES
        *named, others = report.json()["failures"]
        assert (others["reason"], others["count"], len(named)) == (OTHER_REASONS, MANY - 10, 10)

    def test_of_all_outcomes_at_once_is_bounded(self) -> None:
        report = EndReport(MANY, ended=IDS[:40_000], already_ended=IDS[40_000:80_000], moved_on=IDS[80_000:90_000])
        report.failed = {id: "ж" * (nth % 900) for nth, id in enumerate(IDS[90_000:])}
        assert size(report) < MOST_BYTES
        told = report.json()
        assert (told["ended"], told["already_ended"], told["moved_on"], told["failed"]) == (
            40_000,
            40_000,
            10_000,
            10_000,
        )
        assert (told["ended_ids"], told["already_ended_ids"]) == (IDS[:1000], IDS[40_000:41_000])


def test_statuses_are_the_vendors_words_and_are_bounded_and_made_visible() -> None:
    report = EndReport(requested=MANY, statuses={id: f"\x1b[31m{nth}" + "x" * 999 for nth, id in enumerate(IDS)})
    assert size(report) < 5_000
    assert "\x1b" not in "".join(report.json()["by_status"])
    assert EndReport(requested=2, statuses={"a": None, "b": "CANCELED"}).json()["by_status"] == {
        "None": 1,
        "CANCELED": 1,
    }


class TestReasons:
    def test_the_most_frequent_comes_first(self) -> None:
        report = EndReport(requested=4, failed={"a": "rare", "b": "often", "c": "often", "d": "often"})
        assert report.json()["failures"] == [
            {"reason": "often", "count": 3, "ids": ["b", "c", "d"]},
            {"reason": "rare", "count": 1, "ids": ["a"]},
        ]

    def test_errors_that_differ_in_their_trace_code_only_are_one(self) -> None:
        report = EndReport(requested=3)
        for nth, id in enumerate("abc"):
            report.fail(id, AccessDeniedError("cancel", http_status=403, text="no", trace=f"TOE{nth}"))
        (failure,) = report.failures
        assert (failure["count"], failure["reason"]) == (
            3,
            f"HTTP 403, no, trace code (toe) TOE0. {AccessDeniedError.advice}",
        )

    def test_the_tasks_error_names_one_of_each(self) -> None:
        failed = dict.fromkeys(IDS[:7], "often") | {"x": "rare", "y": "other", "z": "another"}
        failure = EndReport(requested=20, failed=failed).failure
        assert failure is not None
        assert failure.message == (
            f"10 of 20 could not be ended: {IDS[0]} and 6 more: often; x: rare; y: other; "
            "and for other reasons. See the report in XCom return_value; a retry tries again what is left."
        )

    def test_without_any_there_is_no_error(self) -> None:
        assert EndReport(requested=1, ended=["a"]).failure is None


def test_what_stopped_the_work_is_the_reason_of_all_that_nothing_is_known_of() -> None:
    report = EndReport(requested=5, ended=["a"], already_ended=["b"], moved_on=["c"])
    report.stop(AuthenticationError("batch", text="no"), "abcde")
    assert list(report.failed) == ["d", "e"]


ids = st.text("abcdef", min_size=1, max_size=3)


@given(st.dictionaries(ids, st.sampled_from(["ended", "already_ended", "moved_on", "failed"])), st.sets(ids))
def test_saved_and_loaded_it_is_the_same(outcomes: dict[str, str], unknown: set[str]) -> None:
    report = EndReport(requested=len(outcomes), unknown=unknown)
    for id, outcome in outcomes.items():
        if outcome == "failed":
            report.failed[id] = "why"
        else:
            getattr(report, outcome).append(id)
    again = EndReport.load(json.loads(json.dumps(report.save())))
    assert (again, again.unknown, again.settled) == (report, unknown, set(outcomes))
