"""Requests a second: token buckets that hold one second's worth."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime

from attrs import define

from .clock import Clock


@define
class _Bucket:
    level: float
    filled: datetime


class RateLimits:
    """Counts requests against any number of limits.

    The caller sees to it that one thread does at a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[Hashable, _Bucket] = {}

    def take(self, limits: Iterable[tuple[Hashable, float]]) -> bool:
        """Count one request against several limits.

        Returns false, and counts nothing, if one is exceeded.

        Args:
            limits: pairs of what is limited and how many requests a second it may have.
        """
        now = self._clock.now()
        chosen = [self._bucket(key, rate, now) for key, rate in limits]
        if any(bucket.level < 1 for bucket in chosen):
            return False
        for bucket in chosen:
            bucket.level -= 1
        return True

    def _bucket(self, key: Hashable, rate: float, now: datetime) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(rate, now))
        bucket.level = min(rate, bucket.level + max((now - bucket.filled).total_seconds(), 0.0) * rate)
        bucket.filled = now
        return bucket
