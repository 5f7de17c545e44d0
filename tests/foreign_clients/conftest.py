"""A simulator that speaks TLS, as most of these clients speak nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_workflows.simulator import Control, Simulator

LIST, KILL, TERMINATE = (f"bizproc.workflow.{name}" for name in ("instances", "kill", "terminate"))
CODE = "sim0webhook0code"


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(tls=True) as simulator:
        yield simulator


@pytest.fixture
def control(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Control:
    """Return the control of an empty simulator, whose certificate all clients trust."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(simulator.certificate))
    simulator.control.reset()
    return simulator.control


@pytest.fixture
def webhook(simulator: Simulator, control: Control) -> str:
    """Return the address of the webhook."""
    return f"{simulator.url}/rest/1/{CODE}/"


def state(control: Control, id: str) -> str:
    """Return what has become of a workflow."""
    return str(control.state()["bitrix24"]["workflows"][id]["state"])
