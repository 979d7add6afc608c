"""Search for the records of a thread that its indexes do not know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Set

from attrs import field, frozen

from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, decode_text, encode_part, escape_glob
from ..requests import Call, Commands, Scan
from ..scripts import script
from .get import read_fields
from .indexes import adopt_checkpoints, adopt_writes
from .keys import NamespaceKeys
from .settings import CheckpointSettings
from .threads import list_namespaces


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
