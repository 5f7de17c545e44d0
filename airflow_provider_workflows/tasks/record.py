"""The record of what a task ends, kept as JSON lines in a file or an object store."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from os import SEEK_END
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_workflows.rest.ending import EndReport

log = logging.getLogger(__name__)

#: Protocols of paths to which lines can be appended; elsewhere the whole object is written again.
LOCAL = {"", "file", "local"}


class EndRecord:
    """JSON lines: what is about to be ended, written before anything is, and the outcome of each afterwards.

    Lines are added to what the path holds, so that a retry leaves the record of earlier tries as it is.

    :param path: a local path, or one such as ``s3://aws_default@bucket/record.jsonl``.
    :param task: what each line says of the task, besides the time.
    """

    def __init__(self, path: str, task: Mapping[str, Any]) -> None:
        self._path = ObjectStoragePath(path)
        self._task = dict(task)
        self._told: dict[str, str] = {}

    def go_on(self, report: EndReport) -> None:
        """Take what an earlier part of the task has done as written."""
        self._told = report.outcomes

    def about_to_end(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write down what is about to be ended.

        :param rows: of each its ``id``, and what is known of it.
        """
        self._add({"event": "about to end", **row} for row in rows)

    def settle(self, report: EndReport) -> None:
        """Write down what became of each, unless it was written before. An error is only logged: the work is done."""
        outcomes = report.outcomes
        news = [(id, outcome) for id, outcome in outcomes.items() if self._told.get(id) != outcome]
        reasons = report.failed
        try:
            self._add(
                {"event": outcome, "id": id} | ({"reason": reasons[id]} if outcome == "failed" else {})
                for id, outcome in news
            )
        except Exception:
            log.exception("The outcomes could not be written to the record %s", self._path)
        self._told = outcomes

    def _add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        text = "".join(f"{json.dumps({'time': when, **self._task, **line})}\n" for line in lines)
        if not text:
            return
        if self._path.protocol in LOCAL:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                size = file.seek(0, SEEK_END)
                file.seek(max(0, size - 1))
                # A full disk may have left half a line.
                if file.read() not in {b"", b"\n"}:
                    text = f"\n{text}"
                file.write(text.encode())
        else:
            earlier = self._path.read_text() if self._path.exists() else ""
            self._path.write_text(earlier + text)
