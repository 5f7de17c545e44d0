"""Settings that belong together: how portals are known to behave, and when that was."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # What the vendor's pages of August 2026 say of a cloud portal on a small plan.
    "documented-2026-08": {
        "filter_dialect": "lenient",
        "filter_lists": "ignored",
        "started_format": "iso",
        "start_any_case": True,
        "bearer_everywhere": True,
        "flow_update_requires": "documented",
        "document_limit": 2,
        "https_required": True,
        "bucket_capacity": 50,
        "bucket_drain": 2.0,
        "operating_model": "documented",
        "operating_limit": 480.0,
        "request_cut_seconds": 60.0,
        "old_access": "dies",
    },
    # What was measured in September 2026 on a portal of one's own with the newest core.
    "core-2026-09": {
        "filter_dialect": "lenient",
        "bearer_everywhere": True,
        "flow_update_requires": "source",
        "operating_model": "ban",
        "operating_limit": 420.0,
        "operating_ban": 300.0,
    },
    # A portal of one's own that has not been updated since about 2019.
    "older-core": {
        "filter_dialect": "classic",
        "started_format": "site",
        "bearer_everywhere": False,
        "flow_update_requires": "source",
        "operating_model": "off",
        "operating_shown": False,
        "has_flows": False,
    },
}
