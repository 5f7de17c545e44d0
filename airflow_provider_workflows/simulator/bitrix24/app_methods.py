"""Methods without a scope, by which a caller finds out about itself and the portal."""

from __future__ import annotations

from airflow_provider_workflows.simulator.bitrix24.call import Answer, ApiError, Call
from airflow_provider_workflows.simulator.bitrix24.dates import iso


def profile(call: Call) -> Answer:
    """Who calls."""
    user = call.world.directory.user(call.caller.user)
    if not user["ACTIVE"]:
        return Answer([])
    names = {name: user.get(name, "") for name in ("NAME", "LAST_NAME", "PERSONAL_GENDER", "TIME_ZONE")}
    return Answer({"ID": str(call.caller.user), "ADMIN": call.caller.admin, **names})


def server_time(call: Call) -> Answer:
    """Tell the portal's time."""
    return Answer(iso(call.world.portal_time(), call.world.settings.server_offset))


def app_info(call: Call) -> Answer:
    """Tell of the application that calls, and of the portal's plan."""
    if call.caller.auth == "webhook":
        raise ApiError(400, "ACCESS_DENIED", "Access denied! Application context required")
    settings = call.world.settings
    plan = settings.license.partition("_")[2]
    return Answer(
        {
            "ID": 5,
            "CODE": call.caller.app,
            "VERSION": 1,
            "STATUS": "L",
            "INSTALLED": True,
            "PAYMENT_EXPIRED": "N",
            "DAYS": None,
            "LANGUAGE_ID": settings.language,
            "LICENSE": settings.license,
            "LICENSE_TYPE": plan,
            "LICENSE_FAMILY": plan.rstrip("0123456789"),
        }
    )
