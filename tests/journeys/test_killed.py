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
from airflow_provider_workflows.bitrix24.clean_up import clean_up, matching
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
    # The portal really takes its time here, so that there is a middle to be killed in.
    with Simulator() as simulator:
        control = simulator.control
        ids = set(control.add_workflows([{"TEMPLATE_ID": 7}] * MATCHING))
        control.add_workflows([{"TEMPLATE_ID": 8}] * OTHERS)
        control.configure(method_seconds={"bizproc.workflow.terminate": 0.1})
        connections = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(it) for name, it in simulator.connections().items()}
        # The same folder for the shared bucket as in this process.
        environment = {**os.environ, **connections, "TMPDIR": tempfile.gettempdir()}
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stderr=subprocess.DEVNULL)
        try:
            while len(control.journal("terminate")) < 60 and worker.poll() is None:
                time.sleep(0.05)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        control.configure(method_seconds={})
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
