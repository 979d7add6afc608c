"""Listing of cache entries, and of the namespaces that have some."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import define, field, frozen

from ....domain import CacheEntry, CacheNamespace, CorruptRecord
from ....domain.items import Namespace
from ...cache import unreadable
from ...operation import Operation, Page
from ..chunks import CHUNK, chunks
from ..keys import SHARDS, decode_namespace, decode_text
from ..requests import Arg, Commands, Reply
from ..sizes import AT_ONCE, MANY, Basis, by_memory_or_lengths, usage
from .keys import IndexKeys, index_keys, namespaces_key, parts_of
from .operations import MOST_BYTES, PAGE, CacheSettings, get

FIRST: Final = 8
"""Entries on the first page: nobody knows yet how large they are."""

GROWTH: Final = 4
"""How many times larger than the one before a page is at most."""

Order = tuple[float, bytes]
"""The end of a member of an index in milliseconds, and the member: so they are ordered."""


@define(eq=False)
class Reader:
    """The members of an index in order, read some at a time.

    A member that is there throughout, with the same end, comes exactly once.

    Attributes:
        key: of the index.
        found: what was read and is not taken yet.
        is_read: whether that is all.
    """

    key: str
    found: deque[Order] = field(factory=deque)
    is_read: bool = False
    _last: Order | None = None
    _score: bytes = b"-inf"
    """The end of the last one, as the server writes it."""
    _offset: int = 0
    """How many members with that end were read."""
    _start: int = 0

    def command(self) -> Sequence[Arg]:
        """Return the command that reads on."""
        # From the last one that was read on: if it is not there any more, others may have moved up behind it.
        self._start = max(self._offset - 1, 0)
        return (
            "ZRANGEBYSCORE", self.key, self._score, "+inf", "WITHSCORES", "LIMIT", str(self._start), str(PAGE + 1)
        )  # fmt: skip

    def learn(self, reply: Reply) -> None:
        """Take what the server said."""
        flat = [part for pair in reply for part in pair] if reply and isinstance(reply[0], list) else reply
        members = [((float(score), member), score) for member, score in chunks(flat, 2)]
        if self._start and (not members or self._last is None or members[0][0] > self._last):
            self._offset = 0  # look again at all that end then
            return
        self.found.extend(order for order, _ in members if self._last is None or order > self._last)
        self.is_read = len(members) <= PAGE
        if members:
            newest, score = members[-1]
            same = sum(order[0] == newest[0] for order, _ in members)
            self._offset = same + (self._start if same == len(members) else 0)
            self._score, self._last = score, max(newest, self._last or newest)


def _fill(readers: Iterable[Reader]) -> Operation[None]:
    """Read on where nothing is left."""
    while dry := [reader for reader in readers if not reader.found and not reader.is_read]:
        for some in chunks(dry, AT_ONCE):
            replies = yield Commands([reader.command() for reader in some])
            for reader, reply in zip(some, replies, strict=True):
                reader.learn(reply)


@frozen
class _Space:
    """A namespace, and the readers of its indexes."""

    namespace: Namespace
    parts: Sequence[tuple[IndexKeys, Reader]]

    @classmethod
    def of(cls, namespace: Namespace, parts: Iterable[IndexKeys]) -> _Space:
        return cls(namespace, [(index, Reader(index.index)) for index in parts])

    @property
    def readers(self) -> Iterator[Reader]:
        return (reader for _, reader in self.parts)


@define
class Cursor:
    """The progress of a listing.

    Attributes:
        spaces: the namespaces that are still to be listed.
        size: entries on the next page.
        basis: of sizes.
    """

    spaces: deque[_Space]
    size: int = FIRST
    basis: Basis | None = None

    def few(self) -> list[_Space]:
        """Return the next namespaces, of which the indexes are read together."""
        some: list[_Space] = []
        count = 0
        for space in self.spaces:
            count += len(space.parts)
            if some and count > len(SHARDS):
                break
            some.append(space)
        return some


def _spaces(settings: CacheSettings) -> Operation[deque[_Space]]:
    """Find all namespaces, and the shards in which they have entries."""
    readers = {shard: Reader(namespaces_key(settings.prefix, shard)) for shard in SHARDS}
    shards: dict[Namespace, dict[str, str]] = {}
    while True:
        yield from _fill(readers.values())
        if not any(reader.found for reader in readers.values()):
            break
        for shard, reader in readers.items():
            for _, member in reader.found:
                try:
                    name = decode_text(member, reader.key)
                    shards.setdefault(decode_namespace(name), {})[shard] = name
                except CorruptRecord as error:
                    unreadable(error, reader.key)
            reader.found.clear()
    return deque(
        _Space.of(namespace, [index_keys(settings.prefix, shard, name) for shard, name in shards[namespace].items()])
        for namespace in sorted(shards)
    )


def list_entries(
    settings: CacheSettings, namespace: Namespace | None, cursor: Cursor | None
) -> Operation[Page[CacheEntry]]:
    """Return a page of entries, in order."""
    if cursor is None:
        spaces = (
            (yield from _spaces(settings))
            if namespace is None
            else deque([_Space.of(namespace, parts_of(settings.prefix, namespace))])
        )
        cursor = Cursor(spaces)
    while cursor.spaces:
        places = yield from _next(cursor)
        found = yield from get(settings, places)
        if found:
            size = sum(len(entry.payload.data) for entry in found.values()) // len(found)
            cursor.size = max(1, min(cursor.size * GROWTH, MOST_BYTES // max(size, 1), CHUNK))
            page = [found[place] for place in places if place in found]
            return Page(page, cursor if cursor.spaces else None)
    return Page(())


def _next(cursor: Cursor) -> Operation[list[tuple[Namespace, str]]]:
    """Take the next places from the indexes."""
    places: list[tuple[Namespace, str]] = []
    while cursor.spaces and len(places) < cursor.size:
        space = cursor.spaces[0]
        if any(not reader.found and not reader.is_read for reader in space.readers):
            yield from _fill(reader for some in cursor.few() for reader in some.readers)
        first = min((reader for reader in space.readers if reader.found), key=lambda one: one.found[0], default=None)
        if first is None:
            cursor.spaces.popleft()
            continue
        _, member = first.found.popleft()
        try:
            places.append((space.namespace, decode_text(member, first.key)))
        except CorruptRecord as error:
            unreadable(error, first.key)
    return places


def list_namespaces(settings: CacheSettings, cursor: Cursor | None) -> Operation[Page[CacheNamespace]]:
    """Return a page of namespaces, in order; all entries of each are looked at."""
    cursor = Cursor((yield from _spaces(settings))) if cursor is None else cursor
    while cursor.spaces:
        some = cursor.few()
        found = yield from _measured(settings, some, cursor)
        for _ in some:
            cursor.spaces.popleft()
        if found:
            return Page(found, cursor if cursor.spaces else None)
    return Page(())


def _measured(settings: CacheSettings, spaces: Sequence[_Space], cursor: Cursor) -> Operation[list[CacheNamespace]]:
    def measure(basis: Basis) -> Operation[list[CacheNamespace]]:
        cursor.basis = basis
        again = [_Space.of(space.namespace, [index for index, _ in space.parts]) for space in spaces]
        return (yield from _sizes(again, basis))

    if cursor.basis is not None:
        return (yield from _sizes(spaces, cursor.basis))
    return (yield from by_memory_or_lengths(measure))


def _sizes(spaces: Sequence[_Space], basis: Basis) -> Operation[list[CacheNamespace]]:
    totals = [[0, 0] for _ in spaces]
    if basis == "memory":
        indexes = [
            (total, index.index) for total, space in zip(totals, spaces, strict=True) for index, _ in space.parts
        ]
        for some in chunks(indexes, AT_ONCE):
            for (total, _), size in zip(some, (yield Commands([usage(key, MANY) for _, key in some])), strict=True):
                total[1] += size or 0
    readers = [reader for space in spaces for reader in space.readers]
    while True:
        yield from _fill(readers)
        records: list[tuple[list[int], str]] = []
        for total, space in zip(totals, spaces, strict=True):
            for index, reader in space.parts:
                keys = [member.decode(errors="replace") for _, member in reader.found]
                records += [(total, index.record(key)) for key in keys]
                reader.found.clear()
        if not records:
            break
        for some in chunks(records, CHUNK):
            sizes = yield from _record_sizes([record for _, record in some], basis)
            for (total, _), one in zip(some, sizes, strict=True):
                if one is not None:
                    total[0] += 1
                    total[1] += one
    return [
        CacheNamespace(namespace=space.namespace, entries=count, bytes=size, basis=basis)
        for space, (count, size) in zip(spaces, totals, strict=True)
        if count
    ]


def _record_sizes(records: Sequence[str], basis: Basis) -> Operation[list[int | None]]:
    """Return the size of each record; ``None`` for one that is gone."""
    if basis == "memory":
        found: list[int | None] = yield Commands([usage(record) for record in records])
        return found
    replies = yield Commands([("HSTRLEN", record, field) for record in records for field in ("pk", "value")])
    return [size if pk else None for pk, size in chunks(replies, 2)]
