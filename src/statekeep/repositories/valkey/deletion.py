"""Deleting checkpoints without breaking those that stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from attrs import frozen

from ...domain import CorruptRecord, exact_json
from ..operation import Operation
from .keys import NamespaceKeys, part, run_key, text, thread_index_keys, thread_key
from .listing import drop_threads, find_thread, list_namespaces, threads_of_run
from .reading import CHUNK, Settings, adopt_checkpoints, chunks, crown, read_fields
from .records import tokens, value_fields
from .requests import Call, Commands, script

SCAN = 1000
"""Ids read from an index in one step."""

ATTEMPTS = 5
"""How often the search for unused values is repeated when checkpoints are put meanwhile. What is left behind
then costs space only, and goes with the next deletion that finds it unused."""


@frozen
class Node:
    """What a checkpoint means to others."""

    checkpoint_id: str
    parent_id: str | None
    run_id: str | None
    fields: Sequence[str]
    """Of the values hash, that it refers to."""
    stored: Collection[str]
    """Encoded names of its channels that have a value."""
    replayed: Collection[str]
    """Encoded names of channels that are rebuilt from its ancestors' writes."""


def _nodes(keys: NamespaceKeys) -> Operation[dict[str, Node]]:
    """All checkpoints of a namespace, newest first."""
    found: dict[str, Node] = {}
    top = "+"
    while True:
        [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(SCAN), top])
        names = [text(name, keys.checkpoints) for name in ids]
        records = [keys.checkpoint(name) for name in names]
        table = yield from read_fields(records, ["parent_id", "run_id", "channels"])
        gone: list[str] = []
        for name, key, (parent_id, run_id, channels) in zip(names, records, table, strict=True):
            if channels is None:
                # It expired or was removed by others: it must not count as one that is kept.
                gone.append(name)
                continue
            fields = value_fields(channels, key)
            found[name] = Node(
                name,
                text(parent_id, key) if parent_id else None,
                text(run_id, key) if run_id else None,
                fields,
                {token.partition(":")[0] for token in fields},
                {token[1:].partition(":")[0] for token in tokens(channels, key) if token.startswith("?")},
            )
        yield from adopt_checkpoints(keys, gone)
        if len(ids) < SCAN:
            return found
        top = f"({names[-1]}"


def _needed(nodes: Mapping[str, Node], kept: Collection[str]) -> set[str]:
    """The ancestors from whose writes kept checkpoints rebuild their replayed channels.

    They are kept then, and what *their* replayed channels need as well.
    """
    needed: set[str] = set()
    waiting = list(kept)
    walked: set[tuple[str, str]] = set()
    while waiting:
        start = nodes[waiting.pop()]
        for channel in start.replayed:
            current = start
            while channel not in current.stored and (parent := nodes.get(current.parent_id or "")):
                current = parent
                if (current.checkpoint_id, channel) in walked:
                    break
                walked.add((current.checkpoint_id, channel))
                if current.checkpoint_id not in needed:
                    needed.add(current.checkpoint_id)
                    waiting.append(current.checkpoint_id)
    return needed


def _erase(keys: NamespaceKeys, ids: Sequence[str], members: Sequence[str]) -> Operation[None]:
    """Delete records with their index entries, some at a time; the pending writes of a checkpoint first."""
    entries = [(False, name) for name in members] + [(True, name) for name in ids]
    for chunk in chunks(entries):
        gone = [name for is_checkpoint, name in chunk if is_checkpoint]
        written = [name for is_checkpoint, name in chunk if not is_checkpoint]
        records = [*map(keys.checkpoint, gone), *map(keys.write, written)]
        yield Call(
            script("checkpoints/erase"), [*keys.derived, *records], [keys.namespace, str(len(gone)), *gone, *written]
        )


def _members_of(keys: NamespaceKeys, ids: Sequence[str]) -> Operation[list[str]]:
    found: list[str] = []
    for chunk in chunks(ids):
        members = yield Call(script("checkpoints/members"), [keys.writes], ["of", *map(part, chunk)])
        found += [text(name, keys.writes) for name in members]
    return found


def _remove(keys: NamespaceKeys, nodes: Mapping[str, Node], gone: Collection[str]) -> Operation[None]:
    """Delete some checkpoints of a namespace, their pending writes, and the values that only they used."""
    if not gone:
        return
    # First, so that a deletion that is cut off and repeated leaves no checkpoint with a parent that is gone.
    orphans = [
        node.checkpoint_id for node in nodes.values() if node.checkpoint_id not in gone and node.parent_id in gone
    ]
    for chunk in chunks(orphans):
        yield Call(script("checkpoints/orphan"), [keys.head, *map(keys.checkpoint, chunk)], chunk)
    for chunk in chunks([name for name in nodes if name in gone]):
        members = yield from _members_of(keys, chunk)
        yield from _erase(keys, chunk, members)
    yield from crown(keys)
    yield from collect(keys, {name for node in nodes.values() if node.checkpoint_id in gone for name in node.fields})


def _generation(keys: NamespaceKeys) -> Operation[bytes | None]:
    """What changes with every put; ``None`` if the namespace has no checkpoints."""
    generation: bytes | None = yield Call(script("checkpoints/read"), [keys.values], ["HGET", "generation"])
    return generation


def collect(keys: NamespaceKeys, candidates: Collection[str]) -> Operation[None]:
    """Delete those of the values that no checkpoint refers to."""
    for _ in range(ATTEMPTS):
        generation = yield from _generation(keys)
        if generation is None or not candidates:
            return
        nodes = yield from _nodes(keys)
        used = {name for node in nodes.values() for name in node.fields}
        for chunk in chunks(sorted(set(candidates) - used)):
            if not (yield Call(script("checkpoints/collect"), [keys.values, keys.expiry], [generation, *chunk])):
                break
        else:
            return


def _delete_namespace(keys: NamespaceKeys) -> Operation[set[str]]:
    """Delete all of a namespace, some records at a time; return the runs that had put something there."""
    runs: set[str] = set()
    while True:
        [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(CHUNK), "+"])
        members = yield Call(script("checkpoints/members"), [keys.writes], ["after", "", str(CHUNK)])
        names = [text(name, keys.checkpoints) for name in ids]
        table = yield from read_fields([keys.checkpoint(name) for name in names], ["run_id"])
        # Damage is no reason to keep a thread: no run has an id that is no text.
        runs.update(run_id.decode(errors="replace") for [run_id] in table if run_id)
        yield from _erase(keys, names, [text(name, keys.writes) for name in members])
        if len(ids) < CHUNK and len(members) < CHUNK:
            # Also when both are empty: this call removes what the namespace's records shared.
            yield Call(script("checkpoints/erase"), keys.derived, [keys.namespace, "0"])
            return runs


def delete_thread(settings: Settings, thread_id: str) -> Operation[None]:
    """Delete all namespaces of a thread, some records at a time."""
    entry = yield from find_thread(settings, thread_id)
    runs: set[str] = set()
    for namespace in (yield from list_namespaces(settings, thread_id)):
        runs |= yield from _delete_namespace(settings.keys(thread_id, namespace))
    if entry is not None:
        yield from drop_threads(settings, [entry], 0)
    if (yield Call(script("checkpoints/read"), [thread_key(settings.prefix, thread_id)], ["ZCOUNT", "1", "1"])):
        # Somebody put a checkpoint meanwhile.
        yield Call(script("checkpoints/touch"), thread_index_keys(settings.prefix), [thread_id])
        return
    yield from _leave_runs(settings, thread_id, runs, {})


def _leave_runs(
    settings: Settings, thread_id: str, runs: Collection[str], seen: Mapping[str, bytes | None]
) -> Operation[None]:
    """Let the index of runs forget a thread, unless a checkpoint of theirs was put since the generations seen."""
    if not runs:
        return
    for chunk in chunks(sorted(runs)):
        yield Commands([("SREM", run_key(settings.prefix, run_id), thread_id) for run_id in chunk])
    for namespace in (yield from list_namespaces(settings, thread_id)):
        keys = settings.keys(thread_id, namespace)
        generation = yield from _generation(keys)
        if generation is not None and generation != seen.get(namespace):
            nodes = yield from _nodes(keys)
            for run_id in sorted({node.run_id for node in nodes.values() if node.run_id in runs and node.run_id}):
                yield Call(
                    script("checkpoints/join"), [run_key(settings.prefix, run_id)], [thread_id, str(settings.ttl_ms)]
                )


def delete_runs(settings: Settings, run_ids: Sequence[str]) -> Operation[None]:
    """Delete what some runs put, wherever they put it."""
    threads: dict[str, set[str]] = {}
    for run_id in run_ids:
        for thread_id in (yield from threads_of_run(settings, run_id)):
            threads.setdefault(thread_id, set()).add(run_id)
    for thread_id, runs in threads.items():
        left: set[str] = set()
        seen: dict[str, bytes | None] = {}
        for namespace in (yield from list_namespaces(settings, thread_id)):
            keys = settings.keys(thread_id, namespace)
            seen[namespace] = yield from _generation(keys)
            nodes = yield from _nodes(keys)
            gone = {node.checkpoint_id for node in nodes.values() if node.run_id in runs}
            gone -= _needed(nodes, nodes.keys() - gone)
            yield from _remove(keys, nodes, gone)
            left |= {node.run_id for node in nodes.values() if node.checkpoint_id not in gone and node.run_id}
        yield from _leave_runs(settings, thread_id, runs - left, seen)


def prune(settings: Settings, thread_id: str, keep: int) -> Operation[None]:
    """Keep the newest checkpoints of each namespace, and what they need."""
    if keep == 0:
        yield from delete_thread(settings, thread_id)
        return
    roots: dict[str, Node] = {}
    kept_roots: set[str] = set()
    # The root namespace is "", so it comes first, but its checkpoints go last: if this is cut off and repeated, they
    # still say which nested namespaces go with them.
    for namespace in (yield from list_namespaces(settings, thread_id)):
        keys = settings.keys(thread_id, namespace)
        nodes = yield from _nodes(keys)
        newest = list(nodes)[:keep]
        kept = {*newest, *_needed(nodes, newest)}
        if namespace == "":
            roots, kept_roots = nodes, kept
            continue
        if ":" in namespace and newest:
            root = yield from _root_of(keys, newest[0])
            if root in roots and root not in kept_roots:
                yield from _delete_namespace(keys)
                continue
        yield from _remove(keys, nodes, nodes.keys() - kept)
    yield from _remove(settings.keys(thread_id, ""), roots, roots.keys() - kept_roots)


def _root_of(keys: NamespaceKeys, checkpoint_id: str) -> Operation[str | None]:
    """The root checkpoint under which a nested namespace ran, as the metadata says."""
    key = keys.checkpoint(checkpoint_id)
    [[metadata]] = yield from read_fields([key], ["metadata"])
    if metadata is None:
        return None
    try:
        parents = exact_json.loads(metadata.decode()).get("parents")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error
    root = parents.get("") if isinstance(parents, dict) else None
    return root if isinstance(root, str) else None
