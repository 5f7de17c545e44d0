"""The connection forms, as a person fills them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from airflow_provider_workflows.simulator import Simulator
from tests.browser.browser import Browser, wait_for
from tests.e2e.api import Airflow

FORM = "[role=dialog]"


def begin(browser: Browser, conn_id: str, kind: str) -> None:
    browser.size(1000, 1150)
    browser.open("connections")
    browser.click("button", "Add Connection")
    browser.find(f"{FORM} input[role=combobox]").send_keys(kind)
    wait_for(lambda: _choose(browser, kind))
    browser.put("connection_id", conn_id)


def _choose(browser: Browser, kind: str) -> None:
    assert kind in browser.all("[role=option]")
    browser.find(f"{FORM} input[role=combobox]").send_keys(Keys.ENTER)


def save(browser: Browser) -> None:
    browser.click(f"{FORM} button", "Save")
    wait_for(lambda: _closed(browser))


def _open(browser: Browser) -> None:
    assert browser.find("[name=element_verify]").is_displayed()


def _closed(browser: Browser) -> None:
    assert not browser.all(f"{FORM} button")


def stored(airflow: Airflow, conn_id: str) -> dict[str, Any]:
    return airflow._do("GET", f"/connections/{conn_id}")  # type: ignore[no-any-return]


def fill(browser: Browser, simulator: Simulator, vendor: str, **more: str) -> None:
    connection = simulator.connections()[f"{vendor}_default"]
    for name in ("host", "login", "password", "schema"):
        if name in connection:
            browser.put(name, str(connection[name]))
    for name, text in more.items():
        browser.put(name, text)


@pytest.fixture(autouse=True)
def _nothing_left(airflow: Airflow) -> Iterator[None]:
    """Leave Airflow's database as it was."""
    yield
    for one in airflow._do("GET", "/connections")["connections"]:
        airflow._session.delete(f"{airflow._url}/connections/{one['connection_id']}", timeout=60)


@pytest.mark.parametrize(
    ("vendor", "kind", "labels"),
    [
        ("bitrix24", "Bitrix24", ["Portal host", "Webhook's user id", "Webhook code", "Scheme", "Port"]),
        ("domo", "Domo", ["Instance host", "Developer token", "Scheme", "Port"]),
    ],
)
def test_a_connection_is_filled_in_saved_tested_and_edited(
    browser: Browser, airflow: Airflow, simulator: Simulator, vendor: str, kind: str, labels: list[str]
) -> None:
    conn_id = f"{vendor}_by_hand"
    begin(browser, conn_id, kind)
    form = browser.find(FORM).text
    assert [label for label in labels if label not in form] == []
    fill(browser, simulator, vendor, port=str(simulator.connections()[f"{vendor}_default"]["port"]))
    browser.picture(f"connection-{vendor}")
    browser.click(f"{FORM} button", "Extra Fields")
    wait_for(lambda: _open(browser))
    assert "Requests at once" in browser.find(FORM).text
    if vendor == "bitrix24":
        browser.picture("connection-bitrix24-extra")
    save(browser)
    assert (stored(airflow, conn_id)["conn_type"], stored(airflow, conn_id)["password"]) == (vendor, "***")
    assert set(json.loads(stored(airflow, conn_id)["extra"]).values()) == {None}

    asked = len(simulator.control.requests(vendor))
    press(browser, conn_id, "Test Connection")
    wait_for(lambda: _asked(simulator, vendor, asked))
    assert {one["http_status"] for one in simulator.control.requests(vendor)[asked:]} <= {200, None}

    press(browser, conn_id, "Edit Connection")
    browser.put("description", "made by hand")
    save(browser)
    wait_for(lambda: _described(airflow, conn_id))
    # What the form does not show is kept.
    asked = len(simulator.control.requests(vendor))
    press(browser, conn_id, "Test Connection")
    wait_for(lambda: _asked(simulator, vendor, asked))


def press(browser: Browser, conn_id: str, button: str) -> None:
    """Press a button in a connection's row."""
    rows = f"//tr[.//*[normalize-space()='{conn_id}']]//button[@aria-label='{button}']"
    wait_for(lambda: browser.driver.find_element("xpath", rows).click())


def _asked(simulator: Simulator, vendor: str, before: int) -> None:
    assert len(simulator.control.requests(vendor)) > before


def _described(airflow: Airflow, conn_id: str) -> None:
    assert stored(airflow, conn_id)["description"] == "made by hand"


def test_the_test_button_of_this_airflow_does_nothing_without_a_port(
    browser: Browser, simulator: Simulator, airflow: Airflow
) -> None:
    """As the page on connections says, with the way round it; when this fails, Airflow has mended it."""
    begin(browser, "without_port", "Bitrix24")
    fill(browser, simulator, "bitrix24")
    save(browser)
    assert stored(airflow, "without_port")["port"] is None
    browser.requested()
    press(browser, "without_port", "Test Connection")

    answers: list[dict[str, Any]] = []

    def answered() -> None:
        entries = [json.loads(one["message"])["message"] for one in browser.driver.get_log("performance")]
        received = [one["params"]["response"] for one in entries if one["method"] == "Network.responseReceived"]
        answers.extend(one for one in received if one["url"].endswith("/connections/test"))
        assert answers

    wait_for(answered)
    assert [one["status"] for one in answers] == [400]
