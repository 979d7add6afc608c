"""Rebuilding the index of a thread from its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...domain.ids import new_stamp, time_of
from ...domain.lineage import too_late
from ..operation import Operation
from ..records.framing import Record
from ..records.ordering import order_and_time
from .get import Settings, chunks, read_indexes, read_lanes
from .ids import Lane
from .lanes import ABREAST
from .layout import ThreadPlace, is_checkpoint
from .listed import ListedReader, RegistryEntry, actor_entry, namespace_entry, read_on, run_entry
from .records import index_mark, index_record
from .registry import UNKNOWN, note


def reindex(settings: Settings, thread_id: str) -> Operation[int]:
    """Make the index name all checkpoints, and no others; return how many there are."""
    place = settings.place(thread_id)
    settings.recent.forget(place.key)
    now = new_stamp()
    period = now // settings.renewal
    indexes, listed = yield from read_indexes(settings, place)
    named = {(one.namespace, one.checkpoint_id): one for found in indexes.values() for one in found}
    lanes = set(filter(is_checkpoint, (yield from settings.lanes.sessions(place.own_actor))))
    lanes |= {place.checkpoint(*ref) for ref in named}
    count = 0
    stored: dict[str, set[str]] = {}
    alone: list[tuple[Lane, str, str]] = []
    lists: dict[Lane, list[Record]] = {}
    orders = {name: dict.fromkeys(found, UNKNOWN) for name, found in listed.orders.items()}
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
            order, moment = order_and_time(one.checkpoint_id, one.head.stamp)
            orders.setdefault(one.namespace, {})[order] = period
            entries = [namespace_entry(place, one.namespace, order, period), actor_entry(place, period)]
            entries += [run_entry(place, run_id, period)] if run_id is not None else []
            yield from _complete(settings, lists, entries, now)
            if indexed is None or one.head.stamp not in {entry.stamp for entry in indexed.entries}:
                record = index_record(one.head, run_id, order)
                yield from settings.lanes.append(
                    [(place.index(one.namespace), record, moment, index_mark(one.head, order))]
                )
    yield from _note(settings, place, {name: found for name, found in orders.items() if name in stored}, now)
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


def _complete(
    settings: Settings, lists: dict[Lane, list[Record]], entries: Sequence[RegistryEntry], now: int
) -> Operation[None]:
    """Append what the lists lack. Each is read once, and remembered in ``lists``."""
    unread = [entry.lane for entry in entries if entry.lane not in lists]
    lists.update(zip(unread, (yield from settings.lanes.read_all(unread)), strict=True))
    lacking = [entry for entry in entries if entry.record not in lists[entry.lane]]
    yield from settings.lanes.append([(entry.lane, entry.record, time_of(now)) for entry in lacking])
    for entry in lacking:
        lists[entry.lane].append(entry.record)


def _note(settings: Settings, place: ThreadPlace, orders: Mapping[str, Mapping[str, int]], now: int) -> Operation[None]:
    """Let the lanes of the namespaces say what the lists have of them."""
    for some in chunks(sorted(orders), ABREAST):
        readers = [ListedReader(place.listed(name)) for name in some]
        replies, _ = yield from settings.lanes.read_beside([reader.call(settings.lanes) for reader in readers], ())
        notes = []
        for name, reader, reply in zip(some, readers, replies, strict=True):
            reader.take(reply)
            listed = yield from read_on(settings.lanes, reader)
            lacking = {
                order: period
                for order, period in orders[name].items()
                if period not in listed.orders.get(order, ()) and (period != UNKNOWN or order not in listed.orders)
            }
            if lacking:
                notes.append(note(place, name, listed, lacking, now))
        yield from settings.lanes.append(notes)
