"""``authorize``: have a person authorise the local application of a connection, and store its tokens."""

from __future__ import annotations

import argparse
import getpass
import hmac
import os
import secrets
import sys
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("conn_id", help="id of an Airflow connection of type bitrix24 that has a client_id")


def run(options: argparse.Namespace) -> int:
    """Print the address to open, read the address that the browser ends up at, and store the tokens.

    :returns: 1 if there are none.
    """
    # Else Airflow 3 looks for connections in the environment only.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_workflows.rest.errors import ProviderError

    try:
        tokens = Bitrix24Hook(options.conn_id).application_tokens()
        state = secrets.token_urlsafe(24)
        print(
            "1. Open this address in a browser, as the user in whose name workflows are to be ended:\n\n"
            f"   {tokens.chain.application.authorize_url(state)}\n\n"
            "2. Agree. The browser is then sent to the address that the application has in the portal, with a code\n"
            "   in it; that the page cannot be shown does not matter.\n"
            "3. Copy the whole address out of the browser, and paste it here within 30 seconds.\n",
            flush=True,
        )
        code, server = _read_answer(_ask("The address: "), state)
        pair = tokens.exchange(code, server)
    except (ProviderError, AirflowNotFoundException, ValueError) as error:
        print(f"Nothing is stored. {error}", file=sys.stderr)
        return 1
    until = datetime.fromtimestamp(pair.expires_at, UTC)
    print(
        f"Stored in {tokens.chain.store}: pair {pair.generation} of access and refresh token.\n"
        f"The access token is good until {until:%Y-%m-%d %H:%M} UTC and is renewed by itself; the refresh token works\n"
        "for 180 days if it is not used. The portal's plan: " + (pair.licence or "not known") + "."
    )
    return 0


def _ask(prompt: str) -> str:
    # The code is a secret: it is not shown.
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    print(prompt, end="", flush=True)
    return sys.stdin.readline()


def _read_answer(pasted: str, state: str) -> tuple[str, str | None]:
    """Return the code and the name of the token server.

    :raises ValueError: if it is not the answer to this very question; the text does not repeat it.
    """
    try:
        query = parse_qs(urlsplit(pasted.strip()).query)
    except ValueError:
        query = {}
    code, said = query.get("code", [""])[0], query.get("state", [""])[0]
    if not code:
        raise ValueError("The pasted text is not an address with a code in it.")
    if not hmac.compare_digest(said.encode(), state.encode()):
        raise ValueError("The address answers another run of this command (its state differs). Run the command again.")
    return code, query.get("server_domain", [None])[0]
