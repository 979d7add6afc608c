"""Writing checkpoints and pending writes.

A put appends values, the index's event and whatever the lists lack, side by side, and then the checkpoint itself.
That is the commit: until then readers that follow the index find no checkpoint there, and skip it. If the lists lacked
something, the note that they have it goes between.

What this process remembers of a thread saves reading. Side by side with the appends it asks whether the thread is still
that one; if another process deleted it, all is looked up again before the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, evolve, field

from ...domain import Channel, Checkpoint, PendingWrite
from ...domain.ids import time_of
from ...domain.lineage import run_of
from ..checkpoints import Supply
from ..operation import Operation
from ..records.channels import Resolved, find_earlier, inherit, needs_parent, placed, supplied, valueless
from ..records.checkpoints import Head, StoredChannel, StoredWrites, head_record, stored, writes_record
from ..records.framing import Record
from ..records.local_cache import Channels
from ..records.ordering import order_and_time
from ..records.piece_lanes import LaneValue, NewValue, Seen, new_value
from .get import Settings, find_values, read_heads
from .ids import Lane
from .index import IndexReader, drain
from .lanes import Append
from .layout import ThreadPlace, value_name
from .listed import ListedReader, is_same, is_swept, learn, learn_birth
from .records import index_mark, index_record
from .registry import Registration, is_remembered, look


def put(settings: Settings, checkpoint: Checkpoint, supply: Supply | None) -> Operation[None]:
    """Store a checkpoint: two calls and one for each large value.

    The last one waits for the others.

    Unless this process met the parent and the thread lately, one round of reading goes before.
    """
    place = settings.place(checkpoint.thread_id)
    stamp = settings.recent.next_stamp(place.key, checkpoint.namespace, checkpoint.checkpoint_id)
    head = Head.of(checkpoint, stamp)
    run_id = run_of(checkpoint.metadata)
    looked: tuple[Channels, Registration] | None = None
    while True:
        if looked is None:
            looked = yield from _look(settings, place, checkpoint, head, run_id)
        inherited, registration = looked
        resolved, missing = inherit(checkpoint.channels, inherited)
        if missing:
            resolved |= yield from _earlier(settings, place, checkpoint, missing)
        yield from _renew(settings, place, checkpoint, resolved, head.stamp)
        if lacking_values := valueless(resolved):
            resolved |= supplied(checkpoint, lacking_values, supply, str(place.index(checkpoint.namespace)))
        values = _NewValues(settings, place.known_at(checkpoint.namespace), head.stamp, registration)
        channels, _ = placed(resolved, checkpoint.channels, settings.inline, values.add)
        head = evolve(head, channels=channels)
        seen = yield from prepare(settings, place, head, run_id, values.records, registration, values.relies_on)
        if seen is not None:
            break
        is_another = not is_remembered(settings, place, head)
        has_earlier = any(name not in values.records for name in head.values)
        looked = None if is_another or has_earlier else (inherited, evolve(registration, entries=()))
    yield from commit(settings, place, head, registration)
    values.note(seen)


@define
class _NewValues:
    """The large values of a checkpoint that is put, as they are stored.

    Attributes:
        settings: of the backend.
        where: they are known.
        stamp: the time.
        registration: says whether what is known of other versions is so still.
        by_channel: those that were added.
    """

    settings: Settings
    where: str
    stamp: int
    registration: Registration
    by_channel: dict[str, NewValue] = field(factory=dict)

    def add(self, name: str, channel: Channel) -> tuple[str, int]:
        """Add the value of a channel; return its name and stamp."""
        assert channel.payload is not None
        before = self.settings.known_values.get(self.where, name)
        if isinstance(before, LaneValue) and not self.registration.is_remembered:
            before = before if before.seen.holds(self.registration.seen) else None
        value = value_name(name, channel.version, channel.payload)
        added = new_value(value, channel.payload, before, self.stamp, self.settings.renewal)
        self.by_channel[name] = added
        return added.name, added.stamp

    @property
    def records(self) -> dict[str, Record]:
        """The records to store, by the names of the values."""
        return {added.name: added.record for added in self.by_channel.values()}

    @property
    def relies_on(self) -> list[Seen]:
        """States of the namespace since which nothing may have been deleted."""
        return [added.relies_on for added in self.by_channel.values() if added.relies_on is not None]

    def note(self, seen: Seen) -> None:
        """Remember what is stored now."""
        for name, added in self.by_channel.items():
            value = evolve(added.value, seen=seen) if isinstance(added.value, LaneValue) else added.value
            self.settings.known_values.note(self.where, name, value)


def prepare(
    settings: Settings,
    place: ThreadPlace,
    head: Head,
    run_id: str | None,
    values: Mapping[str, Record],
    registration: Registration,
    relies_on: Sequence[Seen] = (),
) -> Operation[Seen | None]:
    """Store all that must be there before a checkpoint.

    Its channels say where their values are.

    Args:
        settings: of the backend.
        place: the thread.
        head: the checkpoint.
        run_id: its run, which is in its metadata.
        values: the records of those to store first, by their names.
        registration: what the lists lack.
        relies_on: what must not have been deleted of the values that are stored.

    Returns:
        What is stored of the namespace: it is read side by side. ``None`` if the thread is not the one that this
        process knows, or lost values that the checkpoint needs. Then what is known of it is forgotten.
    """
    now = time_of(head.stamp)
    order, moment = order_and_time(head.checkpoint_id, head.stamp)
    # That of the namespaces has one thread's entries only, and is deleted as a whole.
    entries = [(entry.lane, entry.record, now) for entry in registration.entries]
    shared = [entry for entry in entries if entry[0] == place.namespaces]
    appends: list[Append] = [entry for entry in entries if entry[0] != place.namespaces]
    appends += [(place.value(head.namespace, name), record, now) for name, record in values.items()]
    appends.append((place.index(head.namespace), index_record(head, run_id, order), moment, index_mark(head, order)))
    reader = ListedReader(place.listed(head.namespace))
    beside = [reader.call(settings.lanes)] if registration.is_remembered else []
    seen = registration.seen
    for reply in (yield from settings.lanes.append(appends, shared, beside)):
        reader.take(reply)
        listed = reader.listed()
        if not is_same(settings.recent, place, head.namespace, listed):
            # Another process deleted the thread, so what this one knows of its lists and values is wrong.
            settings.forget(place)
            return None
        seen = listed.seen
        needs_earlier = any(name not in values for name in head.values)
        is_gone = needs_earlier and is_swept(settings.recent, place, head.namespace, listed)
        learn(settings.recent, place, head.namespace, listed)
        if is_gone or not all(one.holds(seen) for one in relies_on):
            settings.known_values.forget(place.known_at(head.namespace))
            return None
    return seen


def commit(settings: Settings, place: ThreadPlace, head: Head, registration: Registration) -> Operation[None]:
    """Store a checkpoint for which all is prepared."""
    record = (place.checkpoint(head.namespace, head.checkpoint_id), head_record(head), time_of(head.stamp))
    yield from settings.lanes.append(registration.notes)
    yield from settings.lanes.append([record])
    for key in registration.keys:
        settings.recent.learn(place.key, key)
    if registration.birth is not None:
        learn_birth(settings.recent, place, head.namespace, registration.birth)
    settings.recent.keep(place.key, head.namespace, head.checkpoint_id, head.channels)


def _look(
    settings: Settings, place: ThreadPlace, checkpoint: Checkpoint, head: Head, run_id: str | None
) -> Operation[tuple[Channels, Registration]]:
    """Return the parent's channels and what the lists lack.

    It takes one round of reading at most.
    """
    namespace, parent_id = checkpoint.namespace, checkpoint.parent_id
    inherited: Channels | None = {}
    lanes: list[Lane] = []
    if parent_id is not None and needs_parent(checkpoint):
        inherited = settings.recent.channels(place.key, namespace, parent_id)
        if inherited is None or not is_remembered(settings, place, head):
            lanes.append(place.checkpoint(namespace, parent_id))
    registration, found = yield from look(settings, place, head, run_id, lanes)
    for records in found:
        parent = stored(records, str(lanes[0]))
        if parent is not None:
            settings.recent.saw(place.key, namespace, parent.checkpoint_id, parent.stamp)
        inherited = parent.head.channels if parent is not None and parent.head is not None else {}
    return inherited or {}, registration


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
    found = yield from find_values(settings, place, wanted)
    for name, channel in old.items():
        payload = found.values.get(channel.value or "")
        resolved[name] = Channel.of(channel.version, payload) if payload else checkpoint.channels[name]


def put_writes(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
) -> Operation[None]:
    """Store pending writes in one call.

    It takes more if they are larger than an event may be.
    """
    if not writes:
        return
    place = settings.place(thread_id)
    stamp = settings.recent.next_stamp(place.key, namespace, checkpoint_id)
    lane = place.checkpoint(namespace, checkpoint_id)
    record = writes_record(StoredWrites(namespace, checkpoint_id, writes, stamp))
    yield from settings.lanes.append([], shared=[(lane, record, time_of(stamp))])
