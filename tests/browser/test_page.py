"""The provider's page, in Airflow's frame and by itself."""

from __future__ import annotations

import time

import pytest
from selenium.webdriver.common.by import By

from airflow_provider_workflows.simulator import Simulator
from tests.browser.browser import Browser, wait_for
from tests.e2e.api import Airflow

PORTAL = "[data-portal=bitrix24_default]"


@pytest.fixture(scope="module")
def ran(airflow: Airflow) -> str:
    """Return the run of the Dag of which the page tells."""
    run = airflow.run("tidy")
    airflow.wait_for("tidy", run, "success")
    return run


@pytest.fixture
def page(browser: Browser, ran: str) -> Browser:
    """Return the browser with the page in its window."""
    browser.size(1100, 1250)
    browser.open("workflows-page/")
    browser.find(PORTAL)
    return browser


def test_it_is_found_in_airflows_menu(browser: Browser, ran: str) -> None:
    browser.size(1280, 1000)
    browser.open("")
    browser.click("button", "Browse")
    browser.click("[role=menu] a, [role=menuitem]", "Workflows")
    frame = browser.find("iframe")
    browser.driver.switch_to.frame(frame)
    browser.find(PORTAL)
    assert browser.find("h1").text == "Workflows"
    # Airflow's frame lets no link out, so the page asks Airflow's own window.
    browser.click("#clean-ups a")
    wait_for(lambda: _second_window(browser))
    browser.driver.switch_to.window(browser.driver.window_handles[1])
    assert "/dags/tidy/runs/" in wait_for(lambda: _at_a_task(browser))


def _second_window(browser: Browser) -> None:
    assert len(browser.driver.window_handles) == 2


def _at_a_task(browser: Browser) -> str:
    assert "/tasks/" in browser.driver.current_url
    return str(browser.driver.current_url)


def test_it_shows_what_runs_and_what_was_cleaned_up(page: Browser, simulator: Simulator) -> None:
    tiles = [one.replace("\n", " ") for one in page.all(f"{PORTAL} .tile")]
    assert tiles[:2] == ["313 running", "3 stuck"]
    assert page.all(f"{PORTAL} .bars span") == ["Invoice", "Business trip"]
    assert page.all(f"{PORTAL} .bars b") == ["200", "113"]
    drawn = page.driver.find_elements(By.CSS_SELECTOR, f"{PORTAL} .bars svg")
    assert drawn[0].get_attribute("aria-label") == (
        "Invoice: 40 under a day, 60 a day to a week, 80 a week to a month, 20 over a month"
    )
    rows = [row.split() for row in page.all("#clean-ups tbody tr")]
    assert any("clean_up" in row and "8" in row for row in rows)
    assert any("look" in row and "8" in row and "dry" in row for row in rows)
    assert "COMPLETED" in page.all("[data-domo=domo_default] .bars span")
    page.picture("page", whole=True)


DARK = "rgb(15, 22, 29)"
GROUND = "return getComputedStyle(document.body).backgroundColor"


def test_it_is_dark_when_the_browser_is(page: Browser) -> None:
    assert page.driver.execute_script(GROUND) != DARK
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert page.driver.execute_script(GROUND) == DARK


def test_in_airflows_frame_it_is_dark_when_airflow_is_and_at_once(page: Browser) -> None:
    page.driver.execute_script("localStorage.setItem('theme', 'dark')")
    page.open("plugin/workflows")
    page.driver.switch_to.frame(page.find("iframe"))
    page.find(PORTAL)
    assert page.driver.execute_script(GROUND) == DARK
    page.driver.execute_script("parent.document.documentElement.classList.remove('dark')")
    wait_for(lambda: _light(page))


def _light(page: Browser) -> None:
    assert page.driver.execute_script(GROUND) != DARK


def test_nothing_is_loaded_from_outside(page: Browser) -> None:
    page.requested()
    page.open("workflows-page/")
    page.find(PORTAL)
    asked = page.requested()
    assert {url.removeprefix(f"{page.url}/workflows-page/") for url in asked} >= {"", "page.css", "page.js", "data"}
    assert [url for url in asked if not url.startswith(f"{page.url}/")] == []
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_no_window_is_too_narrow_for_it(page: Browser, width: int) -> None:
    page.size(width, 900)
    needed = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert needed <= width
    outside = page.driver.execute_script(
        "return [...document.querySelectorAll('.tile, .bars b, h2')]"
        ".filter(one => one.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0


def test_many_viewers_cost_the_portal_two_requests_a_minute(page: Browser, simulator: Simulator) -> None:
    before, began = len(simulator.control.requests("bitrix24")), time.monotonic()
    for _ in range(6):
        page.driver.switch_to.new_window("tab")
        page.open("workflows-page/")
        page.find(PORTAL)
    minutes = 1 + int((time.monotonic() - began) // 60)
    # The connections that other tests have made lead to the same portal with the same credential.
    assert len(simulator.control.requests("bitrix24")) - before <= 2 * minutes


def test_no_secret_is_in_it(page: Browser, simulator: Simulator) -> None:
    settings = simulator.control.settings()
    page.open("workflows-page/data")
    told = page.driver.page_source
    assert "bitrix24_default" in told
    assert not [name for name in ("webhook_code", "domo_token") if settings[name] in told]
