"""The walk from a checkpoint to its ancestors, to rebuild channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...domain import ChannelHistory, Payload, ValueSource
from ..operation import Operation
from ..records.checkpoints import Stored, StoredChannel, history
from .get import Group, Settings, batches, complete, find, grouped, newest, read_heads, read_rest
from .ids import checkpoint_digits, invocation_of
from .steps import ABREAST


def ancestors(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
) -> Operation[dict[str, ChannelHistory]]:
    """Return the ancestors' contributions to ``channels``.

    Two rounds for 32 of them, if the ids are in a row.
    """
    if not channels:
        return {}
    steps = yield from settings.steps.listing(thread_id, invocation_of(namespace))
    if checkpoint_id is None:
        found = yield from newest(settings, thread_id, namespace, steps)
    else:
        found = yield from find(settings, thread_id, namespace, checkpoint_id, steps)
    groups = [group for batch in batches(grouped(steps)) for group in batch]
    chain: list[Stored] = []
    read: dict[str, Stored] = {}
    seeds: dict[str, StoredChannel] = {}
    seen = {found.head.checkpoint_id} if found is not None else set()
    current = found.head.parent_id if found is not None else None
    while current is not None and current not in seen and len(seeds) < len(set(channels)):
        seen.add(current)
        if current not in read:
            some = _take(groups, (invocation_of(namespace), checkpoint_digits(namespace, current)), len(chain) > 1)
            several = yield from read_heads(settings, thread_id, some, keep_values=False)
            for one in (yield from complete(settings, thread_id, several)):
                if one.namespace == namespace:
                    read.setdefault(one.checkpoint_id, one)
        step = read.get(current)
        if step is None or step.head is None:
            break
        chain.append(step)
        for name in channels:
            channel = step.head.channels.get(name)
            if name not in seeds and channel is not None and channel.carry is ValueSource.VALUE:
                seeds[name] = channel
        current = step.head.parent_id
    values = {seed.value: (namespace, name) for name, seed in seeds.items() if seed.value is not None}
    _, payloads = yield from read_rest(settings, thread_id, (), values)
    return {name: history(chain, name, seed, _value(seed, payloads)) for name in channels for seed in [seeds.get(name)]}


def _value(seed: StoredChannel | None, payloads: Mapping[str, Payload]) -> Payload | None:
    if seed is None:
        return None
    return seed.payload if seed.value is None else payloads[seed.value]


def _take(groups: list[Group], key: tuple[str, str], has_more: bool) -> list[Group]:
    """Take a checkpoint out of those that are not read yet.

    If ``has_more``, take those just below as well: most parents are there.
    """
    own = [group for group in groups if group.heads[0].checkpoint == key]
    if not own:
        return []
    first = groups.index(own[0])
    below = [group for group in groups[first:] if group not in own] if has_more else []
    taken = [*own, *below[: ABREAST - len(own)]]
    for group in taken:
        groups.remove(group)
    return taken
