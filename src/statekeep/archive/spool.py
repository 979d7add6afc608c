"""Records on their way into an archive, before their order is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Final, Self

IN_MEMORY: Final = 16 << 20
"""Bytes that are kept in memory; what has more goes into a temporary file."""

_PIECE: Final = 1 << 20

Place = tuple[int, int]
"""Where a part begins, and its length."""


class Spool:
    """Parts of a file to come, read in another order than they were written in."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `__exit__`
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, data: bytes) -> Place:
        """Write a part behind all others."""
        self._file.seek(self._end)
        self._file.write(data)
        place = (self._end, len(data))
        self._end += len(data)
        return place

    def read(self, place: Place) -> Iterator[bytes]:
        """Read a part, piece by piece."""
        begin, length = place
        self._file.seek(begin)
        while length:
            piece = self._file.read(min(length, _PIECE))
            length -= len(piece)
            yield piece
