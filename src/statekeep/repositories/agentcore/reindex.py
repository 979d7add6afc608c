"""Rebuilding the index of a thread from its checkpoints."""

from __future__ import annotations

from ...domain.ids import new_stamp, time_of
from ...domain.lineage import too_late
from ..operation import Operation
from ..records.ordering import order_and_time
from .get import Settings, chunks, read_indexes, read_lanes
from .ids import Lane
from .lanes import ABREAST
from .layout import is_checkpoint
from .put import missing_entries, registry_entries
from .records import index_record


def reindex(settings: Settings, thread_id: str) -> Operation[int]:
    """Make the index name all checkpoints, and no others; return how many there are."""
    place = settings.place(thread_id)
    settings.recent.forget(place.key)
    now = new_stamp()
    indexes, _ = yield from read_indexes(settings, place)
    named = {(one.namespace, one.checkpoint_id): one for found in indexes.values() for one in found}
    lanes = set(filter(is_checkpoint, (yield from settings.lanes.sessions(place.own_actor))))
    lanes |= {place.checkpoint(*ref) for ref in named}
    count = 0
    stored: dict[str, set[str]] = {}
    alone: list[tuple[Lane, str, str]] = []
    for some in chunks(sorted(lanes), ABREAST):
        for lane, one in zip(some, (yield from read_lanes(settings, some)), strict=True):
            if one is None:
                continue
            if one.head is None and one.written > now - settings.grace:
                continue
            if one.head is None:
                alone.append((lane, one.namespace, one.checkpoint_id))
                continue
            count += 1
            stored.setdefault(one.namespace, set()).add(one.checkpoint_id)
            indexed = named.pop((one.namespace, one.checkpoint_id), None)
            run_id = one.head.run_id
            entries = registry_entries(settings, place, one.head, run_id, now)
            lacking = yield from missing_entries(settings, place, entries)
            yield from settings.lanes.append([(entry.lane, entry.record, time_of(now)) for entry in lacking])
            if indexed is None or one.head.stamp not in {entry.stamp for entry in indexed.entries}:
                order, moment = order_and_time(one.checkpoint_id, one.head.stamp)
                record = index_record(one.head, run_id, order)
                yield from settings.lanes.append([(place.index(one.namespace), record, moment)])
    young = now - settings.grace
    yield from settings.lanes.delete(
        [
            (place.index(one.namespace), event)
            for one in named.values()
            for entry, event in zip(one.entries, one.events, strict=True)
            if entry.stamp <= young
        ]
    )
    yield from settings.lanes.clear(
        [lane for lane, namespace, id_ in alone if too_late([id_], stored.get(namespace, ()))]
    )
    return count
