"""Ids of checkpoints, and stamps that order writes."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Stamps:
    """Time since 1970 as integers that strictly grow within this process.

    They grow even when the clock goes back.

    Args:
        per_millisecond: the unit; so many of them are a millisecond.
    """

    def __init__(self, per_millisecond: int) -> None:
        self._per_millisecond = per_millisecond
        self._last = 0
        self.renew_lock()

    def renew_lock(self) -> None:
        """Take a new lock: another thread may have held the old one at the fork."""
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self._last = max(time.time_ns() * self._per_millisecond // 1_000_000, self._last + 1)
            return self._last


# 48 bits of milliseconds and 12 bits of their fraction, as RFC 9562 section 6.2 (method 3) allows.
_uuid_stamps = _Stamps(4096)
_write_stamps = _Stamps(1_000_000)


def _after_fork() -> None:
    _uuid_stamps.renew_lock()
    _write_stamps.renew_lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def new_checkpoint_id() -> str:
    """Return a UUID of version 7 that sorts by time.

    Within this process they strictly grow.

    Example:
        >>> new_checkpoint_id() < new_checkpoint_id()
        True
    """
    stamp = _uuid_stamps.next()
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    value = ((stamp >> 12) << 80) | (0x7 << 76) | ((stamp & 0xFFF) << 64) | (0b10 << 62) | random
    return str(uuid.UUID(int=value))


def new_stamp() -> int:
    """Return nanoseconds since 1970, greater than any before in this process.

    Of two writes the later one has the greater stamp.
    """
    return _write_stamps.next()


def time_of(stamp: int) -> datetime:
    """Return the time of a stamp, to the microsecond.

    >>> time_of(1_500_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=stamp // 1000)
