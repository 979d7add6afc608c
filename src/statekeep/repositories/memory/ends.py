"""Times at which records in this process end."""

from __future__ import annotations

import datetime as dt
from typing import Final

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND: Final = dt.timedelta(microseconds=1)


def end_of(ttl: float | None, now: dt.datetime) -> dt.datetime | None:
    """Return when a record ends that lives ``ttl`` seconds from now.

    Never too early, and less than a millisecond late.
    """
    return None if ttl is None else _at((now - EPOCH) // MICROSECOND + round(ttl * 1e6))


def next_millisecond(moment: dt.datetime) -> dt.datetime:
    """Return a time rounded up to the millisecond, in UTC."""
    return _at((moment - EPOCH) // MICROSECOND)


def _at(microseconds: int) -> dt.datetime:
    return EPOCH + dt.timedelta(milliseconds=-(-microseconds // 1000))
