"""Ids of checkpoints, and stamps that order writes."""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from .errors import InvalidInput
from .model import excess, too_long
from .shown import shown

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
_moments = _Stamps(1000)


def _after_fork() -> None:
    _uuid_stamps.renew_lock()
    _write_stamps.renew_lock()
    _moments.renew_lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def new_checkpoint_id(*, after: str | None = None) -> str:
    """Return a UUID of version 7 that sorts by time.

    Without ``after`` it strictly grows within this process.

    Args:
        after: an id that the new one must be greater than, as text: that of the parent. If a clock is behind, the time
            inside the new id follows that of ``after``, which is a UUID of version 6 or 7, or ends with one. Behind any
            other text that is greater than the present time, the new id is that text, ``-``, and the UUID.

    Raises:
        InvalidInput: ``after`` is not text, or so long that nothing can follow it.

    Example:
        >>> new_checkpoint_id() < new_checkpoint_id()
        True
        >>> "step 1" < new_checkpoint_id(after="step 1")
        True
    """
    made = _uuid(7, _uuid_stamps.next())
    if after is None:
        return made
    if not isinstance(after, str):
        raise InvalidInput(f"after must be text, got {shown(after)}", field="after")
    return made if made > after else _behind(after, made)


_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([67])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")

_GREGORIAN: Final = 122_192_928_000_000_000
"""Units of 100 ns from the epoch of UUIDs of version 6 to that of Unix."""


def _uuid(version: int, time: int) -> str:
    """Make a UUID of a time of 60 bits in the units of its version."""
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return str(uuid.UUID(int=((time >> 12) << 80) | (version << 76) | ((time & 0xFFF) << 64) | (0b10 << 62) | random))


def _behind(after: str, made: str) -> str:
    """Return an id just behind one that is greater than ``made``, which was made now."""
    found = _UUID.match(after, max(0, len(after) - len(made)))
    if found is not None:
        version, high = int(found[1]), uuid.UUID(found[0]).int >> 64
        time_inside = (high >> 16 << 12) | (high & 0xFFF)
        now = time.time_ns() // 100 + _GREGORIAN if version == 6 else _uuid_stamps.next()
        following = max(now, time_inside + 1)
        if following < 1 << 60:
            return after[: found.start()] + _uuid(version, following)
    behind = f"{after}-{made}"
    if size := excess(behind):
        raise InvalidInput(f"after is too long to be followed: the new id {too_long(size)}", field="after")
    return behind


def new_stamp() -> int:
    """Return nanoseconds since 1970, greater than any before in this process.

    Of two writes the later one has the greater stamp.
    """
    return _write_stamps.next()


def new_moment() -> int:
    """Return microseconds since 1970, greater than any before in this process."""
    return _moments.next()


def time_of(stamp: int) -> datetime:
    """Return the time of a stamp, to the microsecond.

    >>> time_of(1_500_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=stamp // 1000)
