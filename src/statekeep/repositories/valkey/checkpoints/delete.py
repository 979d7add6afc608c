"""Deletion of checkpoints that breaks none of those that stay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen

from ....domain import CorruptRecord, PrunePolicy, Thread, tagged_json
from ....domain.lineage import Link, is_under_root, root_of, too_late, with_sources
from ...checkpoint_backend import needed
from ...operation import Operation
from ..chunks import CHUNK, Row, chunks
from ..codecs import decode_time
from ..keys import decode_part, decode_text, encode_part
from ..requests import Call, Commands
from ..scripts import script
from .get import add_run, read_fields
from .indexes import adopt_checkpoints, rebuild_head
from .keys import NamespaceKeys, run_key, thread_index_keys, thread_key
from .records import PIECE, tokens, value_fields
from .restore import index_thread, restore_indexes
from .settings import CheckpointSettings
from .threads import drop_threads, find_thread, forget_metadata, list_namespaces, threads_of_run

SCAN = 1000
"""Ids read from an index in one step."""

NAMESPACES = 20
"""Namespaces deleted in one step; each has seven keys besides its records."""

ATTEMPTS = 5
"""Searches for unused values at most; those left go with a later deletion."""


NODE_FIELDS = ("parent_id", "run_id", "channels", "created_at", "checkpoint_id", "incomplete")
CHANNELS, OWN_ID, INCOMPLETE = map(NODE_FIELDS.index, ("channels", "checkpoint_id", "incomplete"))
"""The fields that a node is made of, and at the end one of the channel values."""


@frozen
class Node(Link):
    """A checkpoint's links to others; names of channels are encoded."""

    checkpoint_id: str
    run_id: str | None
    fields: Sequence[str]
    """The fields of the values hash that it refers to."""
    created_at: bytes | None
    """As it is stored."""
    is_copy: bool = False
    """Whether it was read from the copy of the newest, because its record is gone."""


def _read_nodes(keys: NamespaceKeys) -> Operation[tuple[dict[str, Node], bool]]:
    """Read the links of all checkpoints of a namespace, newest first.

    Behind them comes the newest one, if its record was evicted and all that is left of it is its copy.

    Returns:
        The links by id, and whether the index may lack some, because it was evicted.
    """
    found: dict[str, Node] = {}
    top = "+"
    while True:
        [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(SCAN), top])
        names = [decode_text(name, keys.checkpoints) for name in ids]
        is_last = len(ids) < SCAN
        records = [*map(keys.checkpoint, names), *([keys.head, keys.values] if is_last else [])]
        table = yield from read_fields(records, NODE_FIELDS)
        gone: list[str] = []
        for name, key, row in zip(names, records, table, strict=False):
            if row[CHANNELS] is None:
                # It expired or was removed by others: it must not count as one that is kept.
                gone.append(name)
            else:
                found[name] = _node(name, key, row)
        yield from adopt_checkpoints(keys, gone)
        if is_last:
            copy, held, is_incomplete = table[-2], table[-2][OWN_ID], table[-1][INCOMPLETE] is not None
            if held is not None and (name := held.decode(errors="replace")) not in found:
                is_incomplete = is_incomplete or not found
                found[name] = evolve(_node(name, keys.head, copy), is_copy=True)
            return found, is_incomplete
        top = f"({names[-1]}"


def _node(name: str, key: str, row: Row) -> Node:
    parent_id, run_id, channels, created_at, *_ = row
    fields = value_fields(channels, key)
    return Node(
        parent_id=decode_text(parent_id, key) if parent_id else None,
        stored={token.partition(":")[0] for token in fields if token[0] != PIECE},
        replayed={token[1:].partition(":")[0] for token in tokens(channels, key) if token.startswith("?")},
        checkpoint_id=name,
        run_id=decode_text(run_id, key) if run_id else None,
        fields=fields,
        created_at=created_at,
    )


def _nodes(settings: CheckpointSettings, keys: NamespaceKeys) -> Operation[dict[str, Node]]:
    """Read the links of all checkpoints; find them if their index was evicted."""
    nodes, is_incomplete = yield from _read_nodes(keys)
    if is_incomplete:
        yield from restore_indexes(settings, keys.thread_id)
        nodes, _ = yield from _read_nodes(keys)
    return nodes


@frozen
class Records:
    """Some records of a namespace: ids of checkpoints, index members of writes."""

    keys: NamespaceKeys
    ids: Sequence[str]
    members: Sequence[str]


def _erase(settings: CheckpointSettings, found: Sequence[Records], *, whole: bool = False) -> Call:
    """Delete records of a thread with their index entries; return their runs.

    What is empty then goes too, so this is worth a call even without records. Of ``whole`` namespaces, the copy of a
    newest checkpoint goes whose record was evicted.
    """
    call_keys: list[str] = []
    call_args = [found[0].keys.thread_id, str(int(whole))]
    for some in found:
        keys = some.keys
        call_keys += [*keys.derived, *map(keys.checkpoint, some.ids), *map(keys.write, some.members)]
        call_args += [keys.namespace, str(len(some.ids)), str(len(some.members)), *some.ids, *some.members]
    if not settings.cluster:
        call_keys += thread_index_keys(settings.prefix)
    return Call(script("checkpoints/erase"), call_keys, call_args)


def _members_of(keys: NamespaceKeys, ids: Sequence[str]) -> Operation[list[str]]:
    found: list[str] = []
    for chunk in chunks(ids):
        members = yield Call(
            script("checkpoints/members"), [keys.writes, keys.pending], ["of", *map(encode_part, chunk)]
        )
        found += [decode_text(name, keys.writes) for name in members]
    return found


def _remove(
    settings: CheckpointSettings, keys: NamespaceKeys, nodes: Mapping[str, Node], gone: Collection[str]
) -> Operation[None]:
    """Delete checkpoints with their pending writes and the values only they used."""
    if not gone:
        return
    # First, so that a deletion that is cut off and repeated leaves no checkpoint with a parent that is gone.
    orphans = [
        node.checkpoint_id for node in nodes.values() if node.checkpoint_id not in gone and node.parent_id in gone
    ]
    for chunk in chunks(orphans):
        yield Call(script("checkpoints/clear_parent"), [keys.head, *map(keys.checkpoint, chunk)], chunk)
    for chunk in chunks([name for name in nodes if name in gone]):
        members = yield from _members_of(keys, chunk)
        # The pending writes first: a repetition finds them by their checkpoint.
        entries = [(False, name) for name in members] + [(True, name) for name in chunk]
        for few in chunks(entries):
            ids = [name for is_checkpoint, name in few if is_checkpoint]
            writes = [name for is_checkpoint, name in few if not is_checkpoint]
            yield _erase(settings, [Records(keys, ids, writes)])
    yield from rebuild_head(keys)
    yield from collect(keys, {name for node in nodes.values() if node.checkpoint_id in gone for name in node.fields})


def remove_late_writes(settings: CheckpointSettings, keys: NamespaceKeys, stored: Collection[str]) -> Operation[None]:
    """Delete pending writes that came too late for their checkpoint."""
    after = ""
    while stored:
        found = yield Call(script("checkpoints/members"), [keys.writes, keys.pending], ["after", after, str(CHUNK)])
        members = [decode_text(name, keys.writes) for name in found]
        owners = {name: decode_part(name.partition(":")[0]) for name in members}
        late = too_late(owners.values(), stored)
        if gone := [name for name in members if owners[name] in late]:
            yield _erase(settings, [Records(keys, [], gone)])
        if len(members) < CHUNK:
            return
        after = members[-1]


def _generation(keys: NamespaceKeys) -> Operation[bytes | None]:
    """Read the counter of puts; ``None`` if the namespace has no checkpoints."""
    generation: bytes | None = yield Call(script("read"), [keys.values], ["HGET", "generation"])
    return generation


def collect(keys: NamespaceKeys, candidates: Collection[str]) -> Operation[None]:
    """Delete those of some values that no checkpoint refers to."""
    for _ in range(ATTEMPTS):
        generation = yield from _generation(keys)
        if generation is None or not candidates:
            return
        nodes, is_incomplete = yield from _read_nodes(keys)
        if is_incomplete:
            return  # a checkpoint that the index lacks may use them
        used = {name for node in nodes.values() for name in node.fields}
        for chunk in chunks(sorted(set(candidates) - used)):
            if not (yield Call(script("checkpoints/collect"), [keys.values, keys.expiry], [generation, *chunk])):
                break
        else:
            return


def _contents(spaces: Sequence[NamespaceKeys], *namespaces: str) -> Call:
    """Ask for the records of namespaces, and for the list of all if its key is given."""
    indexes = [key for keys in spaces for key in (keys.checkpoints, keys.writes, keys.head, keys.values, keys.pending)]
    return Call(script("checkpoints/contents"), [*indexes, *namespaces], [str(CHUNK)])


def _delete_namespaces(
    settings: CheckpointSettings,
    spaces: Sequence[NamespaceKeys],
    page: Sequence[Any] = (),
    *,
    whole_thread: bool = False,
) -> Operation[set[str]]:
    """Delete whole namespaces of a thread, some records at a time.

    Args:
        settings: of the repository.
        spaces: the keys of the namespaces.
        page: what they hold, if that is known.
        whole_thread: delete those namespaces, too, that are found when the indexes have to be made anew.

    Returns:
        The runs that had put something there. Nobody knows them any more when this was cut off. The indexes of these
        runs name the thread then, until the runs are deleted; that is all.
    """
    runs: set[str] = set()
    is_complete = False
    while spaces:
        page = page or (yield _contents(spaces[:NAMESPACES]))
        if any(page[2::3]) and not is_complete:
            is_complete, page = True, ()
            restored = yield from restore_indexes(settings, spaces[0].thread_id)
            if whole_thread:
                known = {keys.namespace for keys in spaces}
                spaces = [*spaces, *(settings.keys(spaces[0].thread_id, name) for name in restored.namespaces - known)]
            continue
        found = [
            Records(
                keys,
                [decode_text(name, keys.checkpoints) for name in ids],
                [decode_text(name, keys.writes) for name in members],
            )
            for keys, ids, members in zip(spaces, page[::3], page[1::3], strict=False)
        ]
        # Damage is no reason to keep a thread: no run has an id that is no text.
        runs.update(run_id.decode(errors="replace") for run_id in (yield _erase(settings, found, whole=True)))
        # The last namespace of a full page may hold more.
        size = sum(len(records.ids) + len(records.members) for records in found)
        spaces = spaces[len(found) :] if size < CHUNK else spaces[len(found) - 1 :]
        page = ()
    return runs


def delete_thread(settings: CheckpointSettings, thread_id: str) -> Operation[None]:
    """Delete all namespaces of a thread, some records at a time."""
    entry = (yield from find_thread(settings, thread_id)) if settings.cluster else None
    # Most threads have just the root namespace: what it holds comes with the list of namespaces.
    root = settings.keys(thread_id, "")
    *page, names = yield _contents([root], root.namespaces)
    namespaces = sorted(decode_text(name, root.namespaces) for name in names)
    if any(page) and "" not in namespaces:
        # The index of namespaces was evicted.
        restored = yield from restore_indexes(settings, thread_id)
        namespaces, page = sorted({"", *restored.namespaces}), []
    spaces = [settings.keys(thread_id, namespace) for namespace in namespaces]
    runs = yield from _delete_namespaces(settings, spaces, page if namespaces == [""] else (), whole_thread=True)
    if settings.cluster:
        if (yield from _forget_in_cluster(settings, thread_id, entry)):
            yield from _leave_runs(settings, thread_id, runs, {})
    elif runs or not namespaces:
        # Otherwise the thread index forgot it with the last checkpoint.
        for chunk in list(chunks(sorted(runs))) or [[]]:
            of_runs = [run_key(settings.prefix, run_id) for run_id in chunk]
            indexes = [root.namespaces, *thread_index_keys(settings.prefix), *of_runs]
            yield Call(script("checkpoints/forget"), indexes, [thread_id])
    yield from forget_metadata(settings, [thread_id])


def _forget_in_cluster(settings: CheckpointSettings, thread_id: str, entry: Thread | None) -> Operation[bool]:
    """Drop a thread from the thread index, unless it was put to meanwhile.

    Returns whether it was not.
    """
    if entry is not None:
        yield from drop_threads(settings, [entry], 0)
    if (yield Call(script("read"), [thread_key(settings.prefix, thread_id)], ["ZCOUNT", "1", "1"])):
        arguments = [thread_id, str(settings.ttl_ms)]
        yield Call(script("checkpoints/touch_thread"), thread_index_keys(settings.prefix), arguments)
        return False
    return True


def _leave_runs(
    settings: CheckpointSettings, thread_id: str, runs: Collection[str], seen: Mapping[str, bytes | None]
) -> Operation[None]:
    """Drop a thread from the indexes of runs.

    Runs that put since the generations seen keep it.
    """
    if not runs:
        return
    for chunk in chunks(sorted(runs)):
        yield Commands([("SREM", run_key(settings.prefix, run_id), thread_id) for run_id in chunk])
    for namespace in (yield from list_namespaces(settings, thread_id)):
        keys = settings.keys(thread_id, namespace)
        generation = yield from _generation(keys)
        if generation is not None and generation != seen.get(namespace):
            nodes = yield from _nodes(settings, keys)
            for run_id in sorted({node.run_id for node in nodes.values() if node.run_id in runs and node.run_id}):
                yield from add_run(settings, run_id, thread_id)


def delete_runs(settings: CheckpointSettings, run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of some runs, in all threads."""
    threads: dict[str, set[str]] = {}
    for run_id in run_ids:
        for thread_id in (yield from threads_of_run(settings, run_id)):
            threads.setdefault(thread_id, set()).add(run_id)
    for thread_id, runs in threads.items():
        left: set[str] = set()
        seen: dict[str, bytes | None] = {}
        is_empty = True
        entry = (yield from find_thread(settings, thread_id)) if settings.cluster else None
        for namespace in (yield from list_namespaces(settings, thread_id)):
            keys = settings.keys(thread_id, namespace)
            seen[namespace] = yield from _generation(keys)
            nodes = yield from _nodes(settings, keys)
            gone = {node.checkpoint_id for node in nodes.values() if node.run_id in runs}
            gone -= with_sources(nodes.keys() - gone, nodes.get)
            yield from _remove(settings, keys, nodes, gone)
            left |= {node.run_id for node in nodes.values() if node.checkpoint_id not in gone and node.run_id}
            is_empty = is_empty and gone == nodes.keys()
        if entry is not None and is_empty:
            yield from _forget_in_cluster(settings, thread_id, entry)
        yield from _leave_runs(settings, thread_id, runs - left, seen)
        yield from index_thread(settings, thread_id)


def delete_checkpoint(
    settings: CheckpointSettings, thread_id: str, namespace: str, checkpoint_id: str
) -> Operation[bool]:
    """Delete one checkpoint with its pending writes; return whether there was one."""
    keys = settings.keys(thread_id, namespace)
    entry = (yield from find_thread(settings, thread_id)) if settings.cluster else None
    nodes = yield from _nodes(settings, keys)
    if checkpoint_id not in nodes:
        return False
    if checkpoint_id in with_sources(nodes.keys() - {checkpoint_id}, nodes.get):
        raise needed(checkpoint_id)
    yield from _remove(settings, keys, nodes, {checkpoint_id})
    yield from _forget_emptied(settings, thread_id, entry)
    yield from index_thread(settings, thread_id)
    return True


def prune_namespace(
    settings: CheckpointSettings, thread_id: str, namespace: str, policy: PrunePolicy
) -> Operation[int]:
    """Prune one namespace, as :func:`prune` does all; return how many went."""
    keys = settings.keys(thread_id, namespace)
    entry = (yield from find_thread(settings, thread_id)) if settings.cluster and policy.keep == 0 else None
    nodes = yield from _nodes(settings, keys)
    gone = nodes.keys() - _kept(keys, nodes, policy)
    yield from _remove(settings, keys, nodes, gone)
    yield from remove_late_writes(settings, keys, nodes.keys())
    yield from _forget_emptied(settings, thread_id, entry)
    if gone:
        yield from index_thread(settings, thread_id)
    return len(gone)


def _forget_emptied(settings: CheckpointSettings, thread_id: str, entry: Thread | None) -> Operation[None]:
    """Drop a thread without checkpoints from the thread index of a cluster.

    Without a cluster, the script that deleted the last of them did so.
    """
    if entry is not None:
        key = thread_key(settings.prefix, thread_id)
        if not (yield Call(script("read"), [key], ["ZCOUNT", "1", "1"])):
            yield from _forget_in_cluster(settings, thread_id, entry)


def _kept(keys: NamespaceKeys, nodes: Mapping[str, Node], policy: PrunePolicy) -> set[str]:
    """Return the checkpoints that a policy chooses, and those that they need.

    Evicted ones of which a copy is left are kept, too.
    """
    whole = [name for name, node in nodes.items() if not node.is_copy]
    chosen = policy.kept(whole, partial(_created_at, keys, nodes))
    return with_sources([*chosen, *(nodes.keys() - whole)], nodes.get)


def _count(settings: CheckpointSettings, thread_id: str) -> Operation[int]:
    count = 0
    for namespace in (yield from list_namespaces(settings, thread_id)):
        nodes = yield from _nodes(settings, settings.keys(thread_id, namespace))
        count += len(nodes)
    return count


def prune(settings: CheckpointSettings, thread_id: str, policy: PrunePolicy) -> Operation[int]:
    """Keep what a policy chooses, and what that needs; return how many went."""
    if policy.is_deletion:
        deleted = yield from _count(settings, thread_id)
        yield from delete_thread(settings, thread_id)
        return deleted
    deleted = 0
    # With other policies some checkpoint stays, and the thread stays in the index.
    entry = (yield from find_thread(settings, thread_id)) if settings.cluster and policy.keep == 0 else None
    roots: dict[str, Node] = {}
    kept_roots: set[str] = set()
    gone: list[NamespaceKeys] = []
    is_empty = True
    # The root namespace is "", so it comes first, but its checkpoints go last: if this is cut off and repeated, they
    # still say which nested namespaces go with them.
    for namespace in (yield from list_namespaces(settings, thread_id)):
        keys = settings.keys(thread_id, namespace)
        nodes = yield from _nodes(settings, keys)
        kept = _kept(keys, nodes, policy)
        if namespace == "":
            roots, kept_roots = nodes, kept
            continue
        newest = next((name for name, node in nodes.items() if not node.is_copy), None)
        if is_under_root(namespace) and newest is not None:
            root = yield from _read_root(keys, newest)
            if root in roots and root not in kept_roots:
                gone.append(keys)
                deleted += len(nodes)
                continue
        yield from _remove(settings, keys, nodes, nodes.keys() - kept)
        deleted += len(nodes.keys() - kept)
        yield from remove_late_writes(settings, keys, nodes.keys())
        is_empty = is_empty and not kept
    yield from _delete_namespaces(settings, gone)
    root_keys = settings.keys(thread_id, "")
    yield from _remove(settings, root_keys, roots, roots.keys() - kept_roots)
    yield from remove_late_writes(settings, root_keys, roots.keys())
    if entry is not None and is_empty and not kept_roots:
        yield from _forget_in_cluster(settings, thread_id, entry)
    deleted += len(roots.keys() - kept_roots)
    if deleted:
        yield from index_thread(settings, thread_id)
    return deleted


def _created_at(keys: NamespaceKeys, nodes: Mapping[str, Node], checkpoint_id: str) -> dt.datetime:
    key = keys.checkpoint(checkpoint_id)
    try:
        return decode_time((nodes[checkpoint_id].created_at or b"").decode())
    except ValueError as error:
        raise CorruptRecord(f"checkpoint is damaged: {error}", key=key) from error


def _read_root(keys: NamespaceKeys, checkpoint_id: str) -> Operation[str | None]:
    """Read under which root checkpoint a nested namespace ran."""
    key = keys.checkpoint(checkpoint_id)
    [[metadata]] = yield from read_fields([key], ["metadata"])
    if metadata is None:
        return None
    try:
        return root_of(tagged_json.loads(metadata.decode()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error
