"""The example Dags under a real Airflow; what counts is what became of the simulated systems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from airflow_provider_workflows.simulator import Control
from tests.example_dags.conftest import DagsTest, Run
from tests.example_dags.test_parsing import EVERYWHERE, ON_LATER_AIRFLOWS

#: At DEBUG, Airflow 3's `dags test` (and nothing else of Airflow) prints whatever it is asked to mask, passwords of
#: connections among it.
MASKING = "msg=MaskSecret("


def test_every_example_runs_as_it_is_against_the_demo_by_hand_and_on_schedule(
    run: Run, migrated: None, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    results = tmp_path / "results.json"
    done = run("python", "-m", "tests.example_dags.runs", str(results))
    assert done.returncode == 0, done.stdout[-5000:]
    told = json.loads(results.read_text())
    assert {one["way"] for one in told} == ({"by hand", "on schedule"} if AIRFLOW_V_3_0_PLUS else {"on schedule"})
    assert {one["dag"] for one in told} >= (EVERYWHERE | ON_LATER_AIRFLOWS.keys() if AIRFLOW_V_3_3_PLUS else EVERYWHERE)
    for one in told:
        with subtests.test(f"{one['dag']}, {one['way']}: {one['promise']}"):
            assert not one["wrong"], one["wrong"]


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 3 runs it")
class TestMisspeltFilter:
    def test_fails_names_the_field_ends_nothing_and_shows_no_secret(
        self, dags_test: DagsTest, control: Control, tmp_path: Path
    ):
        control.generate_workflows(10)
        control.add_domo_instances([{"id": "completed-instance", "status": "COMPLETED"}])

        done = dags_test(
            "misspelt_filter",
            folder=Path(__file__).parent / "dags",
            AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG",
            AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(tmp_path),
        )

        assert done.returncode != 0
        assert "unknown field '<STARTDE'" in done.stdout
        assert control.journal() == []
        sent = control.requests()
        assert [entry["method"] for entry in sent if entry["vendor"] == "bitrix24"] == ["bizproc.workflow.instances"]
        assert {entry["method"] for entry in sent if entry["vendor"] == "domo"} == {"cancel", "get"}

        texts = [done.stdout, *(file.read_text() for file in tmp_path.rglob("*") if file.is_file())]
        lines = [line for text in texts for line in text.splitlines()]
        assert any("debug" in line.lower() and "/bizproc.workflow.instances" in line for line in lines)
        settings = control.settings()
        secrets = (settings["webhook_code"], settings["domo_token"])
        assert [line for line in lines if any(secret in line for secret in secrets) and MASKING not in line] == []
