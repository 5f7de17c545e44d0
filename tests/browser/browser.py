"""Chromium without a window, as far as the tests need it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Where the docs have their screenshots; they are written anew with SCREENSHOTS=1.
IMAGES = Path(__file__).parents[2] / "docs" / "images"
#: Seconds after which what was waited for will not come any more.
PATIENCE = 300.0
#: What may be so only for a moment, while a page is being built.
NOT_YET = (
    AssertionError,
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)

T = TypeVar("T")


def wait_for(look: Callable[[], T]) -> T:
    """Return what a function returns as soon as it does, and not raises that something is not there yet."""
    latest = time.monotonic() + PATIENCE
    while True:
        try:
            return look()
        except NOT_YET:
            if time.monotonic() > latest:
                raise
            time.sleep(0.2)


class Browser:
    """A browser at one Airflow.

    :param driver: Selenium's.
    :param url: Airflow's address.
    """

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        """Go to a page of Airflow."""
        self.driver.get(f"{self.url}/{path}")

    def size(self, width: int, height: int) -> None:
        """Make the window so large, in pixels of the page."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def find(self, selector: str) -> WebElement:
        """Return the element of a CSS selector as soon as it is there."""
        found: WebElement = wait_for(lambda: self.driver.find_element(By.CSS_SELECTOR, selector))
        return found

    def all(self, selector: str) -> list[str]:
        """Return the texts of all elements of a CSS selector."""
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def click(self, selector: str, text: str = "") -> None:
        """Click the element of a CSS selector that has a text, as soon as there is one that takes a click."""

        def click() -> None:
            found = [one for one in self.driver.find_elements(By.CSS_SELECTOR, selector) if text in one.text]
            assert found, f"no {selector} {text!r}"
            found[0].click()

        wait_for(click)

    def put(self, name: str, text: str) -> None:
        """Put a text into a field of a form instead of what is in it."""
        field = self.find(f"[role=dialog] [name={name}]")
        wait_for(lambda: field.send_keys(Keys.CONTROL, "a"))
        field.send_keys(text)

    def requested(self) -> list[str]:
        """Return the addresses that were requested since this was asked last, but for the browser's own."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if url.startswith(("http:", "https:", "ws:", "wss:"))]

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Take a screenshot for the docs, if that is wanted.

        :param name: of the file.
        :param whole: of the whole page, however long it is.
        """
        if os.environ.get("SCREENSHOTS"):
            if whole:
                width = self.driver.execute_script("return innerWidth")
                self.size(width, 100)
                self.size(width, self.driver.execute_script("return document.documentElement.scrollHeight"))
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())


@contextmanager
def chromium(url: str) -> Iterator[Browser]:
    """Open the browser of this machine; it loads nothing by itself, and has a profile of its own.

    :param url: Airflow's address.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
        "--no-proxy-server",
        "--lang=en-GB",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()
