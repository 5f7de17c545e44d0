"""Whole Dags as Airflow runs them, in this process and with a database of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any, Literal
from unittest.mock import patch

from airflow import settings
from airflow.providers.common.compat.sdk import DAG, BaseSensorOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

#: What the Dags folder holds: Airflow 3 runs a Dag only if it finds it there.
DAG_FILE = f"# airflow\nfrom {__name__} import under_test as dag\n"
#: The Dag that is run.
under_test: DAG


@dataclass(frozen=True)
class DagResult:
    """What became of a run.

    :param state: ``success`` or ``failed``.
    :param tasks: state of each task by its id; of a mapped one by ``id[index]``.
    :param returned: what each task has returned, by the same names; a task that returned nothing is not there.
    """

    state: str
    tasks: dict[str, str]
    returned: dict[str, Any] = field(repr=False)


def run_dag(
    dag: DAG,
    *,
    database: Path,
    conf: Mapping[str, Any] | None = None,
    logical_date: datetime | Literal["now"] | None = "now",
) -> DagResult:
    """Run a Dag to its end, with what it defers: as ``dag.test()`` does, but with no Dags folder and no waiting.

    A task that is retried is retried at once, and a sensor of the mode ``reschedule`` pokes.

    :param dag: the Dag, which stays as it is.
    :param database: file of the database, see :func:`make_database`.
    :param conf: parameters of the run, as one gives them in Airflow's UI.
    :param logical_date: of the run; ``None`` for a run by hand, which has none in Airflow 3.
    """
    name = "logical_date" if AIRFLOW_V_3_0_PLUS else "execution_date"
    date: dict[str, Any] = {} if logical_date == "now" else {name: logical_date}
    with _airflow_on(database), _to_be_found(dag), _hurried(dag):
        run: Any = dag.test(run_conf=dict(conf or {}), **date)
        return _result(run)


def make_database(file: Path) -> None:
    """Make an empty database of Airflow.

    :param file: where.
    """
    from airflow.utils.db import initdb

    with _airflow_on(file):
        initdb()


def copy_database(made: Path, folder: Path) -> Path:
    """Return a copy of a database that was made before.

    :param made: its file.
    :param folder: where the copy is put.
    """
    return Path(copyfile(made, folder / "airflow.db"))


@contextmanager
def _airflow_on(database: Path) -> Iterator[None]:
    """Have Airflow use a database, and no other Dags than the one of the test."""
    folder = database.with_name("dags")
    folder.mkdir(exist_ok=True)
    (folder / "under_test.py").write_text(DAG_FILE)
    local = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}
    options = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([{"name": "dags-folder", **local}]),
    }
    try:
        with patch.dict(os.environ, options):
            os.environ.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", None)
            _connect()
            yield
    finally:
        _connect()


def _connect() -> None:
    """Have Airflow connect to the database that its options name now."""
    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


@contextmanager
def _to_be_found(dag: DAG) -> Iterator[None]:
    """Have the file in the Dags folder define a Dag, which takes it for its own file meanwhile."""
    # Where it looks for files that templates name.
    searched = [*(dag.template_searchpath or ()), dag.folder]
    with ExitStack() as stack:
        stack.enter_context(patch.object(dag, "template_searchpath", searched))
        for name in {"fileloc", "relative_fileloc"} & vars(dag).keys():
            stack.enter_context(patch.object(dag, name))
        stack.enter_context(patch.dict(globals(), under_test=dag))
        yield


@contextmanager
def _hurried(dag: DAG) -> Iterator[None]:
    """Have retries come at once, and sensors poke, until the run is over."""
    with ExitStack() as stack:
        for task in dag.tasks:
            if mapped := getattr(task, "partial_kwargs", None):
                poke = {"mode": "poke"} if "mode" in mapped else {}
                stack.enter_context(patch.dict(mapped, poke, retry_delay=timedelta(0)))
                continue
            stack.enter_context(patch.object(task, "retry_delay", timedelta(0)))
            if isinstance(task, BaseSensorOperator):
                stack.enter_context(patch.object(task, "mode", "poke"))
        yield


def _result(run: Any) -> DagResult:
    from airflow.utils.session import create_session

    tasks, returned = {}, {}
    with create_session() as session:
        run = session.merge(run)
        for ti in run.get_task_instances(session=session):
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            tasks[name] = str(ti.state)
            value = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, session=session)
            if value is not None:
                returned[name] = value
    return DagResult(str(run.state), tasks, returned)
