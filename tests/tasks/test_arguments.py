"""Ids as they reach an operator: given, from XCom, or out of a template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.rest.errors import ArgumentError
from airflow_provider_workflows.tasks.arguments import LONGEST_LITERAL, as_ids

A, B = "66e412fdc9bd44.36306599", "66e412fdc9bd45.12345678"


class LazyXCom(Sequence[str]):
    """What Airflow gives for the results of mapped tasks: a sequence that is no list."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return [A, B][index]

    def __iter__(self) -> Iterator[str]:
        return iter([A, B])


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (A, [A]),
        (f" {A}\n", [A]),
        ([A, B], [A, B]),
        ((A, B), [A, B]),
        ({A: 1}.keys(), [A]),
        (LazyXCom(), [A, B]),
        ([], []),
        ((), []),
        ({"ID": A, "TEMPLATE_ID": 1}, [A]),
        ([{"ID": A, "STARTED": None}, {"id": B}], [A, B]),
        (f"['{A}', '{B}']", [A, B]),
        (f'["{A}", "{B}"]', [A, B]),
        (f"('{A}',)", [A]),
        (f" ['{A}'] ", [A]),
        (str([{"ID": A, "OWNED_UNTIL": None}]), [A]),
        ("[]", []),
    ],
)
def test_whatever_holds_ids_gives_them_in_order(value: Any, ids: list[str]) -> None:
    assert as_ids(value, "workflow_id") == ids


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "None",
        "{}",
        {},
        [None],
        [A, ""],
        [A, "None"],
        [A, 7],
        "[None]",
        f"['{A}', 7]",
        7,
        7.5,
        True,
        b"ab",
        {"DOCUMENT_ID": "DEAL_1"},
        [{"ID": None}],
        [[A]],
        "[",
        f"['{A}'",
        f"[{A}]",
        '["a", null]',
        "{{ ids }}",
        "{{'a'}}",
        "{[1]: 2}",
        "(" * 300,
    ],
)
def test_whatever_does_not_is_refused_by_the_arguments_name(value: Any) -> None:
    with pytest.raises(ValueError, match="workflow_id"):
        as_ids(value, "workflow_id")


@given(st.lists(st.from_regex(r"[0-9a-f]{14}\.[0-9]{8}", fullmatch=True)))
def test_a_list_and_the_text_that_a_template_makes_of_it_are_the_same(ids: list[str]) -> None:
    assert as_ids(str(ids), "workflow_id") == as_ids(ids, "workflow_id") == ids


class TestLongTexts:
    """A template of a hundred thousand rows took 14 s and 2 GB to read."""

    ROW: ClassVar[dict[str, Any]] = {"ID": A, "DOCUMENT_ID": "DEAL_1", "STARTED": "2026-01-01T00:00:00+00:00"}

    def test_are_read_as_json(self) -> None:
        text = json.dumps([self.ROW] * 100_000)
        assert as_ids(text, "workflow_id") == [A] * 100_000

    def test_or_else_are_refused_with_advice(self) -> None:
        text = str([self.ROW] * 100_000)
        assert len(text) > LONGEST_LITERAL
        with pytest.raises(ArgumentError, match=r"workflow_id=list_task.output, or end the template in '\| tojson'"):
            as_ids(text, "workflow_id")

    def test_a_hundred_thousand_ids_are_not_too_long(self) -> None:
        assert len(as_ids(str([A] * 100_000), "workflow_id")) == 100_000

    @pytest.mark.parametrize("nested", ["[" * 100_000, "(" * 5000, "{" * 5000])
    def test_what_is_nested_without_end_is_told_as_such(self, nested: str) -> None:
        with pytest.raises(ArgumentError, match="this text is not a list of ids"):
            as_ids(nested, "workflow_id")
