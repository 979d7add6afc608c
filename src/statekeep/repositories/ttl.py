"""Time to live, in seconds."""

from __future__ import annotations

import math
from typing import Any

from ..domain import InvalidInput


def ttl_seconds(value: Any, field: str = "ttl") -> float | None:
    """Return a TTL as it was given, if it is one: ``None`` (for ever) or a finite number of seconds > 0.

    >>> ttl_seconds(0.5)
    0.5

    Raises:
        InvalidInput: it is anything else; ``field`` is named.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise InvalidInput(f"{field} must be None or a number of seconds > 0, got {value!r:.80}", field=field)
    return float(value)
