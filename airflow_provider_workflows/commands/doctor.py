"""``doctor``: check connections and print what is found."""

from __future__ import annotations

import argparse
import logging
import os
from textwrap import wrap

from airflow_provider_workflows.rest.findings import Finding

WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes.

    :param parser: its parser.
    """
    parser.add_argument("conn_id", nargs="+", help="ids of Airflow connections of type bitrix24 or domo")
    parser.add_argument("--model", metavar="ID", help="Domo: a workflow model whose rights are looked at too")


def run(options: argparse.Namespace) -> int:
    """Check each connection, reading only, and print what is found.

    :param options: the command line's.
    :returns: 1 if there is a defect.
    """
    # Else Airflow 3 looks for connections in the environment only.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow_provider_workflows.hooks.checks import check_connection

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


def _lines(finding: Finding) -> str:
    first, *more = wrap(finding.text, WIDTH)
    indent = " " * 25
    return f"  {finding.level:<8} {finding.check:<14}{first}\n" + "".join(f"{indent}{line}\n" for line in more)
