"""The page on errors has a place for each, where its message leads, and says what the code does."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

import airflow_provider_workflows
from airflow_provider_workflows.bitrix24 import errors as bitrix24
from airflow_provider_workflows.domo import errors as domo
from airflow_provider_workflows.rest.errors import STATUSES, ApiError, ProviderError, RateLimitError, RejectedError
from airflow_provider_workflows.triggers.polling import WaitFailedError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "errors.md").read_text()
PARTS = {part.partition("\n")[0]: part for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
REFERENCE = runpy.run_path(str(DOCS / "make_reference.py"))
ERRORS: list[type[ProviderError]] = REFERENCE["errors"]()
IN_WORDS = {"yes": "A retry helps", "no": "A retry does not help", "as `retry_helps` says": "Whether a retry helps"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_explained_and_so_is_whether_a_retry_helps(error: type[ProviderError]) -> None:
    assert error.__name__ in PARTS, f"docs/errors.md needs a part '### {error.__name__}'"
    helps = REFERENCE["error_row"](error).split(" | ")[3]
    assert f"*{IN_WORDS[helps]}" in PARTS[error.__name__].replace("\n", " ")


def test_no_error_is_explained_that_there_is_not() -> None:
    assert PARTS.keys() == {error.__name__ for error in ERRORS}


def rows(heading: str) -> dict[str, str]:
    """Return the first columns of the tables of a part of the page, and the errors that they lead to."""
    (part,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^\| (.+?) \| \[(\w+)\]\(#\w+\).* \|$", part, re.MULTILINE)
    return {key.strip("` "): error for keys, error in lines for key in keys.split(",")}


def test_every_code_of_bitrix24_leads_to_the_error_that_it_becomes() -> None:
    told = {"" if key == "(empty)" else key.lower(): error for key, error in rows("Bitrix24's codes").items()}
    assert {code: told.get(code) for code in bitrix24.CODES} == {
        code: error.__name__ for code, error in bitrix24.CODES.items()
    }


#: Statuses in words, and one of each.
IN_GENERAL = {"below 300": 200, "another below 500": 418, "500 and above": 502}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Bitrix24's codes", lambda status: bitrix24.error_class(None, status)),
        ("Domo's statuses", domo.error_class),
    ],
)
def test_every_http_status_leads_to_the_error_that_it_becomes(
    heading: str, kind: Callable[[int], type[ApiError]]
) -> None:
    told = rows(heading)
    for words, status in [*IN_GENERAL.items(), *((str(status), status) for status in (*STATUSES, 404))]:
        assert told[words] == kind(status).__name__


class TestWhereAMessageLeads:
    def test_it_ends_with_the_errors_place_in_the_docs(self) -> None:
        error = RateLimitError("batch", http_status=503)
        assert str(error).endswith(" See docs/errors.md#ratelimiterror")

    def test_once_the_repository_is_known_that_is_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(airflow_provider_workflows, "REPOSITORY", "https://github.com/acme/workflows")
        version = airflow_provider_workflows.__version__
        place = f"https://github.com/acme/workflows/blob/v{version}/docs/errors.md#rejectederror"
        assert str(RejectedError("batch")).endswith(f" See {place}")

    def test_what_a_trigger_reports_leads_to_what_happened_there(self) -> None:
        happened = str(RateLimitError("batch"))
        assert str(WaitFailedError(happened)) == happened
        assert str(WaitFailedError("no event")).endswith("\nno event. See docs/errors.md#waitfailederror")
