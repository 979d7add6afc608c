"""Lanes that hold versions of one value in pieces.

A lane gets a record for each version, with the pieces that are new in it and the names of all, in their order. So one
read of the lane returns every version, and one append adds one. What a version consists of is in its own lane: a lane
that became long, large or old is left as it is, and the next version begins another one with all of its pieces.

A value that is in pieces is called ``LANE/VERSION``; one that is whole has a lane to itself, and its name has no slash.
There is no I/O here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from functools import partial
from typing import Any, Final, Self

from attrs import evolve, field, frozen

from ...domain import Payload
from ..validation import text
from . import pieces
from .checkpoints import decoded, stamp_of, value_record
from .framing import Record
from .names import digest
from .pieces import Piece, Value, name_of, whole

RECORDS: Final = 90
"""Records of a lane at most, so that a page of 100 events has them all; programs that write at once may exceed it."""

SIZE: Final = 1.5
"""So many times the length of the newest version a lane may have; more makes reads larger, and fewer lanes."""

_NAME: Final = 21
"""Bytes of the name of a piece in a record."""


def lane_of(name: str) -> str:
    """Return the lane that has a value.

    >>> lane_of("a/b"), lane_of("c")
    ('a', 'c')
    """
    return name.partition("/")[0]


def is_in_pieces(name: str) -> bool:
    """Return whether the lane of a value has other versions of it, too."""
    return "/" in name


@frozen
class Seen:
    """A state of a namespace, which tells whether something was deleted since.

    Attributes:
        births: by which a namespace is known again that was deleted as a whole.
        sweeps: deletions of some of its values.
    """

    births: frozenset[int] = frozenset()
    sweeps: frozenset[str] = frozenset()

    def holds(self, now: Seen) -> bool:
        """Return whether nothing that was seen may have been deleted since."""
        return not self.births.isdisjoint(now.births) and now.sweeps <= self.sweeps


@frozen
class LaneValue(Value):
    """A value in pieces, and their lane.

    Attributes:
        name: of the value.
        born: the stamp of the lane's first record, since records do not live for ever.
        records: how many the lane has.
        size: bytes of all of them, about.
        seen: what was stored then, or before.
    """

    name: str = ""
    born: int = 0
    records: int = 0
    size: int = 0
    seen: Seen = field(factory=Seen)


@frozen
class NewValue:
    """A value that is about to be stored.

    Attributes:
        name: under which it will be found.
        value: what a process knows of it then.
        record: to append to its lane.
        stamp: of the oldest record that it needs.
        relies_on: what must not have been deleted, if pieces are there already.
    """

    name: str
    value: Value
    record: Record
    stamp: int
    relies_on: Seen | None = None


def new_value(name: str, payload: Payload, before: Value | None, stamp: int, life: int) -> NewValue:
    """Put a new version of a value together of stored pieces and of new ones.

    Args:
        name: of the value, if it is stored whole.
        payload: the value.
        before: another version; ``None`` if none is known.
        stamp: the time.
        life: nanoseconds after which a lane gets no more versions.
    """
    value = pieces.split(payload.data, before, pieces.SHORTEST)
    if not value.pieces:
        return NewValue(name, value, value_record(payload), stamp)
    size = _size(value.pieces, value.new)
    if isinstance(before, LaneValue) and _takes_more(before, size, len(value.data), stamp, life):
        lane, born, records, seen = lane_of(before.name), before.born, before.records, before.seen
        size += before.size
    else:
        value = whole(value)
        lane, born, records, seen = digest(name, str(stamp)), stamp, 0, None
        size = _size(value.pieces, value.new)
    known = LaneValue(value.data, value.pieces, {}, f"{lane}/{name}", born, records + 1, size)
    record = _version_record(name, value, payload.encoding, stamp)
    return NewValue(known.name, known, record, born, seen)


def _size(names: Sized, own: Mapping[str, bytes]) -> int:
    """Return the bytes of a record, about."""
    return _NAME * len(names) + sum(map(len, own.values()))


def _takes_more(before: LaneValue, more: int, length: int, stamp: int, life: int) -> bool:
    return stamp - before.born <= life and before.records < RECORDS and before.size + more <= SIZE * length


def _version_record(version: str, value: Value, encoding: str, stamp: int) -> Record:
    names = " ".join(piece.name for piece in value.pieces)
    head = {"type": "version", "version": version, "encoding": encoding, "pieces": names, "stamp": stamp}
    return Record(head, list(value.new.values()))


@frozen
class _Version:
    version: str
    encoding: str
    pieces: Sequence[str]
    stamp: int
    record: Record
    own: frozenset[str]
    """The names of the pieces in its record."""


@frozen
class PieceLane:
    """The records of a lane, read.

    Attributes:
        pieces: by their names.
    """

    _versions: Sequence[_Version]
    pieces: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, records: Iterable[Record], where: str) -> Self:
        """Read a lane.

        Args:
            records: all that are whole.
            where: the lane, for errors.

        Raises:
            CorruptRecord: one is none of a version.
        """
        versions, found = [], dict[str, bytes]()
        for record in records:
            own = {name_of(blob): blob for blob in record.blobs}
            versions.append(decoded(record, where, partial(_version, record, own)))
            found |= own
        return cls(versions, found)

    @property
    def versions(self) -> set[str]:
        """The versions that there are, maybe without all of their pieces."""
        return {one.version for one in self._versions}

    @property
    def records(self) -> list[Record]:
        """The records of the lane."""
        return [one.record for one in self._versions]

    def payload(self, name: str) -> Payload | None:
        """Return a version, ``None`` if it or a piece of it is gone."""
        for one in self._versions:
            if one.version == name.partition("/")[2] and all(piece in self.pieces for piece in one.pieces):
                return Payload.trusted(encoding=one.encoding, data=b"".join(map(self.pieces.__getitem__, one.pieces)))
        return None

    def known(self, name: str, payload: Payload, born: int, seen: Seen) -> LaneValue:
        """Return what a process knows that read this version.

        Args:
            name: of the value.
            payload: the value, by :meth:`payload`.
            born: the stamp of the lane's first record.
            seen: what was stored when the lane was read, or before.
        """
        [one, *_] = [one for one in self._versions if one.version == name.partition("/")[2]]
        own = tuple(Piece(piece, len(self.pieces[piece])) for piece in one.pieces)
        size = _size([name for each in self._versions for name in each.pieces], self.pieces)
        return LaneValue(payload.data, own, {}, name, born, len(self._versions), size, seen)

    def needed(self, dead: Collection[str], live: Collection[str], young: int) -> set[str]:
        """Return the hashes of the records that must stay.

        Args:
            dead: the names of values that are deleted.
            live: the names of values that stay.
            young: from this stamp on, versions that nobody knows may be those of a put that is under way.
        """
        gone, kept = ({name.partition("/")[2] for name in names} for names in (dead, live))
        stay = [one for one in self._versions if one.version in kept or (one.version not in gone and one.stamp > young)]
        needed = {piece for one in stay for piece in one.pieces}
        return {one.record.hash for one in self._versions if one in stay or not needed.isdisjoint(one.own)}


def _version(record: Record, own: Iterable[str], head: Mapping[str, Any]) -> _Version:
    if head["type"] != "version":
        raise ValueError("it is none of a version")
    names = text("pieces", head["pieces"], is_id=False).split(" ")
    return _Version(
        text("version", head["version"]),
        text("encoding", head["encoding"]),
        names,
        stamp_of(head),
        record,
        frozenset(own),
    )


def still_known(value: Value, live: Collection[str], before: Seen, sweep: str) -> Value | None:
    """Return what a process knows of a value after a deletion of its own.

    ``None`` if the value is gone.

    Args:
        value: what it knew.
        live: the names of the values that stay.
        before: what was stored before the deletion.
        sweep: the deletion.
    """
    if not isinstance(value, LaneValue):
        return value
    if value.name not in live or not value.seen.holds(before):
        return None
    return evolve(value, seen=Seen(value.seen.births, value.seen.sweeps | {sweep}))
