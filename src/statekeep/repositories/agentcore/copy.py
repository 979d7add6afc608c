"""Copying a thread."""

from __future__ import annotations

from collections.abc import Collection

from attrs import evolve

from ...domain.ids import time_of
from ..operation import Operation
from ..records.checkpoints import Head, Stored, StoredWrites, value_record, writes_record
from ..records.piece_lanes import is_in_pieces
from .get import FoundValues, Settings, chunks, read_indexes, read_lanes, read_values
from .lanes import ABREAST
from .layout import ThreadPlace, is_checkpoint
from .put import commit, prepare
from .registry import look


def copy_thread(settings: Settings, source_id: str, target_id: str) -> Operation[None]:
    """Copy all namespaces of a thread, one checkpoint after the other."""
    if source_id == target_id:
        return
    source, target = settings.place(source_id), settings.place(target_id)
    indexes, _ = yield from read_indexes(settings, source)
    # The index does not know of pending writes without a checkpoint, and new sessions may not be listed yet.
    lanes = set(filter(is_checkpoint, (yield from settings.lanes.sessions(source.own_actor))))
    lanes |= {source.checkpoint(one.namespace, one.checkpoint_id) for found in indexes.values() for one in found}
    sent: set[str] = set()
    for some in chunks(sorted(lanes), ABREAST):
        for one in (yield from read_lanes(settings, some)):
            if one is not None:
                yield from _copy(settings, source, target, one, sent)


def _copy(settings: Settings, source: ThreadPlace, target: ThreadPlace, one: Stored, sent: set[str]) -> Operation[None]:
    stamp = settings.recent.next_stamp(target.key, one.namespace, one.checkpoint_id)
    if one.writes:
        record = writes_record(StoredWrites(one.namespace, one.checkpoint_id, one.writes, stamp))
        lane = target.checkpoint(one.namespace, one.checkpoint_id)
        yield from settings.lanes.append([(lane, record, time_of(stamp))])
    if one.head is None:
        return
    head = evolve(one.head, stamp=stamp)
    found = yield from _values(settings, source, head, sent)
    values = {name: value_record(payload) for name, payload in found.values.items() if not is_in_pieces(name)}
    lanes = {f"{lane}/{record.hash}": record for lane, one in found.lanes.items() for record in one.records}
    values |= {name: record for name, record in lanes.items() if f"{head.namespace}/{name}" not in sent}
    run_id = head.run_id
    registration, _ = yield from look(settings, target, head, run_id)
    yield from prepare(settings, target, head, run_id, values, registration)
    yield from commit(settings, target, head, registration)
    sent.update(f"{head.namespace}/{name}" for name in values)
    sent.update(f"{head.namespace}/{lane}/{version}" for lane, one in found.lanes.items() for version in one.versions)


def _values(settings: Settings, source: ThreadPlace, head: Head, sent: Collection[str]) -> Operation[FoundValues]:
    """Read those values of a checkpoint that were not sent with another."""
    wanted = [
        (head.namespace, name, channel)
        for name, channel in head.channels.items()
        if channel.value is not None and f"{head.namespace}/{channel.value}" not in sent
    ]
    return (yield from read_values(settings, source, wanted))
