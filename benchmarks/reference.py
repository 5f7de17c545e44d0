"""The limit itself: requests made beforehand, as few as possible, each sent at the first moment the portal allows."""

from __future__ import annotations

import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from benchmarks.job import BATCH, CODE, EVERY, INSTANCES, PAGE, TERMINATE, USER, Job, Run, rows

#: Connections, where commands take no time. Where they do, one for each request.
CONNECTIONS = 4
#: A request that is quicker to arrive than those before it must not come too early.
MARGIN = 0.05
TRY_AGAIN = 0.05


class Sender:
    """Sends to a portal over connections that stay open, one for each thread.

    :param url: the portal's address.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._context = ssl.create_default_context()
        self._own = threading.local()

    def send(self, method: str, body: bytes) -> Any:
        """Send until it is not refused, and give the reply."""
        while True:
            connection = self._connection()
            connection.request("POST", f"/rest/{USER}/{CODE}/{method}", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            content = reply.read()
            if reply.status == 200:
                return json.loads(content)
            time.sleep(TRY_AGAIN)

    def _connection(self) -> HTTPSConnection:
        if not hasattr(self._own, "connection"):
            host, port = self._address.hostname or "", self._address.port
            self._own.connection = HTTPSConnection(host, port, context=self._context)
        connection: HTTPSConnection = self._own.connection
        return connection


def reference(job: Job) -> Run:
    """Prepare the requests.

    :returns: what sends them.
    """
    sender = Sender(job.url)
    return (lambda: _list(job, sender)) if job.action == "list" else _ending(job, sender)


def _ending(job: Job, sender: Sender) -> Run:
    bodies = _batches([f"{TERMINATE}?ID={quote(id)}" for id in job.ids])

    def run() -> str:
        replies = _send_all(job, sender, bodies, sent=0)
        return f"{sum(len(reply['result']['result']) for reply in replies):,} ended"

    return run


def _list(job: Job, sender: Sender) -> str:
    query = {f"SELECT[{number}]": name for number, name in enumerate(job.select)}
    query |= {f"FILTER[{key}]": str(value) for key, value in EVERY.items()} | {"ORDER[ID]": "asc"}
    first = sender.send(INSTANCES, json.dumps({"SELECT": job.select, "FILTER": EVERY, "ORDER": {"ID": "asc"}}).encode())
    found = {row["ID"] for row in first["result"]}
    lines = [
        f"{INSTANCES}?{urlencode(query | {'start': str(start)})}" for start in range(PAGE, int(first["total"]), PAGE)
    ]
    for reply in _send_all(job, sender, _batches(lines), sent=1):
        found |= {row["ID"] for page in reply["result"]["result"].values() for row in page}
    return rows(found)


def _batches(lines: list[str]) -> list[bytes]:
    """Make as few requests as can be, evenly filled, as the portal works on several at once."""
    requests = max(1, ceil(len(lines) / BATCH))
    size = ceil(len(lines) / requests)
    return [_batch(lines[start : start + size]) for start in range(0, len(lines), size)]


def _batch(lines: list[str]) -> bytes:
    return json.dumps({"halt": 0, "cmd": {f"c{number}": line for number, line in enumerate(lines)}}).encode()


def _send_all(job: Job, sender: Sender, bodies: list[bytes], sent: int) -> list[Any]:
    begun = time.monotonic()

    def send(numbered: tuple[int, bytes]) -> Any:
        number, body = numbered
        time.sleep(max(0.0, begun + _earliest(job, number + sent, number) - time.monotonic()))
        return sender.send("batch", body)

    connections = len(bodies) if job.command_seconds else min(CONNECTIONS, len(bodies))
    with ThreadPoolExecutor(max(1, connections)) as pool:
        return list(pool.map(send, enumerate(bodies)))


def _earliest(job: Job, request: int, batch: int) -> float:
    """Say when a request may go, seconds from the start."""
    limits = job.limits
    over = request + 1 - limits.bucket_capacity
    by_bucket = over / job.drain_left + MARGIN if over > 0 else 0.0
    if not job.command_seconds:
        return by_bucket
    # So many batches fit into one window of the operating limit; the next ones go when it has passed.
    in_window = max(1, int(limits.operating_limit / job.command_seconds) // BATCH)
    return max(by_bucket, batch // in_window * (limits.operating_window + MARGIN))
