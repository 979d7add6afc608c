"""Sizes of threads: all of each is read."""

from __future__ import annotations

from collections.abc import Sequence

from ...domain import ThreadMeasure
from ..operation import Operation
from ..records.checkpoints import stored
from ..records.framing import records
from .get import Settings, chunks, read_indexes
from .ids import Lane
from .lanes import ABREAST
from .layout import is_checkpoint


def measure(settings: Settings, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
    """Measure threads by the texts of their events."""
    found: dict[str, ThreadMeasure] = {}
    for thread_id in thread_ids:
        one = yield from _measure(settings, thread_id)
        if one is not None:
            found[thread_id] = one
    return found


def _measure(settings: Settings, thread_id: str) -> Operation[ThreadMeasure | None]:
    place = settings.place(thread_id)
    indexes, _ = yield from read_indexes(settings, place)
    named = [one for several in indexes.values() for one in several]
    # New sessions may not be listed yet; those of checkpoints and values are in the index, too.
    lanes = set((yield from settings.lanes.sessions(place.own_actor)))
    lanes |= {place.index(namespace) for namespace in indexes}
    lanes |= {place.checkpoint(one.namespace, one.checkpoint_id) for one in named}
    lanes |= {place.value(one.namespace, value) for one in named for entry in one.entries for value in entry.values}
    checkpoints = writes = size = 0
    namespaces: set[str] = set()
    for some in chunks(sorted(lanes), ABREAST):
        texts: dict[Lane, list[str]] = {}
        for lane, _, found in (yield from settings.lanes.events(some)):
            texts.setdefault(lane, []).extend(text for text in found if isinstance(text, str))
        size += sum(len(text) for found in texts.values() for text in found)
        for lane, found in texts.items():
            if lane.actor != place.own_actor or not is_checkpoint(lane):
                continue
            one = stored(records(found, str(lane))[0], str(lane))
            if one is not None:
                checkpoints += one.head is not None
                writes += len(one.writes)
                namespaces.add(one.namespace)
    if not checkpoints and not writes:
        return None
    return ThreadMeasure(
        thread_id=thread_id,
        checkpoints=checkpoints,
        pending_writes=writes,
        namespaces=len(namespaces),
        bytes=size,
        basis="lengths",
    )
