"""Reading archives: what their lines say, in the order that they must have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field

from ..domain import CorruptRecord, InvalidInput, Item, LogEntry, Unsupported
from ..domain.cache import CacheEntry
from ..domain.json_values import loads
from ..domain.shown import shown
from .files import Input, cut_off
from .lines import (
    FORMAT,
    KINDS,
    VERSION,
    CheckpointLine,
    EndLine,
    Header,
    Line,
    LogLine,
    ThreadLine,
    ValueLine,
    WriteLine,
    parse,
)
from .report import Counts

MOST_BYTES: Final = 1 << 20
"""Bytes of lines that are read at once; of a longer line, that alone."""

MOST_LINES: Final = 500
"""Lines that are read at once."""

Unit = tuple[int, Any]
"""A thread, an item, a log or a cache entry: the number of its kind, and what it is sorted by."""


@define
class Reader:
    """Reads an archive, and checks it on the way.

    Attributes:
        source: the file.
        header: its first line, once it was read.
        is_at_end: whether the last line was read.
        unit: the last unit that began.
        counts: of the records that were read.
    """

    source: Input
    header: Header | None = None
    is_at_end: bool = False
    unit: Unit = (-1, None)
    counts: Counts = field(factory=Counts)
    _lines: Iterator[bytes] | None = None
    _digest: Any = field(factory=hashlib.sha256)
    _thread_id: str = ""
    _checkpoint: Any = None
    _write: Any = None
    _position: int = 0
    _digests: set[str] = field(factory=set)
    _failure: Exception | None = None

    def batch(self) -> list[Line]:
        """Return what the next lines say; nothing at the end.

        A line that is damaged counts when all before it were returned.

        Raises:
            CorruptRecord: a line is damaged or missing, or the lines are in another order; it names the line.
            InvalidInput: this is no archive.
            Unsupported: it is one of a later version.
        """
        found: list[Line] = []
        size = 0
        while size < MOST_BYTES and len(found) < MOST_LINES and self._failure is None:
            try:
                text, one = self.next()
            except (CorruptRecord, InvalidInput, Unsupported) as error:
                self._failure = error
                break
            if one is None:
                break
            found.append(one)
            size += len(text)
        if not found and self._failure is not None:
            raise self._failure
        return found

    def next(self) -> tuple[bytes, Line | None]:
        """Return the next line, and what it says; ``None`` at the end.

        Raises as :meth:`batch`.
        """
        if self._lines is None:
            self._lines = self.source.lines()
        text = next(self._lines, None)
        if text is None:
            if self.header is None:
                raise InvalidInput("file is empty: it is no archive", field="file")
            if not self.is_at_end:
                raise cut_off(self.source.number)
            return b"", None
        one: Line
        if self.header is None:
            one = self.header = _header(text)
        else:
            one = self._checked(text)
        self._digest.update(text)
        return text, one

    def digest(self) -> Any:
        """Return a copy of the digest of all lines so far."""
        return self._digest.copy()

    def _checked(self, text: bytes) -> Line:
        number = self.source.number
        if self.is_at_end:
            raise CorruptRecord(f"line {number} follows the last line of the archive")
        try:
            one = parse(text, self._thread_id)
            self._look(one)
        except CorruptRecord as error:
            raise CorruptRecord(f"line {number} is damaged: {error}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise CorruptRecord(f"line {number} is damaged: {error!s:.300}") from error
        return one

    def _look(self, one: Line) -> None:
        """Check that a line may stand where it stands."""
        match one:
            case ThreadLine():
                self._begin(0, one.thread_id)
                self._thread_id, self._checkpoint, self._digests = one.thread_id, None, set()
                self.counts.add("threads")
            case ValueLine():
                self._within(0)
                if one.digest in self._digests:
                    raise ValueError("this value is in the thread already")
                self._digests.add(one.digest)
            case CheckpointLine():
                self._within(0)
                place = (one.checkpoint.checkpoint_id, one.checkpoint.namespace)
                self._follows(self._checkpoint, place)
                self._known(one.digests.values())
                self._checkpoint, self._write = place, None
                self.counts.add("checkpoints")
            case WriteLine():
                self._within(0)
                if self._checkpoint is None:
                    raise ValueError("it follows no checkpoint")
                self._follows(self._write, one.write.order)
                self._known([one.digest])
                self._write = one.write.order
                self.counts.add("pending_writes")
            case Item():
                self._begin(1, (one.namespace, one.key))
                self.counts.add("items")
            case LogLine():
                self._begin(2, one.name)
                self._position = 0
                self.counts.add("logs")
            case LogEntry():
                self._within(2)
                self._follows(self._position, one.position)
                self._position = one.position
                self.counts.add("entries")
            case CacheEntry():
                self._begin(3, (one.namespace, one.key))
                self.counts.add("cache_entries")
            case EndLine():
                self._end(one)
            case Header():
                raise ValueError("it is the first line of an archive")

    def _begin(self, kind: int, key: Any) -> None:
        assert self.header is not None
        if KINDS[kind] not in self.header.kinds:
            raise ValueError(f"the first line says nothing of {KINDS[kind]}")
        unit = (kind, key)
        if self.unit[0] > kind or (self.unit[0] == kind and not self.unit[1] < key):
            raise ValueError(f"it comes after {shown(self.unit[1])}: lines are sorted, and each record is there once")
        self.unit = unit

    def _within(self, kind: int) -> None:
        if self.unit[0] != kind:
            raise ValueError(f"it stands outside of a {('thread', '', 'log')[kind]}")

    @staticmethod
    def _follows(before: Any, key: Any) -> None:
        if before is not None and not before < key:
            raise ValueError(f"it comes after {shown(before)}: lines are sorted, and each record is there once")

    def _known(self, digests: Any) -> None:
        for digest in digests:
            if digest not in self._digests:
                raise ValueError(f"no line of the thread before it has the value {shown(digest)}")

    def _end(self, one: EndLine) -> None:
        if dict(one.counts) != self.counts.found():
            raise ValueError(f"it counts {dict(one.counts)}, but there are {self.counts.found()}")
        if one.sha256 != self._digest.hexdigest():
            raise ValueError("the lines before it have another digest: some were changed")
        self.is_at_end = True


def _header(text: bytes) -> Header:
    try:
        found = loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"file is no archive: its first line is no JSON: {shown(text)}", field="file") from error
    if type(found) is not dict or found.get("kind") != "archive" or found.get("format") != FORMAT:
        raise InvalidInput(f"file is no archive of Statekeep: it begins with {shown(text)}", field="file")
    version = found.get("version")
    if version != VERSION or type(version) is not int:
        raise Unsupported(
            f"the archive is of version {shown(version)}, and this is Statekeep for version {VERSION}: take a newer one"
        )
    try:
        header = parse(text)
    except ValueError as error:
        raise CorruptRecord(f"line 1 is damaged: {error}") from error
    assert isinstance(header, Header)
    return header
