"""Records as texts that events can carry.

An event's ``blob`` is JSON, so bytes travel as base64. A record is a JSON object and any number of byte strings; it is
framed, compressed if that helps, and cut into pieces where it is larger than an event may be. Each piece names the
record's hash, its number and how many there are: a reader knows what belongs together, notices what is missing, and
takes a piece that was stored twice once.

::

    statekeep/1 HASH NUMBER COUNT CODEC DATA
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import pybase64
from attrs import field, frozen

from ...domain import CorruptRecord
from ...domain.shown import shown

PIECE: Final = 9_000_000
"""Characters of a piece: an event may have 10 MB."""

_PLAIN: Final = 64
"""Bytes that are not worth compressing."""

_SAMPLE: Final = 16_384
"""Bytes of a large value that say whether it can be compressed, three times."""

_FRAME: Final = re.compile(
    r"statekeep/1 (?P<hash>[0-9a-f]{32}) (?P<number>\d{1,9}) (?P<count>\d{1,9}) (?P<codec>raw|zlib) "
    r"(?P<data>[A-Za-z0-9+/=]*)",
    re.ASCII,
)


def _tuple(values: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(values)


@frozen
class Record:
    """A unit of storage: a JSON object with byte strings.

    Attributes:
        head: a JSON object.
        blobs: byte strings that it refers to by their positions.
        hash: 32 hexadecimal digits that stand for all of it.
    """

    head: Mapping[str, Any]
    blobs: Sequence[bytes] = field(default=(), converter=_tuple, repr=False)
    hash: str = field(default="", kw_only=True, eq=False)


def pieces(record: Record, size: int = PIECE) -> list[str]:
    """Return the texts of a record, one for each event.

    Args:
        record: what to store.
        size: characters of base64 in a piece.
    """
    head = json.dumps(record.head, ensure_ascii=False, separators=(",", ":")).encode()
    lengths = json.dumps([len(head), *map(len, record.blobs)], separators=(",", ":")).encode()
    data = b"".join([lengths, b"\n", head, *record.blobs])
    name = _hash(data)
    codec, packed = "raw", data
    if len(data) > _PLAIN and _shrinks(data):
        smaller = zlib.compress(data)
        if len(smaller) < len(data):
            codec, packed = "zlib", smaller
    text = pybase64.b64encode_as_string(packed)
    count = max(1, -(-len(text) // size))
    return [
        f"statekeep/1 {name} {number} {count} {codec} {text[number * size : (number + 1) * size]}"
        for number in range(count)
    ]


def hash_of(piece: str) -> str:
    """Return the hash of the record that a piece is of.

    >>> hash_of(pieces(Record({"n": 1}))[0])
    '3e084c13a23fe513edf73dbd6aef73c2'
    """
    return piece.split(" ", 2)[1]


def _shrinks(data: bytes) -> bool:
    """Return whether it is worth trying.

    Images and encrypted values take long to compress, and do not get smaller.
    """
    if len(data) <= 4 * _SAMPLE:
        return True
    sample = data[:_SAMPLE] + data[len(data) // 2 :][:_SAMPLE] + data[-_SAMPLE:]
    return len(zlib.compress(sample)) < 0.95 * len(sample)


def records(texts: Iterable[Any], where: str) -> tuple[list[Record], set[str]]:
    """Put records together from the texts of events.

    They come in the order in which they are first met.

    Args:
        texts: the texts, in any order, some of them maybe twice.
        where: the lane, for errors.

    Returns:
        The records, and the hashes of those of which a piece is missing.

    Raises:
        CorruptRecord: a text is none of ours, or a record is damaged.
    """
    found: dict[str, dict[int, re.Match[str]]] = {}
    for text in texts:
        match = _FRAME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise CorruptRecord(f"not a record of Statekeep: {shown(text)}", key=where)
        found.setdefault(match["hash"], {})[int(match["number"])] = match
    whole, partial = [], set()
    for name, parts in found.items():
        count = int(next(iter(parts.values()))["count"])
        if len(parts) == count and set(parts) == set(range(count)):
            whole.append(_record(name, [parts[number] for number in range(count)], where))
        else:
            partial.add(name)
    return whole, partial


def _record(name: str, parts: Sequence[re.Match[str]], where: str) -> Record:
    try:
        data = pybase64.b64decode("".join(part["data"] for part in parts), validate=True)
        if parts[0]["codec"] == "zlib":
            data = zlib.decompress(data)
    except (ValueError, zlib.error) as error:
        raise CorruptRecord(f"a record cannot be unpacked: {error}", key=where) from error
    if _hash(data) != name:
        raise CorruptRecord("a record is not what was stored: its hash differs", key=where)
    lengths, _, body = data.partition(b"\n")
    try:
        sizes = json.loads(lengths)
        if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) != len(body):
            raise ValueError("the lengths of its parts do not fit")
        ends = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
        head, *blobs = (body[start:end] for start, end in pairwise(ends))
        found = json.loads(head)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return Record(found, blobs, hash=name)
    except (TypeError, ValueError, RecursionError) as error:
        raise CorruptRecord(f"a record is damaged: {type(error).__name__}: {error}", key=where) from error


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
