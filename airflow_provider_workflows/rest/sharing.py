"""One client for each account, for as long as somebody uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.background import in_background

Settings = TypeVar("Settings", bound=Hashable)
SomeClient = TypeVar("SomeClient", bound=AsyncClient[Any])


@dataclass(slots=True)
class _Entry(Generic[Settings, SomeClient]):
    settings: Settings
    client: asyncio.Task[SomeClient]
    users: int = 0


async def _close(made: asyncio.Task[SomeClient]) -> None:
    if not made.cancelled() and made.exception() is None:
        await made.result().close()


def _close_late(made: asyncio.Task[SomeClient]) -> None:
    """Close a client that nobody waits for any more."""
    in_background(_close(made))


class SharedClients(Generic[Settings, SomeClient]):
    """One client for each account and event loop, for as long as somebody uses it.

    :param make: makes a client; may block.
    """

    def __init__(self, make: Callable[[Settings], SomeClient]) -> None:
        self._make = make
        self._finding: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, asyncio.Task[Settings]]] = (
            WeakKeyDictionary()
        )
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, _Entry[Settings, SomeClient]]] = (
            WeakKeyDictionary()
        )

    @asynccontextmanager
    async def use(
        self, find: Callable[[], Coroutine[Any, Any, Settings]], name: Hashable = None
    ) -> AsyncIterator[SomeClient]:
        """Return the client of an account.

        :param find: returns the account, its credential and its limits.
        :param name: under which it finds them; those who ask for the same name at once share one reading.
        """
        # Thousands wait in here at once: nothing is kept that is equal for all of them.
        entry = self._entry(await (find() if name is None else self._find(find, name)))
        entry.users += 1
        try:
            yield await asyncio.shield(entry.client)
        finally:
            entry.users -= 1
            if not entry.users:
                del self._clients()[entry.settings]
                if entry.client.done():
                    await _close(entry.client)
                else:
                    entry.client.add_done_callback(_close_late)

    def _find(self, find: Callable[[], Coroutine[Any, Any, Settings]], name: Hashable) -> asyncio.Future[Settings]:
        """Read it, or wait for a reading under way: a thousand whose credential is refused ask at the same moment."""
        finding = self._finding.setdefault(asyncio.get_running_loop(), {})
        if name not in finding:
            finding[name] = asyncio.ensure_future(find())
            finding[name].add_done_callback(lambda found: (finding.pop(name), found.cancelled() or found.exception()))
        return asyncio.shield(finding[name])

    def _clients(self) -> dict[Settings, _Entry[Settings, SomeClient]]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})

    def _entry(self, settings: Settings) -> _Entry[Settings, SomeClient]:
        from asgiref.sync import sync_to_async  # only the triggerer needs it

        clients = self._clients()
        if settings not in clients:
            # Airflow masks secrets from the thread of sync_to_async only.
            making = asyncio.ensure_future(sync_to_async(self._make)(settings))
            clients[settings] = _Entry(settings, making)
        return clients[settings]
