"""Pending writes that this process put before their checkpoint.

Knowing them saves ``put`` a round trip.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....domain.model import SHORT
from .keys import NamespaceKeys

CHECKPOINTS = 1024
"""The number of checkpoints of which writes are remembered."""

WRITES = 100
"""The number of writes of a checkpoint that are remembered; of more, none is."""


class EarlyWrites:
    """The keys of their records. Only a guess: the server compares it with its index."""

    def __init__(self) -> None:
        self._known: dict[tuple[NamespaceKeys, str], tuple[str, ...]] = {}

    def note(self, keys: NamespaceKeys, checkpoint_id: str, records: Sequence[str]) -> None:
        """Note that writes were put whose checkpoint is not stored."""
        known = self._known.pop((keys, checkpoint_id), ())
        if keys.is_short and max(map(len, [checkpoint_id, *records])) <= 4 * SHORT:
            if len(self._known) >= CHECKPOINTS:
                self._known.clear()
            if len(known) + len(records) <= WRITES:
                self._known[keys, checkpoint_id] = (*known, *records)

    def take(self, keys: NamespaceKeys, checkpoint_id: str) -> tuple[str, ...]:
        """Return the records that were noted, and forget them."""
        return self._known.pop((keys, checkpoint_id), ())
