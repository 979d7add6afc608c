"""Values as concatenations of pieces, so that what grows is stored and sent once.

A new version of a value keeps the pieces of the version before it that still occur in it, in their order. What lies
between them is new: what was appended, what was edited, what came in front of what is left. A piece is named after its
bytes, so one name never stands for two contents, whoever wrote it.

The number of pieces stays small: of many small neighbours larger pieces are made now and then, and a value that fell
into too many is cut anew. A change in the middle stays cheap: no piece is larger than about an eighth of the value.

All of this works on bytes, whatever serializer made them. There is no I/O here.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from attrs import field, frozen

SHORTEST = 2048
"""Bytes below which a value stays whole."""

FAN: Final = 16
"""So many small pieces beside each other are made larger ones; and of so many a value consists when it is cut."""

MOST: Final = 64
"""Pieces of a value at most."""

LEAST: Final = 32
"""A piece below this part of the shortest value is not looked for in a new version."""

EDGE: Final = 64
"""This part of the shortest value is a piece of its own at the start of each.

Serializers write there how long a list is: it changes with each append, and must not take its neighbours with it. The
same holds for the end if a bracket stands there.
"""

_COMPARED: Final = 32768
"""Bytes that are compared at once: a copy of them takes no memory from the system."""

_DIGEST: Final = 15
_BRACKETS: Final = b"]}"


def name_of(data: bytes) -> str:
    """Return the name of a piece: 20 letters, digits, ``-`` and ``_``.

    >>> name_of(b"tea")
    '_HfusJ0PbmmSpaLEzo6g'
    """
    return urlsafe_b64encode(blake2b(data, digest_size=_DIGEST).digest()).decode()


@frozen
class Piece:
    """A part of a value.

    Attributes:
        name: see :func:`name_of`.
        length: in bytes.
    """

    name: str
    length: int


@frozen
class Value:
    """A value and how it is put together.

    Attributes:
        data: its bytes.
        pieces: what it consists of, in order; none of a value that is stored whole.
        new: the bytes of those that the version before did not have, by name.
    """

    data: bytes = field(repr=False)
    pieces: Sequence[Piece] = ()
    new: Mapping[str, bytes] = field(factory=dict, repr=False, eq=False)


Spans = list[tuple[int, int, str]]
"""Start, end and name of pieces; the name is empty as long as it is not known."""


def split(data: bytes, before: Value | None, shortest: int = SHORTEST) -> Value:
    """Put a new version together of pieces of the one before, and of new ones.

    It stays whole if it is short, or if nothing of the version before is in it: such a value does not grow, or is
    encrypted.

    Args:
        data: the new version.
        before: a version of which all pieces are stored; ``None`` if none is known.
        shortest: bytes below which a value stays whole.
    """
    if before is None or not before.data or len(data) < shortest:
        return Value(data)
    if before.data == data:
        return Value(data, before.pieces)
    cut = _Cut(max(shortest, len(data) // FAN), max(shortest // LEAST, 1), max(shortest // EDGE, 1))
    if len(before.pieces) > 1 and (longer := cut.appended(before, data)):
        return longer
    old = _spans(before) if before.pieces else cut.gap(before.data, 0, len(before.data))
    kept = cut.kept(old, before.data, data)
    if not kept:
        return Value(data)
    spans = cut.merged(cut.filled(kept, data), len(data)) if before.pieces else []
    return _named(spans if 0 < len(spans) <= MOST else cut.gap(data, 0, len(data)), data)


def whole(value: Value) -> Value:
    """Return a value with all of its pieces as new ones, for a server that lacks some."""
    new, start = dict[str, bytes](), 0
    for piece in value.pieces:
        new[piece.name] = value.data[start : start + piece.length]
        start += piece.length
    return Value(value.data, value.pieces, new)


def _spans(value: Value) -> Spans:
    spans: Spans = []
    start = 0
    for piece in value.pieces:
        spans.append((start, start + piece.length, piece.name))
        start += piece.length
    return spans


@frozen
class _Cut:
    """How values of a size are cut.

    Attributes:
        size: bytes of a piece at most when it is cut; smaller ones are merged some day.
        least: bytes of a piece that is looked for, at least.
        edge: bytes of the first piece.
    """

    size: int
    least: int
    edge: int

    def appended(self, before: Value, data: bytes) -> Value | None:
        """Put together a new version that only grew, or changed at its edges.

        It is what :meth:`kept`, :meth:`filled` and :meth:`merged` would make of it, in a fraction of the time. Returns
        ``None`` if more changed, or pieces are to be merged.
        """
        pieces, old = before.pieces, before.data
        first = pieces[0].length
        last = pieces[-1].length if data[-1] in _BRACKETS and pieces[-1].length <= self.edge else 0
        end = len(old) - last
        if len(data) < len(old):
            return None
        for at in range(first, end, _COMPARED):
            if not data.startswith(old[at : min(at + _COMPARED, end)], at):
                return None
        kept = pieces[1:-1] if last else pieces[1:]
        run = 0
        for piece in kept:
            run = run + 1 if piece.length < self.size else 0
            if run == FAN:
                return None
        new: dict[str, bytes] = {}
        start = pieces[0] if data.startswith(old[:first]) else _piece(data[:first], new)
        rest = [_piece(data[a:b], new) for a, b, _ in self.gap(data, end, len(data))]
        # The last piece is no candidate for a merger.
        if (len(rest) > 1 and run + len(rest) > FAN) or len(kept) + len(rest) >= MOST:
            return None
        return Value(data, (start, *kept, *rest), new)

    def kept(self, old: Spans, before: bytes, data: bytes) -> Spans:
        """Find pieces of the version before in the new one, in their order."""
        kept: Spans = []
        at, failed = 0, 0
        for start, end, name in old:
            length = end - start
            if length < self.least:
                if data[at : at + length] == before[start:end] and kept:
                    kept.append((at, at + length, name))
                    at += length
                continue
            body = before[start:end]
            found = at if data.startswith(body, at) else data.find(body, at)
            if found >= 0:
                kept.append((found, found + length, name))
                at, failed = found + length, 0
            else:
                failed += 1
                if failed > FAN:  # what is searched for in vain is not searched for ever
                    break
        return kept

    def filled(self, kept: Spans, data: bytes) -> Spans:
        """Add new pieces for what lies between the kept ones."""
        spans: Spans = []
        at = 0
        for start, end, name in [*kept, (len(data), len(data), "")]:
            if start > at:
                spans += self.gap(data, at, start)
            if end > start:
                spans.append((start, end, name))
            at = end
        return spans

    def gap(self, data: bytes, start: int, end: int) -> Spans:
        """Cut a part of a value into pieces of about the same length.

        An empty part has none.
        """
        if start == end:
            return []
        first = self.edge if start == 0 and end > self.edge + self.least else start
        last = (
            end - self.edge
            if end == len(data) and end - first > self.edge + self.least and data[-1] in _BRACKETS
            else end
        )
        count = -(-(last - first) // self.size)
        edges = [first + (last - first) * i // count for i in range(count + 1)]
        spans = [(a, b, "") for a, b in pairwise(edges)]
        return [*([(start, first, "")] if first > start else []), *spans, *([(last, end, "")] if end > last else [])]

    def merged(self, spans: Spans, length: int) -> Spans:
        """Make larger pieces where many small ones are beside each other."""
        found: Spans = []
        run: Spans = []
        for span in [*spans, (length, length, "")]:
            start, end, _ = span
            is_edge = start == 0 or end == length
            if end - start < self.size and not is_edge:
                run.append(span)
                continue
            found += self._larger(run) if len(run) >= FAN else run
            run = []
            if end > start:
                found.append(span)
        return found

    def _larger(self, run: Spans) -> Spans:
        found = [run[0]]
        for span in run[1:]:
            start = found[-1][0]
            if span[1] - start <= 2 * self.size:
                found[-1] = (start, span[1], "")
            else:
                found.append(span)
        return found


def _piece(data: bytes, new: dict[str, bytes]) -> Piece:
    name = name_of(data)
    new[name] = data
    return Piece(name, len(data))


def _named(spans: Spans, data: bytes) -> Value:
    """Name the new pieces."""
    pieces: list[Piece] = []
    new: dict[str, bytes] = {}
    for start, end, name in spans:
        pieces.append(Piece(name, end - start) if name else _piece(data[start:end], new))
    return Value(data, tuple(pieces), new)
