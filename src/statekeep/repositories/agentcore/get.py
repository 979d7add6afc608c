"""Reading checkpoints: by id, the newest, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from attrs import frozen

from ...domain import CorruptRecord, Payload, SavedCheckpoint
from ...domain.shown import shown
from ..operation import Operation
from ..records.checkpoints import Head, Stored, StoredChannel, stored, value_of
from ..records.known_values import KnownValues
from ..records.local_cache import Recent
from ..records.piece_lanes import LaneValue, PieceLane, Seen, is_in_pieces, lane_of
from ..records.pieces import Value
from .ids import Lane
from .index import Indexed, IndexReader, advance, drain, open_reader, skip_others
from .lanes import PAGE, Lanes
from .layout import ThreadPlace, actors_lane, run_lane
from .listed import Listed, learn
from .records import Known, actor_of, known

ItemT = TypeVar("ItemT")

PEEK = 5
"""Events read to find the newest checkpoint; those of one millisecond have no order."""

CHUNK = 64
"""Checkpoints read at once where only their heads are kept."""


@frozen
class Progress:
    """The progress of a deletion.

    Attributes:
        thread_id: the thread that is being deleted, or of which checkpoints are.
        sessions: sessions of AgentCore that are empty now.
        of_sessions: sessions to empty.
        events: events that were deleted by this call.
    """

    thread_id: str
    sessions: int
    of_sessions: int
    events: int


@frozen
class Settings:
    """The settings of a backend's operations.

    Attributes:
        lanes: of the memory.
        actor: whose threads they are.
        inline: bytes up to which a channel value is stored within checkpoints.
        recent: recently met checkpoints and list entries.
        known_values: recently met values, of which new versions are put together.
        grace: nanoseconds for which a checkpoint that is in the index only may be one whose put is under way.
        renewal: nanoseconds after which values that new checkpoints need are stored again.
        progress: called while deletions go on.
    """

    lanes: Lanes
    actor: str
    inline: int
    recent: Recent
    known_values: KnownValues
    grace: int
    renewal: int
    progress: Callable[[Progress], None] | None

    def place(self, thread_id: str) -> ThreadPlace:
        """Return the lanes of a thread."""
        return ThreadPlace(self.actor, thread_id)

    def forget(self, place: ThreadPlace) -> None:
        """Forget all that this process knows of a thread."""
        self.recent.forget(place.key)
        self.known_values.forget(place.known_at())


def chunks(items: Sequence[ItemT], size: int = CHUNK) -> Iterator[Sequence[ItemT]]:
    """Cut a sequence into pieces."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def read_lanes(settings: Settings, lanes: Sequence[Lane]) -> Operation[list[Stored | None]]:
    """Read checkpoints by their lanes, without large values: one round."""
    found = yield from settings.lanes.read_all(lanes)
    return [stored(records, str(lane)) for records, lane in zip(found, lanes, strict=True)]


def read_stored(
    settings: Settings, place: ThreadPlace, refs: Sequence[tuple[str, str]]
) -> Operation[list[Stored | None]]:
    """Read checkpoints by (namespace, id), without large values: one round."""
    found = yield from read_lanes(settings, [place.checkpoint(*ref) for ref in refs])
    for ref, one in zip(refs, found, strict=True):
        if one is not None and (one.namespace, one.checkpoint_id) != ref:
            lane = place.checkpoint(*ref)
            raise CorruptRecord("the checkpoint is another one", key=str(lane))
        if one is not None:
            settings.recent.saw(place.key, *ref, one.stamp)
    return found


def read_heads(settings: Settings, place: ThreadPlace, namespace: str, ids: Sequence[str]) -> Operation[list[Head]]:
    """Read all these checkpoints but their pending writes.

    Those that are not there are left out.
    """
    found: list[Head] = []
    for some in chunks(ids):
        several = yield from read_stored(settings, place, [(namespace, id_) for id_ in some])
        found += [one.head for one in several if one is not None and one.head is not None]
    return found


@frozen
class FoundValues:
    """Values that have lanes of their own.

    Attributes:
        values: by their names.
        gone: the lanes and channels of those that are not there.
        lanes: those that have values in pieces, by :func:`lane_of`.
    """

    values: dict[str, Payload]
    gone: Sequence[tuple[Lane, str]]
    lanes: Mapping[str, PieceLane]


def read_values(
    settings: Settings, place: ThreadPlace, wanted: Iterable[tuple[str, str, StoredChannel]]
) -> Operation[FoundValues]:
    """Read values as :func:`find_values` does; all of them must be there.

    Raises:
        CorruptRecord: a value is gone.
    """
    found = yield from find_values(settings, place, wanted)
    for lane, name in found.gone:
        settings.forget(place)
        raise CorruptRecord(
            f"the value of channel {shown(name)} is gone: deleted, or older than the memory keeps events",
            key=str(lane),
        )
    return found


def find_values(
    settings: Settings, place: ThreadPlace, wanted: Iterable[tuple[str, str, StoredChannel]]
) -> Operation[FoundValues]:
    """Read values that have lanes of their own.

    It takes one round, if they are not larger than an event.

    Args:
        settings: of the backend.
        place: the thread.
        wanted: namespace, name and channel of each.
    """
    places: dict[str, tuple[Lane, str]] = {}
    for namespace, name, channel in wanted:
        if channel.value is not None:
            places[channel.value] = (place.value(namespace, channel.value), name)
    found: dict[str, Payload] = {}
    several: dict[str, PieceLane] = {}
    pending = {lane_of(value): value for value in places}
    # The newest event is enough for most whole values. One that has several, or is half there from an earlier attempt,
    # needs all; and so do those in pieces.
    for newest in (1, None):
        lanes = [places[value][0] for value in pending.values()]
        limits = [None if is_in_pieces(value) else newest for value in pending.values()]
        read = yield from settings.lanes.read_all(lanes, newest=limits)
        for (lane, value), records in zip(pending.items(), read, strict=True):
            where = str(places[value][0])
            if is_in_pieces(value):
                several[lane] = PieceLane.of(records, where)
            elif records:
                found[value] = value_of(records[0], where)
        pending = {lane: value for lane, value in pending.items() if value not in found and lane not in several}
    for value in filter(is_in_pieces, places):
        if (payload := several[lane_of(value)].payload(value)) is not None:
            found[value] = payload
    return FoundValues(found, [where for value, where in places.items() if value not in found], several)


def _note_values(settings: Settings, place: ThreadPlace, head: Head, found: FoundValues, seen: Seen | None) -> None:
    """Remember the values of a checkpoint, to put new versions of them together.

    Args:
        settings: of the backend.
        place: the thread.
        head: the checkpoint.
        found: its values.
        seen: what was stored before they were read; ``None`` if it was not asked for.
    """
    where = place.known_at(head.namespace)
    for name, channel in head.channels.items():
        payload = found.values.get(channel.value or "")
        if channel.value is None or payload is None:
            continue
        if not is_in_pieces(channel.value):
            settings.known_values.note(where, name, Value(payload.data))
            continue
        before = settings.known_values.get(where, name)
        if seen is None and isinstance(before, LaneValue):
            seen = before.seen
        if seen is not None:
            lane = found.lanes[lane_of(channel.value)]
            settings.known_values.note(where, name, lane.known(channel.value, payload, channel.stamp, seen))


def complete(settings: Settings, place: ThreadPlace, found: Sequence[Stored]) -> Operation[list[SavedCheckpoint]]:
    """Read the large values of checkpoints, and return them whole."""
    wanted = [
        (head.namespace, name, channel)
        for one in found
        if (head := one.head) is not None
        for name, channel in head.channels.items()
    ]
    read = yield from read_values(settings, place, wanted)
    return [one.saved(place.thread_id, read.values) for one in found]


def get(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str | None
) -> Operation[SavedCheckpoint | None]:
    """Read one checkpoint: one round, and one more first for the newest.

    Large values take one more.
    """
    place = settings.place(thread_id)
    seen = None
    if checkpoint_id is None:
        found, listed = yield from newest(settings, place, namespace)
        seen = listed.seen
    else:
        [found] = yield from read_stored(settings, place, [(namespace, checkpoint_id)])
    if found is None or found.head is None:
        if namespace == "":
            # Another process may have deleted the thread. A nested namespace is often looked for before there is one.
            settings.forget(place)
        return None
    settings.recent.keep(place.key, namespace, found.checkpoint_id, found.head.channels)
    wanted = [(namespace, name, channel) for name, channel in found.head.channels.items()]
    values = yield from read_values(settings, place, wanted)
    _note_values(settings, place, found.head, values, seen)
    return found.saved(thread_id, values.values)


def newest(settings: Settings, place: ThreadPlace, namespace: str) -> Operation[tuple[Stored | None, Listed]]:
    """Read the newest checkpoint of a namespace, without large values.

    With it comes what the lists name of the namespace.
    """
    reader, listed = yield from open_reader(settings.lanes, place, namespace, PEEK)
    learn(settings.recent, place, namespace, listed)
    if listed.is_marked and reader.is_empty and not reader.is_read:
        # A conversation is in front, which may be large.
        reader = yield from skip_others(settings.lanes, reader)
    return (yield from newest_of(settings, place, reader)), listed


def newest_of(settings: Settings, place: ThreadPlace, reader: IndexReader) -> Operation[Stored | None]:
    """Read the newest checkpoint of an open index.

    A ``put`` that was cut off may have left an entry without one.
    """
    count = 1
    while True:
        # The first page did not do: many were put in one millisecond, or the ids are of no one order.
        yield from advance(settings.lanes, [reader], count, PAGE)
        ids = reader.confirmed()[:count]
        if not ids:
            return None
        refs = [(reader.namespace, reader.pop(id_).checkpoint_id) for id_ in ids]
        for one in (yield from read_stored(settings, place, refs)):
            if one is not None and one.head is not None:
                return one
        count = min(count * 4, CHUNK)


def read_known(settings: Settings, place: ThreadPlace) -> Operation[Known]:
    """Read the list of a thread's namespaces."""
    return known((yield from settings.lanes.read(place.namespaces)), place.namespaces)


def read_indexes(settings: Settings, place: ThreadPlace) -> Operation[tuple[dict[str, list[Indexed]], Known]]:
    """Read all of a thread's indexes."""
    listed = yield from read_known(settings, place)
    readers = [IndexReader(namespace, place.index(namespace)) for namespace in sorted(listed.orders)]
    return (yield from drain(settings.lanes, readers)), listed


def actors_of_thread(settings: Settings, thread_id: str) -> Operation[list[str]]:
    """Return the actors that have a thread of this id, in order."""
    lane = actors_lane(thread_id)
    found = yield from settings.lanes.read(lane)
    return sorted({actor_of(record, lane) for record in found})


def actors_of_run(settings: Settings, run_id: str) -> Operation[list[str]]:
    """Return the actors in whose threads a run put checkpoints, in order."""
    lane = run_lane(run_id)
    found = yield from settings.lanes.read(lane)
    return sorted({actor_of(record, lane) for record in found})
