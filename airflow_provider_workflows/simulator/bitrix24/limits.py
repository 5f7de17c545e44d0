"""The two limits of a portal: how many requests, and how much running time."""

from __future__ import annotations

from airflow_provider_workflows.simulator.clock import Clock
from airflow_provider_workflows.simulator.settings import Settings

BUCKETS = 10
Key = tuple[str, str]  # application, method


class LeakyBucket:
    """
    Each request adds one, the bucket drains all the time; a request that would overflow it is refused.

    :param clock: the time it drains by
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._level = 0.0
        self._at = self._clock.monotonic()

    def admits(self, settings: Settings) -> bool:
        """
        Count a request; whether it may run.

        :param settings: the bucket's size and drain
        """
        now = self._clock.monotonic()
        elapsed, self._at = now - self._at, now
        if not settings.bucket_capacity:
            self._level = 0.0
            return True
        change = elapsed * (settings.bucket_other - settings.bucket_drain)
        self._level = min(max(self._level + change, 0.0), float(settings.bucket_capacity))
        if self._level + 1 > settings.bucket_capacity:
            return False
        self._level += 1
        return True


class OperatingTime:
    """
    The running time used by each application and method.

    There are two accounts of how this limit works, and both can be had:

    ``documented``
        A method is blocked while its sum over a sliding window is above the limit. Commands in a batch are
        charged and blocked one by one, the batch itself is not charged.
    ``ban``
        A sum above the limit bans the method for a fixed time and starts again from nothing. A batch is charged
        as the method ``batch`` with half its time, its commands are not charged.

    :param clock: the time that windows and bans go by
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[Key, list[list[float]]] = {}
        self._banned: dict[Key, float] = {}

    def blocked(self, key: Key, settings: Settings) -> bool:
        """
        Whether a method is over the limit.

        :param key: application and method
        :param settings: the model and its figures
        """
        if settings.operating_model == "documented":
            return self.used(key, settings) > settings.operating_limit
        return settings.operating_model == "ban" and self._banned.get(key, 0) > self._clock.time()

    def charge(self, key: Key, seconds: float, settings: Settings) -> None:
        """
        Add running time.

        :param key: application and method
        :param seconds: how long it ran
        :param settings: the model and its figures
        """
        now = self._clock.time()
        if settings.operating_model == "off":
            return
        if settings.operating_model == "ban" and seconds <= settings.operating_minimum:
            return
        buckets = self._current(key, settings)
        if buckets and now - buckets[-1][0] < settings.operating_window / BUCKETS:
            buckets[-1][1] += seconds
        else:
            buckets.append([now, seconds])
        if settings.operating_model == "ban" and self.used(key, settings) > settings.operating_limit:
            self._banned[key] = now + settings.operating_ban
            buckets.clear()

    def used(self, key: Key, settings: Settings) -> float:
        """
        Return the running time in the window.

        :param key: application and method
        :param settings: the window
        """
        return sum(seconds for _, seconds in self._current(key, settings))

    def reset_at(self, key: Key, settings: Settings) -> int:
        """
        When the used time will next go down.

        :param key: application and method
        :param settings: the window
        """
        now = self._clock.time()
        if self._banned.get(key, 0) > now:
            return int(self._banned[key])
        buckets = self._current(key, settings)
        return int((buckets[0][0] if buckets else now) + settings.operating_window)

    def _current(self, key: Key, settings: Settings) -> list[list[float]]:
        oldest = self._clock.time() - settings.operating_window
        buckets = self._buckets.setdefault(key, [])
        while buckets and buckets[0][0] <= oldest:
            buckets.pop(0)
        return buckets
