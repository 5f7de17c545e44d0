"""``doctor``: check connections and print what is found."""

from __future__ import annotations

import argparse
import logging
import os
from textwrap import wrap

from airflow_provider_workflows.rest.findings import Finding

WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("conn_id", nargs="+", help="ids of Airflow connections of type bitrix24 or domo")
    parser.add_argument("--model", metavar="ID", help="Domo: a workflow model whose rights are looked at too")


def run(options: argparse.Namespace) -> int:
    """Check each connection, reading only, and print what is found.

    :returns: 1 if there is a defect.
    """
    # Else Airflow 3 looks for connections in the environment only.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    defects = 0
    # Airflow 2 logs each reading of a connection to standard output.
    logging.disable(logging.INFO)
    try:
        for conn_id in options.conn_id:
            found = check_connection(conn_id, options.model)
            defects += sum(one.level == "defect" for one in found)
            print(f"{conn_id}\n" + "".join(_lines(one) for one in found))
    finally:
        logging.disable(logging.NOTSET)
    print("No defects." if not defects else f"{defects} defect{'s' if defects > 1 else ''}.")
    return int(bool(defects))


def check_connection(conn_id: str, model_id: str | None = None) -> list[Finding]:
    """Check a connection, whichever vendor's it is.

    :param model_id: Domo: a workflow model whose rights are looked at too.
    """
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
    from airflow_provider_workflows.hooks.domo import DomoHook

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        where = "in the environment, the secrets backend or the database that this process can reach"
        return [
            Finding("connection", "defect", f"there is none with id {conn_id!r} {where}. Create it, or correct the id.")
        ]
    # A webhook's URL may also come as a connection of type http or https.
    hook = DomoHook(conn_id) if connection.conn_type == DomoHook.conn_type else Bitrix24Hook(conn_id)
    return hook.check(model_id, connection)


def _lines(finding: Finding) -> str:
    first, *more = wrap(finding.text, WIDTH)
    indent = " " * 25
    return f"  {finding.level:<8} {finding.check:<14}{first}\n" + "".join(f"{indent}{line}\n" for line in more)
