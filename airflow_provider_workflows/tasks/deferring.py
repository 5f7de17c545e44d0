"""What operators and sensors that can wait in the triggerer have in common."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_workflows.hooks.base import AccountHook

#: Whether tasks wait in the triggerer by default.
DEFAULT_DEFERRABLE: bool = conf.getboolean("operators", "default_deferrable", fallback=False)


def deadline_after(seconds: float, execution_timeout: timedelta | None) -> float:
    """Return the Unix time at which a deferred task stops waiting.

    Airflow does not end deferred tasks at their ``execution_timeout``, so the wait does.
    """
    return AccountHook.clock.time() + min(seconds, execution_timeout.total_seconds() if execution_timeout else seconds)


def pack(work: Any) -> str:
    """Return what a task needs to go on, compressed."""
    return base64.b85encode(zlib.compress(json.dumps(work, separators=(",", ":")).encode())).decode()


def unpack(packed: str) -> Any:
    """Read what :func:`pack` returned."""
    return json.loads(zlib.decompress(base64.b85decode(packed)))
