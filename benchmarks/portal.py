"""A simulated portal in a process of its own, so that its work is not charged to whoever is measured."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from airflow_provider_workflows.simulator import Control, Simulator

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Portal:
    """A running portal.

    :param url: its address.
    :param control: to seed and read it.
    :param environment: of processes that are to talk to it: its certificate is trusted there, and what they
        leave on disk goes with the portal.
    """

    url: str
    control: Control
    environment: dict[str, str]


@contextmanager
def serve() -> Iterator[Portal]:
    """Serve a fresh portal over TLS: b24pysdk speaks nothing else, and all contestants use the same transport."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        authority.cert_pem.write_to_path(folder / "authority.pem")
        command = [sys.executable, "-m", "benchmarks.portal", str(folder / "server.pem")]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                url = process.stdout.readline().strip()
                trusting = ssl.create_default_context(cafile=folder / "authority.pem")
                environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
                trusted = {name: str(folder / "authority.pem") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
                yield Portal(url, Control(url, trusting), environment | trusted | {"TMPDIR": name})
            finally:
                process.stdin.close()


def _main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    with Simulator(ssl_context=context) as simulator:
        print(simulator.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main()
