"""Reading, setting, deleting, clearing and reindexing cache entries.

A script call is about at most 500 entries; in a cluster, about those of one shard.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from ....domain import DEFAULT, CacheEntry, CorruptRecord
from ....domain.cache import CacheKey
from ....domain.items import Namespace
from ....domain.model import Ttl
from ...cache import Write, unreadable
from ...operation import Operation
from ...validation import ms_of
from ..chunks import CHUNK, Row, chunks
from ..codecs import encode_bytes, encode_time
from ..keys import SHARDS, decode_text, escape_glob
from ..requests import Arg, Call, Commands, Scan
from ..scripts import script
from .keys import IndexKeys, entry_of, index_keys, keys_of, namespaces_key, parts_of
from .records import READ_FIELDS, decode_entry

MOST_BYTES: Final = 8_000_000
"""Bytes of values that one call writes at most, unless one value alone is larger."""

PAGE: Final = 100
"""Members read at a time of each of the 64 indexes that are read together."""


EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@frozen
class CacheSettings:
    """The settings that the operations on cache entries share."""

    prefix: str
    ttl: float | None
    cluster: bool

    def life(self, ttl: Ttl) -> int:
        """Return the milliseconds that an entry lives; 0 for ever."""
        return ms_of(self.ttl if ttl is DEFAULT else ttl)


# -- reading


def get(settings: CacheSettings, cache_keys: Sequence[CacheKey]) -> Operation[dict[CacheKey, CacheEntry]]:
    """Read entries in one round trip; in a few more if a key holds no record."""
    records = {cache_key: keys_of(settings.prefix, cache_key).record(cache_key[1]) for cache_key in cache_keys}
    if not records:
        return {}
    try:
        rows = yield _read(settings, list(records.values()))
    except CorruptRecord:
        # A driver reports the first of such keys, and nothing of the others.
        rows = yield from _read_hashes(settings, list(records.values()))
    found: dict[CacheKey, CacheEntry] = {}
    for (cache_key, record), row in zip(records.items(), rows, strict=True):
        try:
            entry = decode_entry(cache_key, record, row)
        except CorruptRecord as error:
            unreadable(error, record)
        else:
            if entry is not None:
                found[cache_key] = entry
    return found


def _read(settings: CacheSettings, records: Sequence[str]) -> Call | Commands:
    # A script takes less of the client. It would hold up the server if there were many.
    if settings.cluster or not 1 < len(records) <= CHUNK:
        return Commands([("HMGET", record, *READ_FIELDS) for record in records])
    return Call(script("cache/get"), records, READ_FIELDS)


def _read_hashes(settings: CacheSettings, records: Sequence[str]) -> Operation[list[Row]]:
    types = yield Commands([("TYPE", record) for record in records])
    hashes = [record for record, found in zip(records, types, strict=True) if found == b"hash"]
    for record, found in zip(records, types, strict=True):
        if found not in (b"hash", b"none"):
            unreadable(CorruptRecord(f"it is a {found.decode()}, not a hash"), record)
    rows = dict(zip(hashes, (yield _read(settings, hashes)), strict=True)) if hashes else {}
    missing: Row = [None] * len(READ_FIELDS)
    return [rows.get(record, missing) for record in records]


# -- calls about entries of several indexes


@frozen
class _Line:
    """An entry with its arguments for a script.

    Attributes:
        index: that knows the entry.
        record: its key.
        args: of the script.
        size: of its value, if that is written.
    """

    index: IndexKeys
    record: str
    args: Sequence[Arg]
    size: int = 0


def _together(settings: CacheSettings, lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """Group entries into those that fit one call."""
    by_shard: dict[str, list[_Line]] = {}
    for line in lines:
        by_shard.setdefault(line.index.shard if settings.cluster else "", []).append(line)
    for shard in by_shard.values():
        chunk: list[_Line] = []
        size = 0
        for line in shard:
            if len(chunk) == CHUNK or (chunk and size + line.size > MOST_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(line)
            size += line.size
        yield chunk


def _call(name: str, lines: Iterable[_Line], empty: Iterable[IndexKeys] = ()) -> Call:
    """Call a script about some entries, and about indexes without entries."""
    groups: dict[IndexKeys, list[_Line]] = {index: [] for index in empty}
    for line in lines:
        groups.setdefault(line.index, []).append(line)
    keys: list[str] = []
    args: list[Arg] = [str(len(groups))]
    for index, members in groups.items():
        keys += [index.index, index.namespaces]
        args += [index.name, str(len(members))]
    for members in groups.values():
        keys += [line.record for line in members]
        args += [arg for line in members for arg in line.args]
    return Call(script(f"cache/{name}"), keys, args)


# -- writing


def set_entries(settings: CacheSettings, entries: Sequence[Write]) -> Operation[None]:
    """Store entries, in a call for each 500 or 8 MB; in a cluster, for each shard."""
    lines = []
    for write in entries:
        index, payload = keys_of(settings.prefix, (write.namespace, write.key)), write.payload
        pk, value = index.pk(write.key), encode_bytes(payload.data)
        args = (pk, write.key, payload.encoding, value, str(settings.life(write.ttl)))
        lines.append(_Line(index, index.record_of(pk), args, len(value)))
    for chunk in _together(settings, lines):
        yield _call("set", chunk)


def restore(settings: CacheSettings, entries: Sequence[CacheEntry]) -> Operation[None]:
    """Store entries with their times, in calls like those of :func:`set_entries`."""
    lines = []
    for entry in entries:
        index, value = keys_of(settings.prefix, (entry.namespace, entry.key)), encode_bytes(entry.payload.data)
        pk, ends = index.pk(entry.key), _end_of(entry)
        times = (encode_time(entry.created_at), "" if ends is None else str(ends), "" if ends is None else _text(ends))
        lines.append(
            _Line(index, index.record_of(pk), (pk, entry.key, entry.payload.encoding, value, *times), len(value))
        )
    for chunk in _together(settings, lines):
        yield _call("restore", chunk)


def _end_of(entry: CacheEntry) -> int | None:
    """Return when an entry ends, in milliseconds since 1970, rounded up."""
    return None if entry.expires_at is None else -((EPOCH - entry.expires_at) // dt.timedelta(milliseconds=1))


def _text(ends: int) -> str:
    return encode_time(EPOCH + dt.timedelta(milliseconds=ends))


def _delete(settings: CacheSettings, entries: Iterable[tuple[IndexKeys, str]]) -> Operation[int]:
    count = 0
    for chunk in _together(settings, (_Line(index, index.record(key), (key,)) for index, key in entries)):
        count += yield _call("delete", chunk)
    return count


def delete(settings: CacheSettings, cache_keys: Sequence[CacheKey]) -> Operation[int]:
    """Delete entries, in calls like those of :func:`set_entries`."""
    return (
        yield from _delete(settings, [(keys_of(settings.prefix, cache_key), cache_key[1]) for cache_key in cache_keys])
    )


def clear(settings: CacheSettings, namespaces: Sequence[Namespace] | None) -> Operation[int]:
    """Delete all entries of some namespaces, or of all, in steps."""
    count = 0
    if namespaces is not None:
        for namespace in namespaces:
            count += yield from _clear(settings, parts_of(settings.prefix, namespace))
        return count
    shards: Sequence[str] = SHARDS
    while shards:
        names = yield from _first(namespaces_key(settings.prefix, shard) for shard in shards)
        found = [
            index_keys(settings.prefix, shard, name)
            for shard, members in zip(shards, names, strict=True)
            for name in members
        ]
        for indexes in chunks(found, len(SHARDS)):
            count += yield from _clear(settings, indexes, are_known=True)
        # Not until there are none: others may set entries all the time.
        shards = [shard for shard, members in zip(shards, names, strict=True) if len(members) == PAGE]
    return count


def _clear(settings: CacheSettings, indexes: Sequence[IndexKeys], *, are_known: bool = False) -> Operation[int]:
    """Delete the entries of some indexes.

    If the indexes are known, forget those that are empty.
    """
    count = 0
    while indexes:
        keys = yield from _first(index.index for index in indexes)
        found = list(zip(indexes, keys, strict=True))
        count += yield from _delete(settings, [(index, key) for index, members in found for key in members])
        if are_known:
            yield from _forget_empty(settings, [index for index, members in found if not members])
        indexes = [index for index, members in found if len(members) == PAGE]
    return count


def _first(indexes: Iterable[str]) -> Operation[list[list[str]]]:
    """Read the first members of some indexes."""
    names = list(indexes)
    replies = yield Commands([("ZRANGE", name, "0", str(PAGE - 1)) for name in names])
    return [[decode_text(member, name) for member in members] for name, members in zip(names, replies, strict=True)]


def _forget_empty(settings: CacheSettings, indexes: Iterable[IndexKeys]) -> Operation[None]:
    """Drop indexes that are gone from the index of namespaces."""
    by_shard: dict[str, list[IndexKeys]] = {}
    for index in indexes:
        by_shard.setdefault(index.shard if settings.cluster else "", []).append(index)
    for empty in by_shard.values():
        yield _call("delete", (), empty)


# -- what others changed


def reindex(settings: CacheSettings) -> Operation[int]:
    """Index all entries that exist, forget all others; walks the whole keyspace once."""
    start = f"{settings.prefix}:cache_entry:"
    entries: dict[tuple[IndexKeys, str], None] = {}
    for record in (yield Scan(f"{escape_glob(start)}*")):
        cache_key = entry_of(settings.prefix, record.decode(errors="replace"))
        if cache_key is not None:
            entries[keys_of(settings.prefix, cache_key), cache_key[1]] = None
    for shard in SHARDS:
        namespaces = namespaces_key(settings.prefix, shard)
        (names,) = yield Commands([("ZRANGE", namespaces, "0", "-1")])
        for name in names:
            index = index_keys(settings.prefix, shard, decode_text(name, namespaces))
            (members,) = yield Commands([("ZRANGE", index.index, "0", "-1")])
            entries.update(((index, decode_text(member, index.index)), None) for member in members)
    count = 0
    for chunk in _together(settings, (_Line(index, index.record(key), (key,)) for index, key in entries)):
        count += yield _call("adopt", chunk)
    return count
