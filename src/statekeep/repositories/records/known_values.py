"""The newest values of channels that this process read or put.

From them a new version is put together; see :mod:`~statekeep.repositories.records.pieces`. Only a guess of what is
stored: a wrong one costs a round trip and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from ..process import fork
from . import pieces
from .pieces import Value

BYTES: Final = 32 * 1024 * 1024
"""Bytes of values that are kept."""

_ENTRY: Final = 500
"""Bytes of an entry without its value and pieces, about."""

_PIECE: Final = 150
"""Bytes of a piece without its data, about."""


class KnownValues:
    """Values by where they are stored and channel, those that were used last.

    Their bytes are those that were read or put, not a copy. Threads may share it, and a forked process begins anew.

    Args:
        limit: bytes that are kept; 0 keeps nothing, so that all values are stored whole.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self._limit = limit
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        """Begin anew: another thread may have held the lock at the fork."""
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Value] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[type[KnownValues], tuple[int]]:
        return type(self), (self._limit,)  # what is not known is stored whole

    def split(self, place: str, channel: str, data: bytes) -> Value:
        """Put a new version of a value together of pieces of the known one."""
        if not self._limit or len(data) < pieces.SHORTEST:
            return Value(data)
        with self._lock:
            before = self._known.get((place, channel))
        return pieces.split(data, before, pieces.SHORTEST)

    def get(self, place: str, channel: str) -> Value | None:
        """Return the known version of a value."""
        with self._lock:
            return self._known.get((place, channel))

    def at(self, place: str) -> dict[str, Value]:
        """Return what is known of a place, by channel."""
        with self._lock:
            return {channel: value for (where, channel), value in self._known.items() if where == place}

    def forget(self, place: str) -> None:
        """Forget what is known of places that begin like this one."""
        with self._lock:
            for key in [key for key in self._known if key[0].startswith(place)]:
                self._size -= _size(*key, self._known.pop(key))

    def note(self, place: str, channel: str, value: Value) -> None:
        """Note a value that was read or put; a short one is of no use."""
        size = _size(place, channel, value)
        with self._lock:
            known = self._known.pop((place, channel), None)
            if known is not None:
                self._size -= _size(place, channel, known)
            if len(value.data) < pieces.SHORTEST or size > self._limit:
                return
            self._known[place, channel] = Value(value.data, value.pieces) if value.new else value
            self._size += size
            while self._size > self._limit:
                (place, channel), oldest = self._known.popitem(last=False)
                self._size -= _size(place, channel, oldest)


def _size(place: str, channel: str, value: Value) -> int:
    return _ENTRY + len(place) + len(channel) + len(value.data) + _PIECE * len(value.pieces)
