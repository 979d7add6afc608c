"""When something was put, and the time that is inside a checkpoint's id."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

TEXT: Final = "text"
"""The order of ids that hold no time: they are compared as text, and a lane of them is read whole."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GREGORIAN: Final = 12_219_292_800_000
"""Milliseconds from the epoch of UUIDs to that of Unix."""

_AHEAD: Final = 86_400_000
"""Milliseconds that the clock which made an id may be ahead of ours."""


class _Stamps:
    """Nanoseconds since 1970 that strictly grow within this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last


_stamps = _Stamps()


def new_stamp() -> int:
    """Return nanoseconds since 1970, greater than any before in this process: of two writes the later one."""
    return _stamps.next()


def time_of(stamp: int) -> datetime:
    """Return the time of a stamp, to the microsecond.

    >>> time_of(1_500_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=stamp // 1000)


def order_and_time(checkpoint_id: str, stamp: int) -> tuple[str, datetime]:
    """Return how a checkpoint's id is ordered, and the time that orders it in the index.

    Ids of one order other than ``TEXT`` are ordered by that time, to the millisecond, just as they are as text.

    Args:
        checkpoint_id: the id.
        stamp: when it is put; counts if there is no time in the id.

    >>> order_and_time("0190a5f0-0000-7000-8000-000000000000", 2 * 10**18)[0]
    'uuid7'
    >>> order_and_time("step 1", 10**18)
    ('text', datetime.datetime(2001, 9, 9, 1, 46, 40, tzinfo=datetime.timezone.utc))
    """
    try:
        value = uuid.UUID(checkpoint_id)
    except ValueError:
        return TEXT, time_of(stamp)
    if value.version == 6:
        high = value.int >> 64
        millis = ((high >> 16 << 12) | (high & 0xFFF)) // 10_000 - _GREGORIAN
    else:
        millis = value.int >> 80
    is_plain = value.version in (6, 7) and str(value) == checkpoint_id
    if not is_plain or not 0 <= millis <= stamp // 1_000_000 + _AHEAD:
        return TEXT, time_of(stamp)
    return f"uuid{value.version}", _EPOCH + timedelta(milliseconds=millis)
