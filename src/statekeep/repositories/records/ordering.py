"""The order of the index: by the time inside checkpoint ids, if there is one."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from ...domain.ids import time_of

TEXT: Final = "text"
"""The order of ids that hold no time.

They are compared as text, and a lane of them is read whole.
"""

_GREGORIAN: Final = 12_219_292_800_000
"""Milliseconds from the epoch of UUIDs to that of Unix."""

_AHEAD: Final = 86_400_000
"""Milliseconds that the clock which made an id may be ahead of ours."""


def order_and_time(checkpoint_id: str, stamp: int) -> tuple[str, datetime]:
    """Return how a checkpoint's id is ordered, and its time in the index.

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
    return f"uuid{value.version}", time_of(millis * 1_000_000)
