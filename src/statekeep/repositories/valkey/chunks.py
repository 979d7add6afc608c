"""Pieces of long lists, so that no request holds up the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")

CHUNK = 500
"""Records that one script call touches at most, so that none holds up the server."""

Row = Sequence[bytes | None]
"""The fields that were read of a record; ``None`` for one that is not there."""


def chunks(items: Sequence[ItemT], size: int = CHUNK) -> Iterator[Sequence[ItemT]]:
    """Cut a sequence into pieces."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
