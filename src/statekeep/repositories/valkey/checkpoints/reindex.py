"""Rebuilding of all that is derived from a thread's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_part, decode_text, encode_part, escape_glob
from ..requests import Call, Commands, Scan
from ..scripts import script
from .delete import collect
from .get import add_run, read_fields
from .indexes import adopt_checkpoints, adopt_writes, rebuild_head
from .keys import NamespaceKeys, thread_index_keys
from .settings import CheckpointSettings
from .threads import find_thread, list_namespaces


def reindex(settings: CheckpointSettings, thread_id: str) -> Operation[int]:
    """Rebuild indexes and heads of a thread; return how many checkpoints it has."""
    checkpoints = yield from _scan(settings, "checkpoint", thread_id, 1)
    writes = yield from _scan(settings, "pending_write", thread_id, 3)
    total, runs = 0, set[str]()
    for namespace in sorted({*checkpoints, *writes, *(yield from list_namespaces(settings, thread_id))}):
        keys = settings.keys(thread_id, namespace)
        ids = {decode_part(name) for name in checkpoints.get(namespace, ())}
        total += yield from _adopt_checkpoints(keys, ids, runs)
        yield from _adopt_writes(keys, writes.get(namespace, ()))
        if (yield from rebuild_head(keys)) is not None:
            values = yield Call(script("read"), [keys.values], ["HKEYS"])
            yield from collect(keys, {decode_text(name, keys.values) for name in values} - {"generation"})
    for run_id in sorted(runs):
        yield from add_run(settings, run_id, thread_id)
    if total and (yield from find_thread(settings, thread_id)) is None:
        yield Call(script("checkpoints/touch_thread"), thread_index_keys(settings.prefix), [thread_id])
    return total


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
