"""The time that an emulated service sees."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Clock:
    """Runs like the real one, and can be set forward; or stands still until it is.

    Args:
        at: where the clock stands still; ``None`` for one that runs.

    Example:
        >>> clock = Clock(datetime(2026, 1, 1, tzinfo=UTC))
        >>> clock.advance(90)
        >>> clock.now().isoformat()
        '2026-01-01T00:01:30+00:00'
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._at = at
        self._offset = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return (self._at or datetime.now(UTC)) + self._offset

    def advance(self, seconds: float) -> None:
        """Set the clock forward."""
        with self._lock:
            self._offset += timedelta(seconds=seconds)
