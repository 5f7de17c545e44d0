"""The notifications and messages of the portal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Message:
    """
    A notification of a user, or a message to a chat or a user.

    :param id: its ID; both kinds count together
    :param to: the user, or the dialog (``chat5``, ``sg3``, ``7``)
    :param text: what it says
    :param tag: what replaces it, with the application before it
    """

    id: int
    to: str
    text: str
    tag: str = ""
    sub_tag: str = ""
    attachment: Any = None
    system: bool = False


@dataclass
class Messages:
    """All that was said, and the chats there are."""

    notifications: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    chats: set[str] = field(default_factory=lambda: {"chat1"})
    _last: int = 0

    def next_id(self) -> int:
        """Return the ID of another message."""
        self._last += 1
        return self._last

    def full(self) -> dict[str, list[dict[str, Any]]]:
        """All there is to know, for the control path."""
        return {
            "notifications": [asdict(message) for message in self.notifications],
            "messages": [asdict(message) for message in self.messages],
        }
