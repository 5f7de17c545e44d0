"""The simulator on the command line: ``python -m airflow_provider_workflows.simulator --demo``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from airflow_provider_workflows.simulator.control import SimulatorError
from airflow_provider_workflows.simulator.demo import seed
from airflow_provider_workflows.simulator.presets import PRESETS
from airflow_provider_workflows.simulator.server import LOOPBACK, Simulator

PORT = 8024


def main(arguments: list[str] | None = None) -> int:
    """
    Run a simulator until it is interrupted.

    :param arguments: the command line without the program's name
    :returns: the exit status
    """
    options = _parser().parse_args(arguments)
    # Blocked before any thread starts, so that only the wait below receives them.
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        with Simulator(options.port, address=options.host, tls=options.tls) as simulator:
            control = simulator.control
            summary = seed(control) if options.demo else None
            control.configure(**({"preset": options.preset} if options.preset else {}), **dict(options.set))
            print(f"Bitrix24 and Domo are simulated at {simulator.url}")
            print(
                "Whoever can reach this port may read all that is sent to it: use no real webhook, token or data here."
            )
            if summary:
                print(json.dumps({"bitrix24": summary["bitrix24"], "domo": summary["domo"]}))
            for conn_id, connection in simulator.connections().items():
                print(f"export AIRFLOW_CONN_{conn_id.upper()}='{json.dumps(connection)}'")
            print("Ctrl-C stops it.", flush=True)
            signal.sigwait(stops)
    except (OSError, SimulatorError) as error:
        print(f"The simulator did not start: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_workflows.simulator",
        description="Serve a Bitrix24 portal and a Domo instance on loopback, to try the provider without accounts.",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"the port, 0 for any that is free ({PORT})")
    parser.add_argument("--host", default=LOOPBACK, help=f"the address to listen at, 0.0.0.0 for all ({LOOPBACK})")
    parser.add_argument("--tls", action="store_true", help="speak TLS with a certificate of its own")
    parser.add_argument("--preset", choices=PRESETS, help="behave as portals did at a time")
    parser.add_argument("--demo", action="store_true", help="begin with all that the example Dags need")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="change a setting, e.g. bucket_capacity=50 for the request limit of a small plan; may be repeated",
    )
    return parser


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    sys.exit(main())
