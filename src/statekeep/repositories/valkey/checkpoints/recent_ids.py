"""Guesses of what the server has; a right one saves a round trip.

``list`` guesses the newest ids, and ``put`` the pending writes that this process put before their checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ....domain.model import SHORT
from .keys import NamespaceKeys

NAMESPACES = 1024
"""The number of namespaces that are remembered."""


class RecentIds:
    """Ids of the newest checkpoints of the namespaces in use, in descending order.

    Only a guess: others put and delete, too. The server compares it with its index, so a wrong one costs a round trip
    and nothing else. Threads that share it may lose each other's news. Nothing is remembered of long ids.

    Args:
        size: how many ids of a namespace are remembered.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known = lru_cache(maxsize=NAMESPACES)(_nothing_yet)

    def __reduce__(self) -> tuple[type[RecentIds], tuple[int]]:
        return type(self), (self._size,)  # what is not known costs a round trip

    def put(self, keys: NamespaceKeys, checkpoint_id: str) -> None:
        """Note that a checkpoint was put."""
        if not keys.is_short:
            return
        known = self._known(keys)
        if len(checkpoint_id) > SHORT:
            known.clear()
        elif checkpoint_id not in known:
            known[:] = sorted([*known, checkpoint_id], reverse=True)[: self._size]

    def listed(self, keys: NamespaceKeys, ids: Sequence[str], *, whole: bool) -> None:
        """Note the newest ids; ``whole`` says that there are no others."""
        if not keys.is_short:
            return
        known = self._known(keys)
        if any(len(checkpoint_id) > SHORT for checkpoint_id in ids):
            known.clear()
        elif whole or known[: len(ids)] != ids:
            known[:] = ids

    def before(self, keys: NamespaceKeys, bound: str | None, count: int) -> Sequence[str]:
        """Return up to ``count`` of the newest ids below ``bound``."""
        if not keys.is_short:
            return ()
        return [known_id for known_id in self._known(keys) if bound is None or known_id < bound][:count]


def _nothing_yet(keys: NamespaceKeys) -> list[str]:
    return []


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
