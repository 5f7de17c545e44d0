"""The provider on the command line: ``python -m airflow_provider_workflows <command>``.

Each command is a module of :mod:`.commands` with ``run(options)``, which returns the exit status.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from airflow_provider_workflows.commands import authorize, doctor


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    :param arguments: the command line without the program's name.
    :returns: the exit status.
    """
    options = _parser().parse_args(arguments)
    # Imported late: a command may import Airflow, which takes seconds.
    command = import_module(f"airflow_provider_workflows.commands.{options.command}")
    return int(command.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_workflows",
        description="Set up and check the connections of the Airflow provider for Bitrix24 and Domo.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    authorize.add_arguments(commands.add_parser("authorize", help="authorise the local application of a connection"))
    doctor.add_arguments(commands.add_parser("doctor", help="check connections and say what to do about each defect"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
