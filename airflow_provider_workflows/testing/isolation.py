"""The surroundings of a test: connections lead to the simulator, nothing else is reached, and nothing waits."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, Connection

from airflow_provider_workflows.bitrix24.aio import AsyncBitrix24Client
from airflow_provider_workflows.bitrix24.oauth.application import TOKEN_PATH
from airflow_provider_workflows.hooks.base import AccountHook
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.simulator import Simulator
from airflow_provider_workflows.testing.clock import VirtualTime
from airflow_provider_workflows.triggers import polling


@contextmanager
def isolated(simulator: Simulator, clock: VirtualTime, folder: Path) -> Iterator[None]:
    """Have all that this package does in the block happen to a simulator, in no time.

    :param simulator: the simulator.
    :param clock: the time by which it goes.
    :param folder: where files go that tasks of one host share.
    """
    connections = {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in simulator.connections().items()
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, connections))
        stack.enter_context(patch("tempfile.tempdir", str(folder)))
        for hook in (Bitrix24Hook, DomoHook):
            only = staticmethod(_only_to(simulator, hook.conn_type, hook.read_settings))
            stack.enter_context(patch.object(hook, "read_settings", only))
        stack.enter_context(patch.object(AccountHook, "clock", clock))
        # How sensors sleep while they poke.
        stack.enter_context(patch.object(sys.modules[BaseSensorOperator.__module__], "time", clock))
        # Airflow warns of tasks that something else than its runner runs.
        stack.enter_context(patch.object(sys.modules[BaseOperator.__module__].ExecutorSafeguard, "test_mode", True))
        # What a triggerer keeps for good, other tests may want to see collected.
        stack.enter_context(patch.object(polling, "_spare_what_is_loaded", bool))
        # Real time in which triggers wait for others to share a request.
        stack.enter_context(patch.object(AsyncBitrix24Client, "batch_delay", 0.0))
        yield


def _only_to(simulator: Simulator, conn_type: str, read: Callable[[Connection], Any]) -> Callable[[Connection], Any]:
    """Return what reads a connection, and refuses one that leads to a real system."""

    def read_settings(connection: Connection) -> Any:
        settings = read(connection)
        places = {settings.account.base_url: simulator.url}
        if application := getattr(settings, "application", None):
            # Its secret goes there.
            places[application.token_url_at(None)] = f"{simulator.url}{TOKEN_PATH}"
        for place, simulated in places.items():
            if place != simulated:
                raise ConnectionFieldError(
                    connection.conn_id,
                    f"leads to {place}, which a test must not reach; to use the simulator, "
                    f"call {conn_type}_simulator.connect({connection.conn_id!r})",
                )
        return settings

    return read_settings
