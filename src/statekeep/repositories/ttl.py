"""Time to live, in seconds."""

from __future__ import annotations

import math
from typing import Any, Final

from ..domain import InvalidInput
from ..domain.shown import shown

LONGEST: Final = 10_000_000_000
"""Seconds; 317 years. What ends later ends after the last date that there is."""


def ttl_seconds(value: Any, field: str = "ttl") -> float | None:
    """Return a TTL as it was given, if it is one: ``None`` (for ever) or a number of seconds > 0.

    >>> ttl_seconds(0.5)
    0.5

    Raises:
        InvalidInput: it is anything else; ``field`` is named.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
        raise InvalidInput(
            f"{field} must be None or a number of seconds > 0 and <= {LONGEST}, got {shown(value)}", field=field
        )
    return float(value)


def ms_of(ttl: float | None) -> int:
    """Return a TTL in whole milliseconds, never too short; 0 for ever."""
    return 0 if ttl is None else math.ceil(ttl * 1000)
