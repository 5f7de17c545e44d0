"""Everything about the two systems that can be set, with the default of each."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from airflow_provider_workflows.simulator.presets import PRESETS

CHOICES: dict[str, tuple[str, ...]] = {
    "language": ("de", "ru", "en"),
    "filter_dialect": ("classic", "lenient"),
    "filter_lists": ("in", "ignored"),
    "unreadable_dates": ("dropped", "nothing"),
    "started_format": ("iso", "site"),
    "start_minus_one": ("counts", "skips"),
    "terminate_unknown": ("empty_code", "coded", "true"),
    "kill_unknown": ("empty_code", "coded", "true"),
    "flow_unknown": ("access_denied", "not_found"),
    "flow_update_requires": ("documented", "source"),
    "operating_model": ("off", "documented", "ban"),
    "refresh_rotation": ("none", "strict", "grace"),
    "old_access": ("dies", "lives", "cached"),
    "request_cut_reply": ("html", "reset"),
    "final_status": ("COMPLETED", "FAILED"),
    "cancel_finished": ("ok", "400", "409"),
    "stale_version": ("409", "400"),
    "assign_key": ("both", "tasksId", "taskIds"),
    "cancel_unstarted": ("accepted", "rejected", "ignored"),
    "null_status": ("json", "string", "missing"),
    "domo_blocked": ("", "page", "redirect"),
}
#: Seconds by which a clock may be moved: some thirty years, so that dates stay dates.
LONGEST = 1e9
FORMATS = {
    "server_offset": re.compile(r"[+-](0[0-9]|1[0-4]):[0-5][0-9]"),
    "domo_user": re.compile(r"[0-9]{1,18}"),
}
OPTIONAL_NUMBERS = ("operating_per_command", "finishes_after")


@dataclass
class Settings:
    """
    The behaviour of both systems.

    Where nobody knows how the real system behaves, there is a setting for either way. The defaults are a working
    account without limits, so that tests are fast, and mostly the less pleasant of two unconfirmed behaviours.
    """

    # Bitrix24: who calls
    webhook_user: int = 1
    webhook_code: str = "sim0webhook0code"
    webhook_known: bool = True
    is_admin: bool = True
    scopes: list[str] = field(default_factory=lambda: ["bizproc", "task", "user", "department", "im"])
    bearer_everywhere: bool = True  # else an Authorization header is honoured by tasks.flow.* only
    https_required: bool = False
    client_id: str = "local.sim0client"
    client_secret: str = "sim0client0secret"  # noqa: S105
    access_token_seconds: float = 3600.0
    refresh_token_seconds: float = 180 * 86400.0
    refresh_rotation: str = "strict"  # a refresh token works for ever, once, or for some seconds after its first use
    refresh_grace_seconds: float = 30.0
    old_access: str = "lives"  # what a refresh makes of the access token before it; "cached": checks are kept
    token_check_seconds: float = 3600.0  # for how long the portal keeps what a check of an access token said
    token_server_away: bool = False  # the portal cannot reach it; calls with a token get CONNECTION_ERROR
    token_post_refused: bool = False  # the token server takes GET only
    wrong_client_in_200: bool = False  # a wrong ID or secret is told with HTTP 200
    oauth_error_status: int = 400
    oauth_redirect: str = "https://localhost/"  # where a browser is sent with the code
    server_endpoint: str = ""  # what the token server calls itself; its own address unless set

    # Bitrix24: what the account has
    commercial_plan: bool = True
    license: str = "de_pro100"  # what app.info tells; de_ent250 and its like have the larger bucket
    has_bizproc: bool = True
    has_automation: bool = True  # robots, whose bizproc.event.send is there without workflows, too
    has_flows: bool = True
    document_limit: int = 0  # workflows at once on one CRM item, 0 for any number; the cloud has 2
    obeys_parameters: bool = True  # whether a start takes its runtime's own keys out of PARAMETERS
    sweeps_pauses: bool = False  # whether it removes by itself what is paused for a week with nothing to wake it
    delegate_others: bool = True  # whether an administrator may delegate other people's tasks
    overload: bool = False  # the block that staff put on a portal by hand

    # Bitrix24: how it reads and answers
    language: str = "de"
    server_offset: str = "+02:00"
    clock_ahead: float = 0.0  # seconds by which the portal's clock is ahead of this machine's
    filter_dialect: str = "classic"
    filter_lists: str = "in"
    unreadable_dates: str = "dropped"
    started_format: str = "iso"
    start_any_case: bool = False
    start_minus_one: str = "counts"
    terminate_unknown: str = "empty_code"
    kill_unknown: str = "empty_code"
    flow_any_case: bool = False
    flow_unknown: str = "access_denied"
    flow_update_requires: str = "documented"
    flow_update_resets: bool = True
    flow_update_active: bool = False  # whether update obeys the undocumented flowData.active
    flow_time: bool = True  # whether replies of tasks.flow.* have "time"
    flows_in_batch: bool = True
    operating_shown: bool = True  # whether "time" has the two operating keys

    # Bitrix24: limits
    bucket_capacity: int = 0  # 0 is no limit; a small cloud plan has 50
    bucket_drain: float = 2.0  # requests a second
    bucket_other: float = 0.0  # requests a second of another application at the same address
    operating_model: str = "off"
    operating_limit: float = 480.0
    operating_window: float = 600.0
    operating_ban: float = 300.0
    operating_minimum: float = 0.1  # the ban model does not count shorter requests
    operating_per_command: float | None = None  # charge this much a command instead of its real time

    # Bitrix24: time
    latency_seconds: float = 0.0  # of each HTTP request, Domo's too
    command_seconds: float = 0.0
    method_seconds: dict[str, float] = field(default_factory=dict)  # goes before command_seconds
    operating_by_method: dict[str, float] = field(default_factory=dict)  # goes before operating_per_command
    request_cut_seconds: float = 60.0
    request_cut_reply: str = "html"

    # Domo
    domo_token: str = "sim-domo-developer-token"  # noqa: S105
    domo_user: str = "8811501"
    start_delay: float = 0.0  # until a started instance is reported as started
    finishes_after: float | None = None  # the life of an instance that is started through the API
    final_status: str = "COMPLETED"
    cancel_delay: float = 0.0
    cancel_finished: str = "400"
    cancel_unstarted: str = "accepted"
    stale_version: str = "409"  # the answer to who completes a task that has changed since they saw it
    assign_key: str = "both"  # how the list of tasks to assign is spelt
    null_status: str = "json"
    version_required: bool = True
    domo_blocked: str = ""
    domo_permissions: list[str] = field(default_factory=lambda: ["READ", "EXECUTE"])  # of its user, on each model
    domo_forbidden: list[str] = field(default_factory=list)  # methods answered with 403, e.g. ["cancel"]

    def change(self, values: dict[str, Any]) -> None:
        """
        Set several settings; nothing is changed if one of them is wrong.

        :param values: name to value; ``preset`` is the name of several that belong together, before which others go
        :raises ValueError: for an unknown name or a value that does not fit
        """
        preset = values.get("preset")
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset is one of {', '.join(map(repr, PRESETS))}, not {preset!r}")
        values = {**PRESETS.get(preset or "", {}), **values}
        values.pop("preset", None)
        names = {setting.name for setting in fields(self)}
        checked = {}
        for name, value in values.items():
            if name not in names:
                raise ValueError(f"There is no setting {name!r}")
            checked[name] = _checked(name, getattr(Settings(), name), value)
        for name, value in checked.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Name to value of every setting."""
        return asdict(self)


def _checked(name: str, default: Any, value: Any) -> Any:
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} is one of {', '.join(map(repr, CHOICES[name]))}, not {value!r}")
    if name in OPTIONAL_NUMBERS:
        fits = value is None or (_is_number(value) and value >= 0)
    elif isinstance(default, bool):
        fits = isinstance(value, bool)
    elif name == "oauth_error_status":
        fits = isinstance(value, int) and 400 <= value <= 599
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif isinstance(default, float):
        fits = _is_number(value) and (abs(value) <= LONGEST if name == "clock_ahead" else value >= 0)
    elif isinstance(default, dict):
        fits = isinstance(value, dict) and all(_is_number(seconds) and seconds >= 0 for seconds in value.values())
    elif isinstance(default, list):
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        # Some go into headers.
        fits = isinstance(value, str) and value.isprintable()
        fits = fits and (name not in FORMATS or bool(FORMATS[name].fullmatch(value)))
    if not fits:
        raise ValueError(f"{value!r} does not fit the setting {name}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
