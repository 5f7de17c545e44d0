"""What the clients of the worker and of the triggerer have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from airflow_provider_workflows.rest.driver import Driver
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.observer import Observer
from airflow_provider_workflows.rest.progress import Stats
from airflow_provider_workflows.rest.renewal import Renewal

C = TypeVar("C")


class BaseClient(Generic[C]):
    """Runs plans against one account, and has its credential replaced when it is refused.

    :param driver: runs the plans.
    :param one_at_a_time: runs a function that may block, after the one before has ended.
    """

    def __init__(
        self, driver: Driver[C], one_at_a_time: Callable[[Callable[[], ApiError | None]], Awaitable[ApiError | None]]
    ) -> None:
        self._driver = driver
        #: What has a credential replaced that is refused.
        self.renewal = Renewal(driver, one_at_a_time)
        driver.send = self.renewal.attempt
        #: Whose client it is, for errors: the connection and its host, or the host alone.
        self.where = ""

    @property
    def stats(self) -> Stats:
        """What this client has done so far."""
        return self._driver.stats

    @property
    def observer(self) -> Observer:
        """Who is told what this client does, while it goes on."""
        return self._driver.observer

    @observer.setter
    def observer(self, observer: Observer) -> None:
        self._driver.observer = observer
