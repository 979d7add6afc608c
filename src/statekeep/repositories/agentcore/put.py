"""Writing checkpoints and pending writes.

A put appends values, the index's event and whatever the lists lack, side by side, and then the checkpoint itself.
That is the commit: until then readers that follow the index find no checkpoint there, and skip it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import evolve, frozen

from ...domain import Channel, Checkpoint, Payload, PendingWrite
from ...domain.ids import new_stamp, time_of
from ...domain.lineage import run_of
from ..checkpoints import Supply
from ..operation import Operation
from ..records.channels import Resolved, find_earlier, inherit, needs_parent, placed, supplied, valueless
from ..records.checkpoints import Head, StoredChannel, StoredWrites, head_record, stored, value_record, writes_record
from ..records.framing import Record
from ..records.local_cache import Channels
from ..records.ordering import order_and_time
from .get import Settings, find_values, read_heads
from .ids import Lane
from .index import IndexReader, drain
from .layout import ThreadPlace, actors_lane, run_lane, value_name
from .records import actor_record, index_record, namespace_record, run_record

Append = tuple[Lane, Record, datetime]


@frozen
class RegistryEntry:
    """An entry that a list must have before a checkpoint is put.

    Each period has its own, since events do not live for ever.
    """

    lane: Lane
    record: Record

    @property
    def key(self) -> tuple[str, ...]:
        """The key under which :class:`~..records.local_cache.Recent` remembers it."""
        return (self.lane.actor, self.lane.session, *map(str, self.record.head.values()))


def registry_entries(
    settings: Settings, place: ThreadPlace, head: Head, run_id: str | None, now: int
) -> list[RegistryEntry]:
    """Return the entries that the lists must have of a checkpoint.

    The time is given as a stamp.
    """
    order, _ = order_and_time(head.checkpoint_id, head.stamp)
    entries = [
        (place.namespaces, namespace_record(place.thread_id, head.namespace, order)),
        (actors_lane(place.thread_id), actor_record(place.actor)),
    ]
    if run_id is not None:
        entries.append((run_lane(run_id), run_record(place.actor, place.thread_id)))
    period = {"period": now // settings.renewal}
    return [RegistryEntry(lane, Record({**record.head, **period})) for lane, record in entries]


def put(settings: Settings, checkpoint: Checkpoint, supply: Supply | None) -> Operation[None]:
    """Store a checkpoint: two calls and one for each large value.

    The last one waits for the others.

    Unless this process met the parent and the thread lately, one round of reading goes before.
    """
    place = settings.place(checkpoint.thread_id)
    head = Head.of(checkpoint)
    run_id = run_of(checkpoint.metadata)
    entries = registry_entries(settings, place, head, run_id, head.stamp)
    inherited, lacking = yield from _look(settings, place, checkpoint, entries)
    resolved, missing = inherit(checkpoint.channels, inherited)
    if missing:
        resolved |= yield from _earlier(settings, place, checkpoint, missing)
    yield from _renew(settings, place, checkpoint, resolved, head.stamp)
    if lacking_values := valueless(resolved):
        resolved |= supplied(checkpoint, lacking_values, supply, str(place.index(checkpoint.namespace)))
    channels, values = placed(resolved, checkpoint.channels, settings.inline, head.stamp, _value_name)
    yield from store(settings, place, evolve(head, channels=channels), run_id, values, lacking)


def store(
    settings: Settings,
    place: ThreadPlace,
    head: Head,
    run_id: str | None,
    values: Mapping[str, Payload],
    entries: Sequence[RegistryEntry],
) -> Operation[None]:
    """Store a checkpoint whose channels say where their values are.

    Args:
        settings: of the backend.
        place: the thread.
        head: the checkpoint.
        run_id: its run, which is in its metadata.
        values: those to store first, by the names of their lanes.
        entries: those that the lists lack.
    """
    now = time_of(head.stamp)
    order, moment = order_and_time(head.checkpoint_id, head.stamp)
    appends: list[Append] = [(entry.lane, entry.record, now) for entry in entries]
    appends += [(place.value(head.namespace, name), value_record(payload), now) for name, payload in values.items()]
    appends.append((place.index(head.namespace), index_record(head, run_id, order), moment))
    yield from settings.lanes.append(appends)
    yield from settings.lanes.append([(place.checkpoint(head.namespace, head.checkpoint_id), head_record(head), now)])
    for entry in entries:
        settings.recent.learn(place.key, entry.key)
    settings.recent.keep(place.key, head.namespace, head.checkpoint_id, head.channels)


def missing_entries(
    settings: Settings, place: ThreadPlace, entries: Sequence[RegistryEntry]
) -> Operation[list[RegistryEntry]]:
    """Return the entries that the lists lack.

    It takes one round of reading, or none if all were met lately.
    """
    unknown = [entry for entry in entries if not settings.recent.knows(place.key, entry.key)]
    found = yield from settings.lanes.read_all([entry.lane for entry in unknown])
    return _lacking(settings, place, unknown, found)


def _lacking(
    settings: Settings, place: ThreadPlace, entries: Sequence[RegistryEntry], found: Sequence[Sequence[Record]]
) -> list[RegistryEntry]:
    lacking = []
    for entry, records in zip(entries, found, strict=True):
        if entry.record in records:
            settings.recent.learn(place.key, entry.key)
        else:
            lacking.append(entry)
    return lacking


def _look(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, entries: Sequence[RegistryEntry]
) -> Operation[tuple[Channels, list[RegistryEntry]]]:
    """Return the parent's channels and the entries that the lists lack.

    It takes one round of reading at most.
    """
    unknown = [entry for entry in entries if not settings.recent.knows(place.key, entry.key)]
    lanes = [entry.lane for entry in unknown]
    namespace, parent_id = checkpoint.namespace, checkpoint.parent_id
    inherited: Channels | None = {}
    if parent_id is not None and needs_parent(checkpoint):
        inherited = settings.recent.channels(place.key, namespace, parent_id)
        if inherited is None:
            lanes.append(place.checkpoint(namespace, parent_id))
    found = yield from settings.lanes.read_all(lanes)
    if inherited is None:
        parent = stored(found.pop(), str(lanes[-1]))
        inherited = parent.head.channels if parent is not None and parent.head is not None else {}
    return inherited, _lacking(settings, place, unknown, found)


def _earlier(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, names: Sequence[str]
) -> Operation[Resolved]:
    """Look for values among all checkpoints of the namespace."""
    channels = {name: checkpoint.channels[name] for name in names}
    reader = IndexReader(checkpoint.namespace, place.index(checkpoint.namespace))
    indexed = (yield from drain(settings.lanes, [reader]))[checkpoint.namespace]
    heads = yield from read_heads(settings, place, checkpoint.namespace, [one.checkpoint_id for one in indexed])
    return find_earlier(heads, channels)


def _renew(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, resolved: Resolved, now: int
) -> Operation[None]:
    """Have old values stored anew, so that no checkpoint outlives them.

    Those that are gone are as they were given.
    """
    old = {
        name: channel
        for name, channel in resolved.items()
        if isinstance(channel, StoredChannel) and channel.value and now - channel.stamp > settings.renewal
    }
    wanted = [(checkpoint.namespace, name, channel) for name, channel in old.items()]
    payloads, _ = yield from find_values(settings, place, wanted)
    for name, channel in old.items():
        payload = payloads.get(channel.value or "")
        resolved[name] = Channel.of(channel.version, payload) if payload else checkpoint.channels[name]


def _value_name(name: str, channel: Channel) -> str:
    assert channel.payload is not None
    return value_name(name, channel.version, channel.payload)


def put_writes(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
) -> Operation[None]:
    """Store pending writes in one call.

    It takes more if they are larger than an event may be.
    """
    if not writes:
        return
    stamp = new_stamp()
    lane = settings.place(thread_id).checkpoint(namespace, checkpoint_id)
    record = writes_record(StoredWrites(namespace, checkpoint_id, writes, stamp))
    yield from settings.lanes.append([(lane, record, time_of(stamp))])
