"""The way from a checkpoint to its ancestors.

Channels are rebuilt from their pending writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...domain import ChannelHistory, ValueSource
from ..operation import Operation
from ..records.checkpoints import Stored, StoredChannel, history
from .get import Settings, newest_of, read_stored, read_values
from .index import IndexReader, drain, open_reader
from .lanes import ABREAST, PAGE


def ancestors(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
) -> Operation[dict[str, ChannelHistory]]:
    """Return the ancestors' contributions to ``channels``.

    It takes one round for 32 of them, if the ids are in a row.
    """
    if not channels:
        return {}
    place = settings.place(thread_id)
    if checkpoint_id is None:
        reader, _ = yield from open_reader(settings.lanes, place, namespace, PAGE)
        found = yield from newest_of(settings, place, reader)
    else:
        [found] = yield from read_stored(settings, place, [(namespace, checkpoint_id)])
    chain: list[Stored] = []
    read: dict[str, Stored | None] = {}
    seeds: dict[str, StoredChannel] = {}
    ids: list[str] | None = None
    seen = {found.checkpoint_id} if found is not None else set()
    current = found.head.parent_id if found is not None and found.head is not None else None
    while current is not None and current not in seen and len(seeds) < len(set(channels)):
        seen.add(current)
        if current not in read:
            wanted = [current]
            if len(chain) > 1:
                # Most parents are just below their children, so the next ones are read along.
                if ids is None:
                    indexed = yield from drain(settings.lanes, [IndexReader(namespace, place.index(namespace))])
                    ids = [one.checkpoint_id for one in indexed[namespace]]
                wanted += [id_ for id_ in ids if id_ < current and id_ not in read][: ABREAST - 1]
            several = yield from read_stored(settings, place, [(namespace, id_) for id_ in wanted])
            read.update(zip(wanted, several, strict=True))
        step = read[current]
        if step is None or step.head is None:
            break
        chain.append(step)
        for name in channels:
            channel = step.head.channels.get(name)
            if name not in seeds and channel is not None and channel.carry is ValueSource.VALUE:
                seeds[name] = channel
        current = step.head.parent_id
    found_values = yield from read_values(
        settings, place, [(namespace, name, channel) for name, channel in seeds.items()]
    )
    return {
        name: history(
            chain,
            name,
            seeds.get(name),
            None if name not in seeds else found_values.values.get(seeds[name].value or "", seeds[name].payload),
        )
        for name in channels
    }
