"""Deleting checkpoints without breaking those that stay.

The service deletes one event at a time, so a deletion may be cut off anywhere. Records that name others go after them:
pending writes, then checkpoints, then values, then the index, then what the lists have, then the lists of threads.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from attrs import define, evolve

from ...domain import PrunePolicy
from ...domain.ids import new_stamp, time_of
from ...domain.lineage import is_under_root, too_late, with_sources
from ..checkpoint_backend import needed
from ..operation import Operation
from ..records.checkpoints import Head
from ..records.framing import Record, hash_of, records
from ..records.piece_lanes import PieceLane, is_in_pieces, still_known
from .get import Progress, Settings, chunks, read_heads, read_known, read_lanes
from .ids import Lane
from .index import Indexed, IndexReader, drain
from .lanes import ABREAST
from .layout import ThreadPlace, actors_lane, is_checkpoint, is_value, run_lane
from .listed import ListedReader, read_on
from .records import actor_of, actor_record, orphan_record, run_record, thread_of, update_record
from .registry import note


@define
class _Sweep:
    """Empties sessions, and reports its progress."""

    settings: Settings
    thread_id: str
    sessions: int = 0
    of_sessions: int = 0
    events: int = 0

    def expect(self, sessions: int) -> None:
        self.of_sessions += sessions

    def clear(self, lanes: Collection[Lane]) -> Operation[None]:
        """Delete all events of some lanes."""
        for some in chunks(sorted(lanes), ABREAST):
            events = yield from self.settings.lanes.clear(some)
            self._report(len(some), events)

    def clear_checkpoints(self, lanes: Collection[Lane]) -> Operation[None]:
        """Delete pending writes, and then their checkpoints, which name them."""
        for some in chunks(sorted(lanes), ABREAST):
            first: list[tuple[Lane, str]] = []
            last: list[tuple[Lane, str]] = []
            for lane, event_id, texts in (yield from self.settings.lanes.events(some)):
                whole, _ = records(texts, str(lane))
                is_writes = bool(whole) and all(record.head.get("type") != "checkpoint" for record in whole)
                (first if is_writes else last).append((lane, event_id))
            yield from self.settings.lanes.delete(first)
            yield from self.settings.lanes.delete(last)
            self._report(len(some), len(first) + len(last))

    def trim(self, lanes: Mapping[Lane, Collection[str]], live: Collection[str]) -> Operation[None]:
        """Delete the dead versions of values in pieces, and keep what others need of them.

        Args:
            lanes: that have them, with their names.
            live: the names of values that stay.
        """
        young = new_stamp() - self.settings.grace
        for some in chunks(sorted(lanes), ABREAST):
            found: dict[Lane, list[tuple[str, list[Any]]]] = {lane: [] for lane in some}
            for lane, event_id, texts in (yield from self.settings.lanes.events(some)):
                found[lane].append((event_id, texts))
            dead: list[tuple[Lane, str]] = []
            for lane, events in found.items():
                whole, partial_ = records((text for _, texts in events for text in texts), str(lane))
                needed = PieceLane.of(whole, str(lane)).needed(lanes[lane], live, young)
                needed |= partial_ if needed else set()  # somebody may be appending it
                dead += [(lane, event_id) for event_id, texts in events if needed.isdisjoint(map(hash_of, texts))]
            yield from self.settings.lanes.delete(dead)
            self._report(len(some), len(dead))

    def remove(self, events: Sequence[tuple[Lane, str]]) -> Operation[None]:
        """Delete some events of indexes or lists."""
        yield from self.settings.lanes.delete(events)
        self._report(0, len(events))

    def _report(self, sessions: int, events: int) -> None:
        self.sessions += sessions
        self.events += events
        if self.settings.progress is not None:
            self.settings.progress(Progress(self.thread_id, self.sessions, self.of_sessions, self.events))


def delete_thread(settings: Settings, thread_id: str) -> Operation[None]:
    """Delete all namespaces of a thread."""
    place, sweep = settings.place(thread_id), _Sweep(settings, thread_id)
    settings.forget(place)
    listed = yield from read_known(settings, place)
    indexes = yield from _indexes(settings, place, {"", *listed.orders})
    entries = [entry for found in indexes.values() for one in found for entry in one.entries]
    # New sessions may not be listed yet; those of checkpoints and values are in the index too.
    lanes = set((yield from settings.lanes.sessions(place.own_actor)))
    lanes |= {place.checkpoint(entry.namespace, entry.checkpoint_id) for entry in entries}
    lanes |= {place.value(entry.namespace, value) for entry in entries for value in entry.values}
    lanes |= {place.listed(namespace) for namespace in indexes}
    checkpoints, values = set(filter(is_checkpoint, lanes)), set(filter(is_value, lanes))
    others = lanes - checkpoints - values
    sweep.expect(len(lanes) + (listed.thread_id is not None))
    yield from sweep.clear(checkpoints)
    yield from sweep.clear(values)
    yield from _leave_runs(sweep, place, {entry.run_id for entry in entries if entry.run_id is not None})
    yield from sweep.remove(_events(place, indexes.values()))
    yield from sweep.clear(others)
    yield from _remove_records(sweep, [actors_lane(thread_id)], actor_record(place.actor))
    if listed.thread_id is not None:
        yield from sweep.clear([place.namespaces])
    # Those who put meanwhile, and found their entries missing, may have added them just before the lists were emptied.
    yield from settings.lanes.clear([place.listed(namespace) for namespace in indexes])
    settings.forget(place)


def delete_runs(settings: Settings, run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of some runs, in all threads."""
    names = list(dict.fromkeys(run_ids))
    threads: dict[str, set[str]] = {}
    lists = yield from settings.lanes.read_all([run_lane(run_id) for run_id in names])
    for run_id, found in zip(names, lists, strict=True):
        lane = run_lane(run_id)
        for record in found:
            if actor_of(record, lane) == settings.actor:
                threads.setdefault(thread_of(record, lane), set()).add(run_id)
    for thread_id, runs in threads.items():
        place, sweep = settings.place(thread_id), _Sweep(settings, thread_id)
        settings.recent.forget(place.key)
        left: set[str] = set()
        listed = yield from read_known(settings, place)
        indexes = yield from _indexes(settings, place, listed.orders)
        for namespace, indexed in indexes.items():
            heads = yield from _heads(settings, place, namespace, indexed)
            gone = {id_ for id_, head in heads.items() if head.run_id in runs}
            gone -= _with_sources(heads, heads.keys() - gone)
            yield from _remove(sweep, place, namespace, indexed, heads, gone)
            left |= {run for id_, head in heads.items() if id_ not in gone and (run := head.run_id)}
        yield from _leave_runs(sweep, place, runs - left)
        settings.recent.forget(place.key)


def delete_checkpoint(settings: Settings, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
    """Delete one checkpoint with its pending writes; return whether there was one."""
    place, sweep = settings.place(thread_id), _Sweep(settings, thread_id)
    settings.recent.forget(place.key)
    indexed = (yield from _indexes(settings, place, [namespace]))[namespace]
    heads = yield from _heads(settings, place, namespace, indexed)
    if checkpoint_id not in heads:
        if any(one.checkpoint_id == checkpoint_id for one in indexed):  # what a deletion that was cut off left
            yield from _remove(sweep, place, namespace, indexed, heads, ())
        return False
    if checkpoint_id in _with_sources(heads, heads.keys() - {checkpoint_id}):
        raise needed(checkpoint_id)
    yield from _remove(sweep, place, namespace, indexed, heads, {checkpoint_id})
    settings.recent.forget(place.key)
    return True


def prune_namespace(settings: Settings, thread_id: str, namespace: str, policy: PrunePolicy) -> Operation[int]:
    """Prune one namespace, as :func:`prune` does all; return how many went.

    Lists of runs go on naming the thread: the runs may have checkpoints in other namespaces.
    """
    place, sweep = settings.place(thread_id), _Sweep(settings, thread_id)
    settings.recent.forget(place.key)
    indexed = (yield from _indexes(settings, place, [namespace]))[namespace]
    heads = yield from _heads(settings, place, namespace, indexed)
    gone = heads.keys() - _with_sources(heads, policy.kept(heads, partial(_created_at, heads)))
    yield from _remove(sweep, place, namespace, indexed, heads, gone)
    yield from _remove_late_writes(sweep, place, {namespace: heads})
    settings.recent.forget(place.key)
    return len(gone)


def _with_sources(heads: Mapping[str, Head], chosen: Collection[str]) -> set[str]:
    return with_sources(chosen, {id_: head.link for id_, head in heads.items()}.get)


def _count(settings: Settings, thread_id: str) -> Operation[int]:
    place = settings.place(thread_id)
    listed = yield from read_known(settings, place)
    count = 0
    for namespace, indexed in (yield from _indexes(settings, place, {"", *listed.orders})).items():
        count += len((yield from _heads(settings, place, namespace, indexed)))
    return count


def prune(settings: Settings, thread_id: str, policy: PrunePolicy) -> Operation[int]:
    """Keep what a policy chooses, and what that needs; return how many went."""
    if policy.is_deletion:
        deleted = yield from _count(settings, thread_id)
        yield from delete_thread(settings, thread_id)
        return deleted
    deleted = 0
    place, sweep = settings.place(thread_id), _Sweep(settings, thread_id)
    settings.recent.forget(place.key)
    listed = yield from read_known(settings, place)
    indexes = yield from _indexes(settings, place, listed.orders)
    roots: dict[str, Head] = {}
    kept_roots: set[str] = set()
    nested: dict[str, Collection[str]] = {}
    runs: set[str] = set()
    left: set[str] = set()
    # The root namespace is "", so it comes first, but its checkpoints go last: if this is cut off and repeated, they
    # still say which nested namespaces go with them.
    for namespace, indexed in indexes.items():
        heads = yield from _heads(settings, place, namespace, indexed)
        kept = _with_sources(heads, policy.kept(heads, partial(_created_at, heads)))
        runs |= {run for head in heads.values() if (run := head.run_id)}
        if namespace == "":
            roots, kept_roots = heads, kept
        elif is_under_root(namespace) and heads and heads[max(heads)].root_id in roots.keys() - kept_roots:
            yield from _delete_namespace(sweep, place, namespace, indexed, heads)
            deleted += len(heads)
            continue
        left |= {run for id_ in kept if (run := heads[id_].run_id)}
        deleted += len(heads.keys() - kept)
        if namespace:
            nested[namespace] = heads
            yield from _remove(sweep, place, namespace, indexed, heads, heads.keys() - kept)
    if roots:
        yield from _remove(sweep, place, "", indexes[""], roots, roots.keys() - kept_roots)
    yield from _leave_runs(sweep, place, runs - left)
    yield from _remove_late_writes(sweep, place, {"": roots, **nested})
    settings.recent.forget(place.key)
    return deleted


def _created_at(heads: Mapping[str, Head], checkpoint_id: str) -> dt.datetime:
    return heads[checkpoint_id].created_at


def _remove_late_writes(sweep: _Sweep, place: ThreadPlace, stored: Mapping[str, Collection[str]]) -> Operation[None]:
    """Delete pending writes that came too late for their checkpoint.

    Young ones are spared: the put of their checkpoint may be under way. The index does not know of them, and those of
    new sessions may not be listed yet: these stay until they expire.
    """
    young = new_stamp() - sweep.settings.grace
    lanes = set(filter(is_checkpoint, (yield from sweep.settings.lanes.sessions(place.own_actor))))
    lanes -= {place.checkpoint(namespace, id_) for namespace, ids in stored.items() for id_ in ids}
    late: list[Lane] = []
    for some in chunks(sorted(lanes), ABREAST):
        for lane, one in zip(some, (yield from read_lanes(sweep.settings, some)), strict=True):
            if one is None or one.head is not None or one.written > young:
                continue
            if too_late([one.checkpoint_id], stored.get(one.namespace, ())):
                late.append(lane)
    sweep.expect(len(late))
    yield from sweep.clear(late)


def _indexes(settings: Settings, place: ThreadPlace, namespaces: Iterable[str]) -> Operation[dict[str, list[Indexed]]]:
    return (yield from drain(settings.lanes, [IndexReader(name, place.index(name)) for name in sorted(namespaces)]))


def _events(place: ThreadPlace, indexed: Iterable[Sequence[Indexed]]) -> list[tuple[Lane, str]]:
    return [(place.index(one.namespace), event) for several in indexed for one in several for event in one.events]


def _heads(
    settings: Settings, place: ThreadPlace, namespace: str, indexed: Sequence[Indexed]
) -> Operation[dict[str, Head]]:
    """Read all checkpoints of a namespace, without their values."""
    found: dict[str, Head] = {}
    for some in chunks(indexed):
        heads = yield from read_heads(settings, place, namespace, [one.checkpoint_id for one in some])
        for head in heads:
            channels = {name: evolve(channel, payload=None) for name, channel in head.channels.items()}
            found[head.checkpoint_id] = evolve(head, channels=channels, header=None)
    return found


def _remove(
    sweep: _Sweep,
    place: ThreadPlace,
    namespace: str,
    indexed: Sequence[Indexed],
    heads: Mapping[str, Head],
    gone: Collection[str],
) -> Operation[None]:
    """Delete some checkpoints of a namespace, and their pending writes.

    Values go with them if nobody else has them.

    With them goes what earlier deletions and puts left behind that were cut off.
    """
    settings = sweep.settings
    kept = [head for id_, head in heads.items() if id_ not in gone]
    yield from _remember_update(settings, place, [heads[id_] for id_ in gone], kept)
    stamp = new_stamp()
    # Clocks differ, and what is said of a checkpoint counts if its stamp is greater.
    orphans = {head.checkpoint_id: max(stamp, head.stamp + 1) for head in kept if head.parent_id in gone}
    yield from settings.lanes.append(
        [(place.checkpoint(namespace, id_), orphan_record(later), time_of(later)) for id_, later in orphans.items()]
    )
    dead_events: list[tuple[Lane, str]] = []
    dead_values: set[str] = set()
    live_values = {value for head in kept for value in head.values}
    current = {(head.checkpoint_id, head.stamp) for head in kept}
    for one in indexed:
        for entry, event in zip(one.entries, one.events, strict=True):
            is_young = entry.checkpoint_id not in gone and entry.stamp > stamp - settings.grace
            if (entry.checkpoint_id, entry.stamp) in current or is_young:
                live_values.update(entry.values)
            else:
                dead_values.update(entry.values)
                dead_events.append((place.index(namespace), event))
    dead_values -= live_values
    in_pieces: dict[Lane, list[str]] = {}
    for value in filter(is_in_pieces, dead_values):
        in_pieces.setdefault(place.value(namespace, value), []).append(value)
    whole = {place.value(namespace, value) for value in dead_values if not is_in_pieces(value)}
    if dead_values:
        yield from _announce(sweep, place, namespace, live_values)
    sweep.expect(len(gone) + len(whole) + len(in_pieces))
    yield from sweep.clear_checkpoints({place.checkpoint(namespace, id_) for id_ in gone})
    yield from sweep.clear(whole)
    yield from sweep.trim(in_pieces, live_values)
    yield from sweep.remove(dead_events)


def _announce(sweep: _Sweep, place: ThreadPlace, namespace: str, live: Collection[str]) -> Operation[None]:
    """Let those who put know, before values are deleted that they may rely on.

    Args:
        sweep: the deletion.
        place: the thread.
        namespace: whose values go.
        live: the names of those that stay.
    """
    settings, reader = sweep.settings, ListedReader(place.listed(namespace))
    reply = yield reader.call(settings.lanes)
    reader.take(reply)
    listed = yield from read_on(settings.lanes, reader)
    if listed.latest is None:
        return  # a former version stored it, and nobody put anything since
    name = token_hex(8)
    yield from settings.lanes.append([note(place, namespace, listed, {}, new_stamp(), [name])])
    # What was said before is said again.
    yield from sweep.remove([(reader.lane, event_id) for event_id in reader.superseded])
    where = place.known_at(namespace)
    known = settings.known_values.at(where)
    settings.known_values.forget(where)
    for channel, value in known.items():
        if (kept := still_known(value, live, listed.seen, name)) is not None:
            settings.known_values.note(where, channel, kept)


def _remember_update(
    settings: Settings, place: ThreadPlace, gone: Sequence[Head], kept: Sequence[Head]
) -> Operation[None]:
    """Write down when the thread was updated, if the checkpoint that tells it goes."""
    last = max((head.stamp for head in gone), default=-1)
    if last > max((head.stamp for head in kept), default=-1):
        yield from settings.lanes.append([(place.namespaces, update_record(place.thread_id, last), time_of(last))])


def _delete_namespace(
    sweep: _Sweep, place: ThreadPlace, namespace: str, indexed: Sequence[Indexed], heads: Mapping[str, Head]
) -> Operation[None]:
    """Delete all of a namespace but the root, pending writes without a checkpoint too."""
    settings = sweep.settings
    yield from _remember_update(settings, place, list(heads.values()), [])
    lanes = {
        lane
        for lane in (yield from settings.lanes.sessions(place.own_actor))
        if lane.session.startswith((place.checkpoints_of(namespace), place.values_of(namespace)))
    }
    entries = [entry for one in indexed for entry in one.entries]
    lanes |= {place.checkpoint(namespace, entry.checkpoint_id) for entry in entries}
    lanes |= {place.value(namespace, value) for entry in entries for value in entry.values}
    values = set(filter(is_value, lanes))
    # The newest checkpoint says with which root checkpoint all of this goes, so it stays until the others are gone.
    last = place.checkpoint(namespace, max(heads))
    if values:
        yield from _announce(sweep, place, namespace, ())
    sweep.expect(len(lanes))
    yield from sweep.clear_checkpoints(lanes - values - {last})
    yield from sweep.clear(values)
    yield from sweep.clear_checkpoints({last})
    yield from sweep.remove(_events(place, [indexed]))


def _leave_runs(sweep: _Sweep, place: ThreadPlace, run_ids: Collection[str]) -> Operation[None]:
    """Let the lists of runs forget a thread."""
    lanes = [run_lane(run_id) for run_id in sorted(run_ids)]
    yield from _remove_records(sweep, lanes, run_record(place.actor, place.thread_id))


def _remove_records(sweep: _Sweep, lanes: Sequence[Lane], record: Record) -> Operation[None]:
    """Delete one record from lists that others have records in, too."""
    for some in chunks(lanes, ABREAST):
        found = []
        for lane, event_id, texts in (yield from sweep.settings.lanes.events(some)):
            # Entries of later periods have another `period`.
            if any(record.head.items() <= one.head.items() for one in records(texts, str(lane))[0]):
                found.append((lane, event_id))
        yield from sweep.remove(found)
