"""Records in Redis. Needs ``redis``, which the extra ``[redis]`` brings."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from airflow_provider_workflows.records.store import DRIVER_TIMEOUT, CompareAndSetStore, RecordStoreError
from airflow_provider_workflows.rest.redaction import hide_frames

#: Sets a key if it still has the old value; an empty one stands for none.
COMPARE_AND_SET = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


class RedisRecordStore(CompareAndSetStore):
    """Keeps each record under its own key; the time is the server's.

    :param name: what the store is called in logs and errors.
    :param options: where it is, and how it is called: arguments of ``redis.Redis``.
    """

    @hide_frames
    def __init__(self, name: str, **options: Any) -> None:
        super().__init__()
        self._name = name
        # Repeats are this class's own: the usual ones take half a minute, and would change a record twice.
        retry, timeout = Retry(NoBackoff(), 0), DRIVER_TIMEOUT
        self._client = redis.Redis(retry=retry, socket_timeout=timeout, socket_connect_timeout=timeout, **options)
        self._compare_and_set = self._client.register_script(COMPARE_AND_SET)

    def __str__(self) -> str:
        return self._name

    @hide_frames
    def _read(self, name: str) -> tuple[bytes | None, float]:
        try:
            try:
                content, (seconds, microseconds) = self._read_once(name)
            except redis.ConnectionError:
                # Perhaps only this connection was closed, while it was idle.
                content, (seconds, microseconds) = self._read_once(name)
        except redis.RedisError as error:
            raise self._failure(error) from None
        return content, seconds + microseconds / 1e6

    def _read_once(self, name: str) -> Any:
        pipeline = self._client.pipeline()
        pipeline.get(_key(name))
        pipeline.time()
        return pipeline.execute()

    @hide_frames
    def _write(self, name: str, old: bytes | None, new: bytes, keep_for: float | None) -> bool:
        arguments = [old or b"", new, "" if keep_for is None else round(keep_for * 1000)]
        try:
            return bool(self._compare_and_set(keys=[_key(name)], args=arguments))
        except redis.RedisError as error:
            raise self._failure(error) from None

    def _failure(self, error: redis.RedisError) -> RecordStoreError:
        # A server that takes no more writes may have become the replica; the address may lead to the new primary.
        self._client.connection_pool.disconnect()
        return RecordStoreError(self._name, str(error) or type(error).__name__)


def _key(name: str) -> str:
    # In braces stands what says on which node of a cluster it lies.
    return f"airflow-provider-workflows:{{{name}}}"
