"""Values in pieces, however short they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from statekeep.repositories.records import pieces
from statekeep.repositories.records.pieces import MOST, Piece, Value, name_of


@contextmanager
def small_pieces(shortest: int = 2, size: int = 3) -> Iterator[None]:
    """Put each value of so many bytes or more together of pieces, also if nothing of it is known.

    Args:
        shortest: bytes below which a value stays whole.
        size: bytes of the pieces of which nothing is known; more if there were too many.
    """
    split = pieces.split

    def cut(data: bytes, before: Value | None, shortest: int) -> Value:
        value = split(data, before, shortest)
        if value.pieces or len(data) < shortest:
            return value
        each = max(size, len(data) // MOST)
        parts = [data[first : first + each] for first in range(0, len(data), each)]
        names = [name_of(part) for part in parts]
        listed = tuple(Piece(name, len(part)) for name, part in zip(names, parts, strict=True))
        return Value(data, listed, dict(zip(names, parts, strict=True)))

    with patch.object(pieces, "SHORTEST", shortest), patch.object(pieces, "split", cut):
        yield
