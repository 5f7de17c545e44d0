"""What is told of a client's work while it goes on, to whom it may concern: metrics and traces."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Observer(Protocol):
    """Is told what a client does. Called from several threads, and in the event loop; must not block or raise."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Note that something happened.

        :param name: ``refusals``, ``waited_ms``, ``ended``, ``settled``, ``polls``, ``polls_sent`` or
            ``token_refreshes``.
        :param amount: how often, or how much.
        :param tags: e.g. ``reason``.
        """

    def request(self, call: str) -> AbstractContextManager[object]:
        """Note a request that is under way while the context lasts, and how long that is.

        :param call: the call's name.
        """


class Unobserved:
    """For a client that nobody watches."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Note nothing."""

    def request(self, call: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Note nothing."""
        return _NOTHING


_NOTHING = nullcontext()
UNOBSERVED: Observer = Unobserved()
