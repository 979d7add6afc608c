"""Sums by name in bounded memory: the largest are kept."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

NameT = TypeVar("NameT", bound=Hashable)

MOST: Final = 131_072
"""Names that are kept. When there are more, the smaller half is forgotten."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of all names that are kept, as an id may have thousands."""


class Tally(Generic[NameT]):
    """Keys and bytes by name.

    Sums are exact as long as there are at most so many names. Beyond that a sum may lack what came before its name was
    forgotten: at most :attr:`slack` bytes.

    Args:
        most: names that are kept, at least 2.

    Attributes:
        slack: bytes that a sum may lack.

    Example:
        >>> tally = Tally()
        >>> for name, size in [("a", 5), ("b", 1), ("a", 2)]:
        ...     tally.add(name, size)
        >>> tally.largest(1), tally.slack
        ([('a', 2, 7)], 0)
    """

    def __init__(self, most: int = MOST) -> None:
        self.slack = 0
        self._most = most
        self._sums: dict[NameT, tuple[int, int]] = {}
        self._length = 0

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, name: NameT, size: int, *, length: int = 0) -> None:
        """Add a key to the sums of a name.

        Args:
            name: whose they are.
            size: bytes.
            length: bytes of the name itself.
        """
        before = self._sums.get(name)
        if before is None:
            self._length += length
            self._sums[name] = (size, 1)
            if len(self._sums) > self._most or self._length > MOST_BYTES:
                self._forget()
        else:
            self._sums[name] = (before[0] + size, before[1] + 1)

    def _forget(self) -> None:
        kept = heapq.nlargest(max(1, len(self._sums) // 2), self._sums.items(), key=lambda pair: pair[1])
        names = {name for name, _ in kept}
        self.slack += max((sums[0] for name, sums in self._sums.items() if name not in names), default=0)
        self._sums = dict(kept)
        self._length //= 2

    def largest(self, count: int) -> list[tuple[NameT, int, int]]:
        """Return names with the most bytes: each with its keys and bytes.

        Args:
            count: of names at most.
        """
        found = heapq.nlargest(count, self._sums.items(), key=lambda pair: pair[1])
        return [(name, keys, size) for name, (size, keys) in found]
