"""What the security page gives Sentry's users masks every credential, in events as Sentry's SDK 2.75 makes them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24 import Portal
from airflow_provider_workflows.domo import Account

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
CODE, TOKEN = "s3ntry0webhook0code", "s3ntry|d0mo+token"
URL = f"https://acme.bitrix24.com/rest/1/{CODE}/bizproc.workflow.kill"
CRUMB = {
    "type": "http",
    "category": "httplib",
    "data": {"http.method": "POST", "url": URL, "http.query": "", "http.response.status_code": 401},
    "level": "warning",
}
FRAME = {"function": "work", "lineno": 17, "in_app": True, "vars": {"url": f"'{URL}'", "headers": {"token": TOKEN}}}

Event = dict[str, Any]


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Event, Event], Event]]:
    """Run the page's block with a stand-in for Sentry's SDK, and return what it registers."""
    registered: list[Callable[[Event, Event], Event]] = []
    scope = ModuleType("sentry_sdk.scope")
    scope.add_global_event_processor = registered.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentry_sdk", ModuleType("sentry_sdk"))
    monkeypatch.setitem(sys.modules, "sentry_sdk.scope", scope)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(block, {})  # noqa: S102
    return registered


@pytest.mark.parametrize(
    "event",
    [
        {"level": "error", "breadcrumbs": {"values": [CRUMB] * 100}, "tags": {"task_id": "end"}},
        {"exception": {"values": [{"type": "E", "value": f"POST {URL}", "stacktrace": {"frames": [FRAME]}}]}},
        {"type": "transaction", "spans": [{"op": "http.client", "description": f"POST {URL}", "data": {"url": URL}}]},
        {"logentry": {"message": "%s", "params": (URL, TOKEN)}},
    ],
)
def test_credentials_are_masked_wherever_they_stand(processors: list[Any], event: Event) -> None:
    Portal.from_webhook_url(f"https://acme.bitrix24.com/rest/1/{CODE}/")
    Account.with_token("acme.domo.com", TOKEN)
    (masked,) = (processor(event, {}) for processor in processors)
    told = json.dumps(masked)
    assert (CODE in told, TOKEN in told) == (False, False)
    assert "/rest/1/***/bizproc.workflow.kill" in told


def test_the_rest_of_an_event_is_kept(processors: list[Any]) -> None:
    event = {"level": "error", "lineno": 17, "in_app": True, "tags": {"dag_id": "end_old", "try": None}}
    assert [processor(event, {}) for processor in processors] == [event]


def test_the_rights_for_every_call_are_told() -> None:
    package = PAGE.parents[1] / "airflow_provider_workflows"
    text = PAGE.read_text()
    methods = set(re.findall(r'Call\(\s*"([\w.]+)"', (package / "bitrix24" / "calls.py").read_text()))
    assert len(methods) > 10
    assert {name for name in methods if f"`{name}`" not in text} == set()
    paths = set(re.findall(r'"(/api/[\w/]+)', (package / "domo" / "calls.py").read_text()))
    assert len(paths) > 2
    assert {path for path in paths if path not in text} == set()
