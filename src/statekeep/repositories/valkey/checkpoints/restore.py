"""Search for the records of a thread that its indexes do not know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Set
from typing import Final

from attrs import field, frozen

from ....domain import tagged_json
from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, decode_text, encode_part, escape_glob
from ..requests import Call, Commands, Scan
from ..scripts import script
from .get import read_fields
from .indexes import adopt_checkpoints, adopt_writes
from .keys import NamespaceKeys, thread_index_keys
from .metadata.index import ANY_TIME, Settled, settle, tags_of_threads
from .metadata.tags import tags_of
from .settings import CheckpointSettings
from .threads import SCAN, forget_metadata, least_age, list_namespaces

ATTEMPTS: Final = 5
"""Looks at a thread at most that is put to all the time; its last update is found out later then."""

MOST_TAGS: Final = 10_000
"""Tags of a thread that are compared with its checkpoints at once."""


@frozen
class Restored:
    """The records of a thread that were found.

    Attributes:
        checkpoints: how many there are.
        namespaces: those that have records, or are in their index.
        runs: of the checkpoints.
    """

    checkpoints: int
    namespaces: Set[str]
    runs: Set[str] = field(repr=False)


def restore_indexes(settings: CheckpointSettings, thread_id: str) -> Operation[Restored]:
    """Index all records of a thread, and no others; it walks the whole keyspace once."""
    checkpoints = yield from _scan(settings, "checkpoint", thread_id, 1)
    writes = yield from _scan(settings, "pending_write", thread_id, 3)
    total, runs = 0, set[str]()
    namespaces = {*checkpoints, *writes, *(yield from list_namespaces(settings, thread_id))}
    for namespace in sorted(namespaces):
        keys = settings.keys(thread_id, namespace)
        ids = {decode_part(name) for name in checkpoints.get(namespace, ())}
        total += yield from _adopt_checkpoints(keys, ids, runs)
        yield from _adopt_writes(keys, writes.get(namespace, ()))
        yield Commands([("HDEL", keys.values, "incomplete")])
    return Restored(total, namespaces, runs)


def _scan(
    settings: CheckpointSettings, record: str, thread_id: str, parts: int
) -> Operation[Mapping[str, Collection[str]]]:
    """Find the thread's records: the rest of their keys, by namespace."""
    start = f"{settings.prefix}:{record}:{{{encode_part(thread_id)}}}:"
    pattern = f"{escape_glob(start)}*"
    found = defaultdict[str, set[str]](set)
    for key in (yield Scan(pattern)):
        # Keys that are not UTF-8 are not ours; what they become here has no record, so it is dropped later.
        namespace, _, rest = key.decode(errors="replace").removeprefix(start).partition(":")
        if rest.count(":") == parts - 1:
            found[decode_part(namespace)].add(rest)
    return found


def _adopt_checkpoints(keys: NamespaceKeys, ids: Collection[str], runs: set[str]) -> Operation[int]:
    indexed = yield Call(script("read"), [keys.checkpoints], ["ZRANGE", "0", "-1"])
    total = 0
    for chunk in chunks(sorted({*ids, *(decode_text(name, keys.checkpoints) for name in indexed)})):
        records = [keys.checkpoint(name) for name in chunk]
        total += yield from adopt_checkpoints(keys, chunk)
        yield Call(script("checkpoints/extend_values"), [keys.values, keys.expiry, *records], [])
        table = yield from read_fields(records, ["run_id"])
        runs.update(decode_text(run_id, key) for key, [run_id] in zip(records, table, strict=True) if run_id)
    return total


def _adopt_writes(keys: NamespaceKeys, suffixes: Collection[str]) -> Operation[None]:
    members: set[str] = set()
    for chunk in chunks(sorted(suffixes)):
        # A member ends with the channel, only to cut it off again for the record's key.
        table = yield from read_fields([keys.write(f"{suffix}:") for suffix in chunk], ["channel"])
        members.update(
            f"{suffix}:{encode_part(decode_text(channel, keys.write(f'{suffix}:')))}"
            for suffix, [channel] in zip(chunk, table, strict=True)
            if channel is not None
        )
    copied = yield Call(script("read"), [keys.pending], ["HKEYS"])
    indexed = yield Call(script("read"), [keys.writes], ["ZRANGE", "0", "-1"])
    known = {decode_text(name, keys.writes) for name in indexed}
    # Of a record that was written again with another channel, the index has a second member.
    stale = {name for name in known - members if name.rpartition(":")[0] in suffixes}
    for chunk in chunks(sorted(stale)):
        yield Commands([("ZREM", keys.writes, *chunk), ("HDEL", keys.pending, *chunk)])
    for chunk in chunks(sorted(set(copied) - {name.encode() for name in known | members})):
        yield Commands([("HDEL", keys.pending, *chunk)])
    yield from adopt_writes(keys, sorted((known | members) - stale))


def index_thread(settings: CheckpointSettings, thread_id: str) -> Operation[None]:
    """Make the indexes of metadata know what a thread has, and no more.

    In a cluster nothing is taken from them if the thread was put to within a minute: they hear of a put before it is
    done.
    """
    if not settings.metadata_keys:
        return
    by_time = thread_index_keys(settings.prefix)[0]
    for _ in range(ATTEMPTS):
        seen = yield Call(script("read"), [by_time], ["ZSCORE", thread_id])
        if seen is None:
            yield from forget_metadata(settings, [thread_id])
            return
        found = yield from _tags(settings, thread_id)
        if found is None:
            return
        for keys, tags in zip(settings.metadata_keys, found, strict=True):
            [(_, known)] = yield from tags_of_threads(keys, [thread_id], size=MOST_TAGS)
            new, gone = sorted(tags.difference(known)), sorted(set(known) - tags)
            for chunk in chunks(new):
                yield from settle(keys, by_time, [Settled(thread_id, ANY_TIME, found=chunk)], 0)
            for chunk in list(chunks(gone)) or [()]:
                yield from settle(keys, by_time, [Settled(thread_id, seen, gone=chunk)], least_age(settings))
        if (yield Call(script("read"), [by_time], ["ZSCORE", thread_id])) == seen:
            return


def _tags(settings: CheckpointSettings, thread_id: str) -> Operation[list[set[str]] | None]:
    """Return the tags that a thread has for each index.

    It is ``None`` if a checkpoint is damaged.
    """
    found: list[set[str]] = [set() for _ in settings.metadata_keys]
    for namespace in (yield from list_namespaces(settings, thread_id)):
        keys = settings.keys(thread_id, namespace)
        top = "+"
        while True:
            [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(SCAN), top])
            names = [decode_text(name, keys.checkpoints) for name in ids]
            for [text] in (yield from read_fields([keys.checkpoint(name) for name in names], ["metadata"])):
                try:
                    metadata = {} if text is None else tagged_json.loads(text.decode())
                    tags = tags_of(settings.metadata_keys, metadata)
                except (ValueError, AttributeError, RecursionError):
                    return None  # a listing says so when it comes across it
                for tag, of_name in zip(tags, found, strict=True):
                    of_name.update(filter(None, [tag]))
            if len(ids) < SCAN:
                break
            top = f"({names[-1]}"
    return found
