"""A worker that is killed in the middle of a clean-up: the task's next run finishes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

from airflow_provider_workflows.bitrix24 import (
    Bitrix24Client,
    Portal,
    WorkflowFilter,
    terminate_workflow,
)
from airflow_provider_workflows.bitrix24.clean_up import clean_up
from airflow_provider_workflows.bitrix24.selecting import matching
from airflow_provider_workflows.simulator import Simulator

MATCHING, OTHERS = 300, 50
WORKER = """
from airflow_provider_workflows.operators.bitrix24 import CleanUpWorkflowsOperator


class TaskInstance:
    def xcom_push(self, key, value):
        pass


CleanUpWorkflowsOperator(task_id="clean_up", filters={"TEMPLATE_ID": 7}).execute({"ti": TaskInstance()})
"""


def test_each_is_ended_once_and_no_other() -> None:
    with Simulator() as simulator:
        control = simulator.control
        ids = set(control.add_workflows([{"TEMPLATE_ID": 7}] * MATCHING))
        control.add_workflows([{"TEMPLATE_ID": 8}] * OTHERS)
        # Replies stay away: however slow the machine is, the worker is in the middle until it is killed.
        control.inject("slow", containing="bizproc.workflow.terminate", skip=1, times=2, seconds=3000, done=True)
        connections = simulator.connections()
        connections["bitrix24_default"]["extra"] = {"in_flight": 2, "read_timeout": 3000}
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(it) for name, it in connections.items()}
        # The same folder for the shared bucket as in this process.
        environment = {**os.environ, **variables, "TMPDIR": tempfile.gettempdir()}
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stderr=subprocess.DEVNULL)
        try:
            while len(control.journal("terminate")) < 60 and worker.poll() is None:
                time.sleep(0.05)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        at_death = len(control.journal("terminate"))
        assert 60 <= at_death < MATCHING

        host, port = simulator.host.split(":")
        portal = Portal.with_webhook(host, "1", control.settings()["webhook_code"], "http", int(port))
        with Bitrix24Client(portal) as client:
            report = client.run(clean_up(matching(WorkflowFilter.parse({"TEMPLATE_ID": 7})), terminate_workflow)).end

        assert not report.failed
        assert Counter(entry["id"] for entry in control.journal()) == dict.fromkeys(ids, 1)
        rows = control.state()["bitrix24"]["workflows"]
        assert sum(row["state"] == "running" for row in rows.values()) == OTHERS
