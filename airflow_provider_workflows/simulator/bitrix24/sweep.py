"""What newer portals remove by themselves: workflows that are paused with nothing that will wake them."""

from __future__ import annotations

from airflow_provider_workflows.simulator.bitrix24.dates import timestamp
from airflow_provider_workflows.simulator.bitrix24.workflows import Workflow, Workflows

HOUR, DAY = 3_600, 86_400


class Sweep:
    """Looks at one o'clock in the night, and removes what it finds on two nights in a row."""

    def __init__(self) -> None:
        self._next: float | None = None
        self._found: set[str] = set()

    def due(self, workflows: Workflows, offset: str, now: float) -> list[Workflow]:
        """
        Return what is to be removed by now.

        :param workflows: the portal's
        :param offset: the server's offset from UTC
        :param now: the time
        """
        if self._next is None:
            # Before one o'clock the next one is today's.
            self._next = timestamp("tomorrow +1 hour", offset, now - HOUR)
        due: dict[str, Workflow] = {}
        if self._next is not None:
            # The last two nights are enough: what one finds, all later ones find, as only the clock has moved.
            self._next += max(0, (now - self._next) // DAY - 1) * DAY
        while self._next is not None and self._next <= now:
            rows = {row.id: row for row in workflows.paused_too_long(self._next)}
            due |= {id: row for id, row in rows.items() if id in self._found}
            self._found, self._next = set(rows), self._next + DAY
        return list(due.values())
