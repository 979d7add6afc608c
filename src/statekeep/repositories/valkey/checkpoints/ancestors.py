"""The walk to a checkpoint's ancestors, whose pending writes rebuild channels."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import chain as chained

from attrs import define, field

from ....domain import ChannelHistory, CorruptRecord, Payload, PendingWrite
from ....domain.shown import shown
from ...operation import Operation
from ..keys import decode_part, decode_text, encode_part
from ..requests import Call
from ..scripts import script
from .get import read_fields, read_writes_and_values
from .indexes import rebuild_head
from .keys import NamespaceKeys
from .records import decode_values, tokens
from .settings import CheckpointSettings

PAGE = 200
"""Checkpoints read in one step of the walk."""


@define
class _Step:
    """One ancestor, as far as the walk needs it."""

    key: str
    """The key of its record."""
    parent_id: str | None
    seeds: dict[str, list[str]] = field(factory=dict)
    """The field of each stored value, and those of its pieces, by channel."""
    members: list[str] = field(factory=list)


def ancestors(
    settings: CheckpointSettings, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
) -> Operation[dict[str, ChannelHistory]]:
    """Collect the ancestors' contributions to ``channels``: two round trips per page."""
    histories = {name: ChannelHistory() for name in channels}
    if not histories:
        return histories
    keys = settings.keys(thread_id, namespace)
    start = keys.head if checkpoint_id is None else keys.checkpoint(checkpoint_id)
    reply = yield Call(script("checkpoints/lineage"), [keys.checkpoints, start], [str(PAGE)])
    if isinstance(reply, int):
        # The copy of the newest is made anew, until it is there or there is no checkpoint.
        if checkpoint_id is not None or not reply or (yield from rebuild_head(keys)) is None:
            return histories
        return (yield from ancestors(settings, thread_id, namespace, None, channels))
    (own_id, parent_id), smaller = reply
    if own_id is None or checkpoint_id not in (None, decode_text(own_id, start)):
        raise CorruptRecord("checkpoint is damaged: it has no id, or that of another one", key=start)

    # Most parents are just below their children: a page of smaller ids holds the next steps of the walk.
    steps: dict[str, _Step | CorruptRecord] = {}
    guesses = [decode_text(name, keys.checkpoints) for name in smaller]
    chain: list[tuple[_Step, Set[str]]] = []
    open_channels: Set[str] = histories.keys()
    seen = {decode_text(own_id, start)}
    current = decode_text(parent_id, start) if parent_id else None
    while current is not None and open_channels and current not in seen:
        seen.add(current)
        if current not in steps:
            wanted = [current, *(name for name in guesses if name != current and name not in steps)]
            steps.update((yield from _look(keys, wanted[:PAGE], list(histories))))
        step = steps.get(current)
        if step is None:
            break
        if isinstance(step, CorruptRecord):
            raise step
        chain.append((step, open_channels))
        if step.seeds:
            open_channels = open_channels - step.seeds.keys()
        current = step.parent_id
        if current is not None and current not in steps and open_channels:
            [ids] = yield Call(script("checkpoints/ids"), [keys.checkpoints], [str(PAGE), f"({current}"])
            guesses = [decode_text(name, keys.checkpoints) for name in ids]
    found = yield from _collect(keys, chain, list(histories))
    if found is None:
        # Ancestors were deleted meanwhile.
        return (yield from ancestors(settings, thread_id, namespace, checkpoint_id, channels))
    return found


def _look(
    keys: NamespaceKeys, ids: Sequence[str], channels: Sequence[str]
) -> Operation[dict[str, _Step | CorruptRecord]]:
    """Read those of the checkpoints that exist."""
    records = [keys.checkpoint(checkpoint_id) for checkpoint_id in ids]
    arguments = [str(len(channels)), *map(encode_part, channels), *map(encode_part, ids)]
    reply = yield Call(script("checkpoints/steps"), [keys.writes, keys.pending, *records], arguments)
    found: dict[str, _Step | CorruptRecord] = {}
    at = 0
    for checkpoint_id, key in zip(ids, records, strict=True):
        if reply[at] == 0:
            at += 1
            continue
        own_id, parent_id, whole = reply[at : at + 3]
        *stored, count = reply[at + 3 : at + 4 + len(channels)]
        first = at + 4 + len(channels)
        at = first + count
        try:
            if own_id != checkpoint_id.encode() or not whole:
                raise CorruptRecord(
                    "checkpoint is damaged: a field is missing, cut off or that of another one", key=key
                )
            seeds = {
                name: decode_text(field, key).split(" ") for name, field in zip(channels, stored, strict=True) if field
            }
            members = [decode_text(name, keys.writes) for name in reply[first:at]]
            found[checkpoint_id] = _Step(key, decode_text(parent_id, key) or None, seeds, members)
        except CorruptRecord as error:
            # It may be none of the ancestors.
            found[checkpoint_id] = error
    return found


def _collect(
    keys: NamespaceKeys, chain: Sequence[tuple[_Step, Set[str]]], channels: Sequence[str]
) -> Operation[dict[str, ChannelHistory] | None]:
    """Read the writes and seeds met on the way.

    ``None`` if a seed's checkpoint is gone.
    """
    members = [
        (keys, name)
        for step, wanted in chain
        for name in step.members
        if decode_part(name.rpartition(":")[2]) in wanted
    ]
    sources = {
        name: (stored, step.key) for step, wanted in chain for name, stored in step.seeds.items() if name in wanted
    }
    if not members and not sources:
        return {name: ChannelHistory() for name in channels}
    fields = list(dict.fromkeys(chained.from_iterable(stored for stored, _ in sources.values())))
    writes, values = yield from read_writes_and_values(members, keys, fields)
    seeds: dict[str, Payload] = {}
    payloads = decode_values(fields, values, keys)
    for name, ([stored, *_], record) in sources.items():
        payload = payloads[stored]
        if payload is None:
            [[listed]] = yield from read_fields([record], ["channels"])
            if stored not in tokens(listed, record):
                return None
            raise CorruptRecord(f"the value of channel {shown(name)} is gone", key=keys.values)
        seeds[name] = payload
    found: dict[str, list[PendingWrite]] = {name: [] for name in channels}
    for step, wanted in reversed(chain):
        own = [write for name in step.members if (write := writes.get((keys, name)))]
        if len(own) > 1:
            own.sort(key=lambda write: write.order)
        for write in own:
            if write.channel in wanted:
                found[write.channel].append(write)
    return {name: ChannelHistory(writes=tuple(found[name]), seed=seeds.get(name)) for name in channels}
