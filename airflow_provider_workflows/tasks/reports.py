"""The end of a task that acts on many: log and push the report, fail if any failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_workflows.rest.errors import ApiError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


log = logging.getLogger(__name__)


class NotAllEndedError(Exception):
    """Some of what was to be ended may still run. The report is in the task's XCom ``return_value``.

    :param failed: id to reason.
    :param requested: how many were to be ended.
    """

    def __init__(self, failed: dict[str, str], requested: int) -> None:
        super().__init__(failed, requested)
        self.failed = failed
        self.requested = requested

    def __str__(self) -> str:
        first = "; ".join(f"{one}: {reason}" for one, reason in list(self.failed.items())[:3])
        more = f"; and {len(self.failed) - 3} more, see the report in XCom" if len(self.failed) > 3 else ""
        return f"{len(self.failed)} of {self.requested} could not be ended: {first}{more}"


def finish(context: Context, report: dict[str, Any], stopped_by: ApiError | None) -> dict[str, Any]:
    """Return the report as the task's result.

    :param context: the task's context.
    :param report: what was done.
    :param stopped_by: the error after which no more was tried.
    :raises NotAllEndedError: if any failed, after the report was pushed to XCom.
    :raises ApiError: the same, if one error stopped it all before anything was done.
    """
    requested, failed = report["requested"], report["failed"]
    log.info(
        "Of %d requested: %d ended, %d had ended already, %d failed",
        requested, len(report["ended"]), len(report["already_ended"]), len(failed),
    )  # fmt: skip
    if not failed:
        return report
    context["ti"].xcom_push(key="return_value", value=report)
    if stopped_by is not None and len(failed) == requested:
        raise stopped_by
    raise NotAllEndedError(failed, requested)
