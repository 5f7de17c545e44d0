"""What observes a client's work: metrics and traces."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

_NOTHING = nullcontext()


class Observer:
    """Is told what a client does; this one ignores it.

    Called from several threads, and in the event loop; must not block or raise.
    """

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Note that something happened.

        :param name: ``refusals``, ``waited_ms``, ``ended``, ``settled``, ``polls``, ``polls_sent`` or
            ``token_refreshes``.
        :param amount: how often, or how much.
        :param tags: e.g. ``reason``.
        """

    def request(self, call: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Note a request that is under way while the context lasts, and how long that is."""
        return _NOTHING


UNOBSERVED = Observer()
