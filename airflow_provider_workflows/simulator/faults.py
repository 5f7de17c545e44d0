"""Faults to order: what goes wrong, with which request, how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Each kind with its options and their defaults.
KINDS: dict[str, dict[str, Any]] = {
    "refused": {"retry_after": None},
    "slow": {"seconds": 1.0, "done": False},
    "lost_before": {},
    "lost_after": {},
    "cut_after_commands": {"n": 1},
    "error_500": {"done": False, "code": "INTERNAL_SERVER_ERROR"},
    "html": {"status": 500, "done": False},
    "truncated": {},
    "redirect": {"location": "https://moved.example/", "status": 302},
    "blocked": {"how": "page"},
    "empty_body": {"done": True},
    "missing_key": {"index": 0, "done": True},
    "reply": {"status": 200, "headers": {}, "text": "", "done": True},
    "strange_time": {"time": {}},
    "operating_limit": {},
    "others": {"end": 1, "start": 0, "template_id": 1},
    "error": {"status": 400, "code": "", "description": "Fehler"},
}
# These befall one command, on its own or inside a batch; the others befall the HTTP request.
COMMAND_KINDS = ("operating_limit", "error", "others")
BATCH_KINDS = ("cut_after_commands", "missing_key")
ONLY_VENDOR = {
    **dict.fromkeys((*BATCH_KINDS, "operating_limit", "others"), "bitrix24"),
    "blocked": "domo",
    "strange_time": "bitrix24",
}


@dataclass
class Fault:
    """
    One fault and where it strikes.

    :param kind: a key of :data:`KINDS`
    :param vendor: ``bitrix24``, ``domo`` or None for both; ``error`` strikes Domo only if that is said
    :param method: the method it strikes, None for any
    :param containing: strike only a batch with a command of this method
    :param id: strike only a call for this workflow, flow or instance
    :param skip: matching requests to let pass first
    :param times: how often to strike then, None for always
    :param options: what the kind takes, see :data:`KINDS`
    """

    kind: str
    vendor: str | None = None
    method: str | None = None
    containing: str | None = None
    id: str | int | None = None
    skip: int = 0
    times: int | None = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no fault {self.kind!r}; there are {', '.join(KINDS)}")
        unknown = self.options.keys() - KINDS[self.kind].keys()
        if unknown:
            raise ValueError(f"The fault {self.kind} has no option {', '.join(sorted(unknown))}")
        if self.vendor not in (None, "bitrix24", "domo"):
            raise ValueError(f"There is no vendor {self.vendor!r}")
        only = ONLY_VENDOR.get(self.kind, self.vendor)
        if self.vendor not in (None, only):
            raise ValueError(f"The fault {self.kind} does not happen to {self.vendor}")
        self.vendor = only
        if not _is_count(self.skip) or not (self.times is None or _is_count(self.times)):
            raise ValueError(f"skip and times are counts, not {self.skip!r} and {self.times!r}")
        for name, value in self.options.items():
            if not _fits(name, value):
                raise ValueError(f"{value!r} does not fit the option {name} of the fault {self.kind}")
        self.options = KINDS[self.kind] | self.options

    @property
    def on_command(self) -> bool:
        """Whether it befalls a command instead of a whole HTTP request."""
        return self.kind in COMMAND_KINDS and self.method != "batch" and self.vendor != "domo"

    def strikes(self) -> bool:
        """Count a request that matches; whether the fault happens to it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Faults:
    """The faults that are still to come, in the order of their injection."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """
        Order a fault.

        :param fault: what is to happen
        """
        self.waiting.append(fault)

    def for_request(
        self, vendor: str, method: str, params: Any, commands: list[str] | None
    ) -> tuple[Fault | None, Fault | None]:
        """
        Say what happens to an HTTP request: at most one delay and one other fault.

        :param vendor: ``bitrix24`` or ``domo``
        :param method: the request's own method
        :param params: its parameters
        :param commands: the methods in a batch, None for a single call
        """
        slow: Fault | None = None
        for fault in list(self.waiting):
            if fault.on_command or not _matches(fault, vendor, method, params):
                continue
            if fault.kind in BATCH_KINDS and commands is None:
                continue
            if fault.containing and fault.containing not in (commands or []):
                continue
            if fault.kind == "slow" and slow is not None:
                continue
            if not self._strike(fault):
                continue
            if fault.kind != "slow":
                return slow, fault
            slow = fault
        return slow, None

    def for_command(self, method: str, params: dict[str, Any]) -> Fault | None:
        """
        Say what happens to one command of Bitrix24, whether called alone or in a batch.

        :param method: the command's method
        :param params: its parameters
        """
        for fault in list(self.waiting):
            if fault.on_command and _matches(fault, "bitrix24", method, params) and self._strike(fault):
                return fault
        return None

    def _strike(self, fault: Fault) -> bool:
        struck = fault.strikes()
        if fault.times is not None and fault.times <= 0:
            self.waiting.remove(fault)
        return struck


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fits(name: str, value: Any) -> bool:
    """Whether an option of a fault has a value that can happen."""
    match name:
        case "status":
            return _is_count(value) and 200 <= value <= 599
        case "n" | "index" | "end" | "start" | "template_id":
            return _is_count(value)
        case "seconds":
            return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
        case "done":
            return isinstance(value, bool)
        case "headers":
            texts = [*value, *value.values()] if isinstance(value, dict) else [None]
            return all(isinstance(text, str) and text.isprintable() for text in texts)
        case "how":
            return value in ("page", "redirect")
        case "text" | "code" | "description" | "location":
            return isinstance(value, str)
    return True


def _matches(fault: Fault, vendor: str, method: str, params: Any) -> bool:
    if fault.vendor not in (None, vendor) or fault.method not in (None, method):
        return False
    if fault.id is None:
        return True
    ids = [params.get("ID"), params.get("id"), params.get("flowId")]
    if isinstance(params.get("flowData"), dict):
        ids.append(params["flowData"].get("id"))
    return str(fault.id) in map(str, ids)
