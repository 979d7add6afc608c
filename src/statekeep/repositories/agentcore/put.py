"""Writing checkpoints and pending writes.

A put appends values, the index's event and whatever the lists lack, side by side, and then the checkpoint itself.
That is the commit: until then readers that follow the index find no checkpoint there, and skip it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import evolve, frozen

from ...domain import Channel, Checkpoint, MissingChannels, Payload, PendingWrite, ValueSource
from ...domain.checkpoints import encoded_metadata
from ...domain.ids import new_stamp, time_of
from ...domain.lineage import run_of
from ..checkpoints import Supply
from ..operation import Operation
from ..records.framing import Record
from ..records.ordering import order_and_time
from .get import Settings, find_values, read_heads
from .ids import Lane
from .index import IndexReader, drain
from .layout import ThreadPlace, actors_lane, run_lane, value_name
from .local_cache import Channels
from .records import (
    Head,
    StoredChannel,
    StoredWrites,
    actor_record,
    head_record,
    index_record,
    namespace_record,
    run_record,
    stored,
    value_record,
    writes_record,
)

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
        """The key under which :class:`~.local_cache.Recent` remembers it."""
        return (self.lane.actor, self.lane.session, *map(str, self.record.head.values()))


def registry_entries(
    settings: Settings, place: ThreadPlace, head: Head, run_id: str | None, now: int
) -> list[RegistryEntry]:
    """Return the entries that the lists must have of a checkpoint at a time, which is given as a stamp."""
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
    """Store a checkpoint: two calls and one for each large value; the last one waits for the others.

    Unless this process met the parent and the thread lately, one round of reading goes before.
    """
    place = settings.place(checkpoint.thread_id)
    head = Head(
        namespace=checkpoint.namespace,
        checkpoint_id=checkpoint.checkpoint_id,
        parent_id=checkpoint.parent_id,
        created_at=checkpoint.created_at,
        metadata=encoded_metadata(checkpoint),
        header=checkpoint.header,
        channels={},
        stamp=new_stamp(),
    )
    run_id = run_of(checkpoint.metadata)
    entries = registry_entries(settings, place, head, run_id, head.stamp)
    inherited, lacking = yield from _look(settings, place, checkpoint, entries)
    resolved, missing = _inherit(checkpoint.channels, inherited)
    if missing:
        resolved |= yield from _earlier(settings, place, checkpoint, missing)
    valueless = yield from _renew(settings, place, checkpoint, resolved, head.stamp)
    if valueless:
        resolved |= _supplied(place, checkpoint, valueless, supply)
    channels, values = _placed(settings, resolved, checkpoint.channels, head.stamp)
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
        settings.recent.learn(place, entry.key)
    settings.recent.keep(place, head.namespace, head.checkpoint_id, head.channels)


def missing_entries(
    settings: Settings, place: ThreadPlace, entries: Sequence[RegistryEntry]
) -> Operation[list[RegistryEntry]]:
    """Return the entries that the lists lack: one round of reading, or none if all were met lately."""
    unknown = [entry for entry in entries if not settings.recent.knows(place, entry.key)]
    found = yield from settings.lanes.read_all([entry.lane for entry in unknown])
    return _lacking(settings, place, unknown, found)


def _lacking(
    settings: Settings, place: ThreadPlace, entries: Sequence[RegistryEntry], found: Sequence[Sequence[Record]]
) -> list[RegistryEntry]:
    lacking = []
    for entry, records in zip(entries, found, strict=True):
        if entry.record in records:
            settings.recent.learn(place, entry.key)
        else:
            lacking.append(entry)
    return lacking


def _look(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, entries: Sequence[RegistryEntry]
) -> Operation[tuple[Channels, list[RegistryEntry]]]:
    """Return the parent's channels and the entries that the lists lack, with one round of reading at most."""
    unknown = [entry for entry in entries if not settings.recent.knows(place, entry.key)]
    lanes = [entry.lane for entry in unknown]
    namespace, parent_id = checkpoint.namespace, checkpoint.parent_id
    inherited: Channels | None = {}
    if parent_id is not None and any(channel.carry in _INHERITED for channel in checkpoint.channels.values()):
        inherited = settings.recent.channels(place, namespace, parent_id)
        if inherited is None:
            lanes.append(place.checkpoint(namespace, parent_id))
    found = yield from settings.lanes.read_all(lanes)
    if inherited is None:
        parent = stored(found.pop(), lanes[-1])
        inherited = parent.head.channels if parent is not None and parent.head is not None else {}
    return inherited, _lacking(settings, place, unknown, found)


_LOOKED_FOR = (ValueSource.STORED, ValueSource.STORED_IF_ANY)
_INHERITED = (*_LOOKED_FOR, ValueSource.REPLAYED)

Resolved = dict[str, Channel | StoredChannel]
"""Channels as they were given, or as they are stored already."""


def _inherit(channels: Mapping[str, Channel], inherited: Channels) -> tuple[Resolved, list[str]]:
    """Return the channels with those values that the parent has, and the names of those to look for elsewhere.

    A ``replayed`` channel is not looked for elsewhere: its value is rebuilt, and a search would read the whole
    namespace. Nor is one that the parent has without a value at the very version, if it may be without.
    """
    found: Resolved = {}
    missing = []
    for name, channel in channels.items():
        found[name] = channel
        if channel.carry not in _INHERITED:
            continue
        of_parent = inherited.get(name)
        is_same = of_parent is not None and of_parent.is_version(channel.version)
        if of_parent is not None and is_same and of_parent.carry is ValueSource.VALUE:
            found[name] = of_parent
        elif channel.carry is ValueSource.STORED_IF_ANY and is_same:
            found[name] = Channel.empty(channel.version)
        elif channel.carry is not ValueSource.REPLAYED:
            missing.append(name)
    return found, missing


def _earlier(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, names: Sequence[str]
) -> Operation[Resolved]:
    """Look for values among all checkpoints of the namespace."""
    channels = {name: checkpoint.channels[name] for name in names}
    reader = IndexReader(checkpoint.namespace, place.index(checkpoint.namespace))
    indexed = (yield from drain(settings.lanes, [reader]))[checkpoint.namespace]
    heads = yield from read_heads(settings, place, checkpoint.namespace, [one.checkpoint_id for one in indexed])
    found: Resolved = {}
    # The first that was stored under a version, as forks may have several.
    for head in sorted(heads, key=lambda head: head.stamp, reverse=True):
        for name, channel in channels.items():
            stored_channel = head.channels.get(name)
            if stored_channel is None or stored_channel.carry is not ValueSource.VALUE:
                continue
            if stored_channel.is_version(channel.version):
                found[name] = stored_channel
    return found


def _renew(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, resolved: Resolved, now: int
) -> Operation[list[str]]:
    """Have old values stored anew, so that no checkpoint outlives them.

    Returns:
        The names of channels whose value is not there, or not there any more.
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
    return [
        name
        for name, channel in resolved.items()
        if not isinstance(channel, StoredChannel) and channel.carry in _LOOKED_FOR
    ]


def _supplied(place: ThreadPlace, checkpoint: Checkpoint, names: Sequence[str], supply: Supply | None) -> Resolved:
    """Ask the caller for required values that are stored nowhere."""
    required = [name for name in names if checkpoint.channels[name].carry is ValueSource.STORED]
    payloads: Mapping[str, Payload] = {}
    if required:
        if supply is None:
            lane = place.index(checkpoint.namespace)
            raise MissingChannels(required, key=f"{lane.actor} {lane.session}")
        payloads = supply(frozenset(required))
    return {
        name: Channel.of(checkpoint.channels[name].version, payloads[name])
        if name in payloads
        else Channel.empty(checkpoint.channels[name].version)
        for name in names
    }


def _placed(
    settings: Settings, resolved: Resolved, order: Mapping[str, Channel], now: int
) -> tuple[dict[str, StoredChannel], dict[str, Payload]]:
    """Say for each channel where its value is stored, and return the values that get lanes of their own."""
    channels: dict[str, StoredChannel] = {}
    values: dict[str, Payload] = {}
    for name in order:
        channel = resolved[name]
        if isinstance(channel, StoredChannel):
            channels[name] = channel
        elif channel.payload is None or len(channel.payload.data) <= settings.inline:
            channels[name] = StoredChannel(channel.version, channel.carry, channel.payload)
        else:
            value = value_name(name, channel.version, channel.payload)
            channels[name] = StoredChannel(channel.version, channel.carry, None, value, now)
            values[value] = channel.payload
    return channels, values


def put_writes(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
) -> Operation[None]:
    """Store pending writes in one call, or more if they are larger than an event may be."""
    if not writes:
        return
    stamp = new_stamp()
    lane = settings.place(thread_id).checkpoint(namespace, checkpoint_id)
    record = writes_record(StoredWrites(namespace, checkpoint_id, writes, stamp))
    yield from settings.lanes.append([(lane, record, time_of(stamp))])
