"""A worker: makes a call when it is told to, and is killed where it is told to. All that it logs goes to stderr.

Reads lines from stdin: ``go``, or ``go`` and one of :data:`POINTS` to be killed there. Writes ``ok``, or the class of
the error that the call ended in.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

from airflow_provider_workflows.bitrix24 import calls
from airflow_provider_workflows.bitrix24.oauth import stores
from airflow_provider_workflows.bitrix24.oauth.stores import Turn
from airflow_provider_workflows.bitrix24.oauth.wire import TokenCall
from airflow_provider_workflows.hooks import oauth
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.rest.errors import ApiError, ProviderError
from airflow_provider_workflows.rest.plans import Blocking, send

#: What the one who renews the tokens has just done when it is killed, in this order; while it asks, the server has
#: renewed them already.
POINTS = ["looked", "leased", "looked again", "asking", "asked", "stored", "dropped"]


#: What a step at the store was, by what was done before it.
NEXT = {"": "looked", "looked": "looked", "leased": "looked again", "asked": "stored", "stored": "dropped"}


def killed_at(point: str, plan: Any) -> Any:
    """Run a plan until this process is to be killed."""
    done = ""
    result: Any = None
    while True:
        try:
            step = plan.throw(result) if isinstance(result, ApiError) else plan.send(result)
        except StopIteration as end:
            return end.value
        if point == "asking" and isinstance(step, TokenCall):
            threading.Timer(0.3, die).start()
        try:
            result = yield step
        except ApiError as error:
            result = error
            continue
        if result == Turn():
            done = "leased"
        elif isinstance(step, TokenCall):
            done = "asked"
        elif isinstance(step, Blocking) and not isinstance(result, Turn):
            done = NEXT.get(done, done)
        if done == point:
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
    stores.LEASE = float(os.environ["LEASE"])
    run: Any = oauth.run
    point = ""

    def armed(plan: Any, *args: Any) -> Any:
        return run(killed_at(point, plan) if point else plan, *args)

    hook = Bitrix24Hook()
    print("ready", flush=True)
    for line in sys.stdin:
        point = line.removeprefix("go").strip()
        try:
            hook.get_conn()
            # Not before: what is stored is looked at then, too.
            oauth.run = armed  # type: ignore[assignment]
            hook.run(send(calls.get_profile()))
            print("ok", flush=True)
        except ProviderError as error:
            logging.exception("The call failed")
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    main()
