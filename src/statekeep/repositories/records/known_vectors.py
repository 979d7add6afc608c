"""Matrices of the vectors that this process read.

A search then reads what has changed and multiplies once. A matrix is no more than a list of candidates: who searches
looks at the record of each before it becomes a result.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ..process import fork
from .vectors import FLOAT, exact_scores

_ENTRY: Final = 400
"""Bytes of a vector without its numbers, about: its names, its stamp, its places in lists."""

_UNIT: Final = 2.0**-24
"""How far a number of 32 bits may be rounded, as a part of it."""

_TINY: Final = 1e-25
"""Vectors that are shorter, or as much longer than 1, are compared exactly: 32 bits may not hold their products."""

_FIRST: Final = 64
"""Rows of a new matrix."""


Numbers = npt.NDArray[np.float32]


@frozen
class Scored:
    """A vector and how near it is.

    Attributes:
        matrix: the number of its matrix among those that were looked at.
        member: its name there.
        stamp: of the value that it was made of.
        score: how near; the greater, the nearer.
    """

    matrix: int
    member: str
    stamp: bytes
    score: float


@frozen
class _Entry:
    member: str
    stamp: bytes
    number: int


class Matrix:
    """The vectors of a namespace. Threads may share it.

    Args:
        dims: numbers of each vector.
        metric: ``cosine``, ``ip`` or ``l2``.

    Example:
        >>> from statekeep.repositories.records.vectors import packed
        >>> one, other = packed([[1, 0], [0, 2]], 2, 2)
        >>> matrix = Matrix(2, "cosine")
        >>> matrix.put("one", b"1", one, 1)
        >>> matrix.put("other", b"1", other, 2)
        >>> [found.member for some in nearest([matrix], one, 2) for found in some]
        ['one', 'other']
    """

    def __init__(self, dims: int, metric: str) -> None:
        self.metric = metric
        self._reached = (0, b"")
        self._lock = threading.Lock()
        self._rows = np.zeros((0, dims), np.float32)
        self._lengths = np.zeros(0)
        self._entries: list[_Entry | None] = []
        self._places: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return size_of(len(self._rows), self._rows.shape[1])

    def put(self, member: str, stamp: bytes, vector: bytes, number: int) -> None:
        """Set a vector, unless a later change of it is there.

        Args:
            member: its name.
            stamp: of the value that it was made of.
            vector: as bytes.
            number: of the change after which it was read.
        """
        row = np.frombuffer(vector, FLOAT)
        with self._lock:
            at = self._places.get(member)
            if at is None:
                at = self._free.pop() if self._free else self._next()
                self._places[member] = at
            else:
                entry = self._entries[at]
                if entry is not None and entry.number > number:
                    return
            self._entries[at] = _Entry(member, stamp, number)
            self._rows[at] = row
            self._lengths[at] = np.linalg.norm(row.astype(np.float64))

    def drop(self, member: str, number: int) -> None:
        """Remove a vector that was gone after a change, unless a later one of it is there."""
        with self._lock:
            entry = self._entry(member)
            if entry is not None and entry.number <= number:
                self._drop(member)

    def drop_value(self, member: str, stamp: bytes | None) -> None:
        """Remove a vector if it is of a value that is gone."""
        with self._lock:
            entry = self._entry(member)
            if entry is not None and entry.stamp == stamp:
                self._drop(member)

    @property
    def reached(self) -> bytes:
        """The last change that is in it, as it is stored."""
        return self._reached[1]

    def reach(self, number: int, change: bytes) -> None:
        """Note that all changes up to one are in it."""
        with self._lock:
            self._reached = max(self._reached, (number, change))

    def _entry(self, member: str) -> _Entry | None:
        at = self._places.get(member)
        return None if at is None else self._entries[at]

    def _drop(self, member: str) -> None:
        # Rows stay where they are: a search may be about to look at some of them.
        at = self._places.pop(member)
        self._entries[at] = None
        self._free.append(at)

    def _next(self) -> int:
        at = len(self._entries)
        if at == len(self._rows):
            count = max(_FIRST, at + at // 2)
            rows = np.zeros((count, self._rows.shape[1]), np.float32)
            rows[:at] = self._rows
            self._rows = rows
            self._lengths = np.concatenate([self._lengths, np.zeros(count - at)])
        self._entries.append(None)
        return at

    def members_of(self, name: str) -> list[str]:
        """Return the names of vectors of an item, ``NAME:0`` and so on, that are here."""
        found: list[str] = []
        while (member := f"{name}:{len(found)}") in self._places:
            found.append(member)
        return found

    def about(self, query: Numbers) -> tuple[npt.NDArray[np.float64], float]:
        """Compare all by products in 32 bits.

        Returns:
            A score for each row, also for those that hold nothing, and how far from the exact one it may be.
        """
        length = float(np.linalg.norm(query.astype(np.float64)))
        is_cosine = self.metric == "cosine"
        if is_cosine and length:
            query = (query.astype(np.float64) / length).astype(np.float32)
        with self._lock, np.errstate(all="ignore"):
            count = len(self._entries)
            products = (self._rows[:count] @ query).astype(np.float64)
            lengths = self._lengths[:count].copy()
        longest = float(lengths.max(initial=0.0))
        rounding = 2 * (len(query) + 8) * _UNIT
        if is_cosine:
            shortest = float(lengths.min(initial=np.inf, where=lengths > 0))
            found = np.divide(products, lengths, out=np.zeros(count), where=lengths > 0)
            return found, rounding if shortest > _TINY and longest < 1 / _TINY else np.inf
        # What is too small for 32 bits may count as nothing.
        lost = 4 * len(query) * float(np.finfo(np.float32).tiny)
        if self.metric == "l2":
            found = 2 * products - np.square(lengths) - length**2
            return found, rounding * (longest + length) ** 2 + lost
        return products, rounding * longest * length + lost

    def scored(self, chosen: Sequence[int], query: Numbers) -> list[tuple[str, bytes, float]]:
        """Compare some rows exactly.

        Returns:
            Member, stamp and score of each that holds something.
        """
        with self._lock:
            entries = [(at, entry) for at in chosen if (entry := self._entries[at]) is not None]
            rows = self._rows[[at for at, _ in entries]]
        scores = exact_scores(self.metric, query, rows).tolist()
        return [(entry.member, entry.stamp, score) for (_, entry), score in zip(entries, scores, strict=True)]


def size_of(count: int, dims: int) -> int:
    """Return how many bytes so many vectors take, about."""
    return count * (4 * dims + _ENTRY)


def nearest(matrices: Sequence[Matrix], query: bytes, count: int) -> Iterator[list[Scored]]:
    """Find the vectors that are nearest to a query.

    A product in 32 bits says which may be. Those are compared exactly, so the scores are those of
    :func:`~statekeep.repositories.records.vectors.scores`.

    Args:
        matrices: where to look, all of one metric.
        query: a vector as bytes.
        count: how many may be enough, at least 1.

    Yields:
        The nearest, in no order; then the next ones, four times as many, until all were yielded. Each is as near as
        all that follow, or nearer.
    """
    wanted = np.frombuffer(query, FLOAT)
    parts = [matrix.about(wanted) for matrix in matrices]
    scores = np.concatenate([part for part, _ in parts]) if parts else np.zeros(0)
    starts = np.cumsum([0, *(len(part) for part, _ in parts)])
    margin = max((margin for _, margin in parts), default=0.0)
    if not np.isfinite(scores).all() or not np.isfinite(margin):
        count = len(scores)  # numbers that 32 bits cannot multiply
    above: float | None = None
    while True:
        is_all = count >= len(scores)
        least = -np.inf if is_all else float(np.partition(scores, len(scores) - count)[len(scores) - count])
        chosen = np.arange(len(scores)) if is_all else np.flatnonzero(scores >= least)
        # What was not chosen is not nearer than this.
        bound = least if is_all else least + margin
        bounds = np.searchsorted(chosen, starts)
        yield [
            Scored(number, member, stamp, score)
            for number, matrix in enumerate(matrices)
            for member, stamp, score in matrix.scored(
                (chosen[bounds[number] : bounds[number + 1]] - starts[number]).tolist(), wanted
            )
            if bound <= score and (above is None or score < above)
        ]
        if is_all:
            return
        above, count = bound, 4 * count


class KnownVectors:
    """Matrices by where their vectors are stored, those that were used last.

    Threads may share it, and a forked process begins anew.

    Args:
        limit: bytes that are kept; 0 keeps nothing, so that each search reads all vectors.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        """Begin anew: another thread may have held a lock at the fork."""
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Matrix] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._size = 0

    def __reduce__(self) -> tuple[type[KnownVectors], tuple[int]]:
        return type(self), (self._limit,)  # what is not known is read

    def get(self, place: str) -> Matrix | None:
        """Return a matrix, if it is known."""
        with self._lock:
            matrix = self._known.get(place)
            if matrix is not None:
                self._known.move_to_end(place)
            return matrix

    def has_room(self, size: int) -> bool:
        """Return whether matrices of so many bytes may be kept."""
        return size <= self._limit

    def keep(self, place: str, matrix: Matrix) -> None:
        """Keep a matrix that is new, or has grown.

        Those that were used longest ago are forgotten for it.
        """
        with self._lock:
            self._known[place] = matrix
            self._known.move_to_end(place)
            self._size += matrix.size - self._sizes.get(place, 0)
            self._sizes[place] = matrix.size
            while self._size > self._limit:
                oldest, _ = self._known.popitem(last=False)
                self._size -= self._sizes.pop(oldest)
