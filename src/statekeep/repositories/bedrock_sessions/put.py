"""Writing checkpoints and pending writes.

One step each, which is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve

from ...domain import Channel, Checkpoint, Payload, PendingWrite
from ..checkpoints import Supply
from ..operation import Operation
from ..records.channels import find_earlier, inherit, needs_parent, placed, supplied, valueless
from ..records.checkpoints import Head, StoredWrites, head_record, value_record, writes_record
from ..records.framing import Record, hash_of, pieces
from ..records.local_cache import Channels
from .get import Settings, find, grouped, read_heads
from .ids import Step, invocation_of, session_of, step_of


def put(settings: Settings, checkpoint: Checkpoint, supply: Supply | None) -> Operation[None]:
    """Store a checkpoint.

    One call, and two before if this process does not know the parent.
    """
    thread_id, namespace = checkpoint.thread_id, checkpoint.namespace
    session = session_of(thread_id)
    head = Head.of(checkpoint, settings.recent.next_stamp((session,), namespace, checkpoint.checkpoint_id))
    steps: list[Step] | None = None
    inherited: Channels = {}
    if checkpoint.parent_id is not None and needs_parent(checkpoint):
        known = settings.recent.channels((session,), namespace, checkpoint.parent_id)
        if known is None:
            steps = yield from settings.steps.listing(thread_id, invocation_of(namespace))
            parent = yield from find(settings, thread_id, namespace, checkpoint.parent_id, steps)
            known = {} if parent is None else parent.head.channels
        inherited = known
    resolved, missing = inherit(checkpoint.channels, inherited)
    if missing:
        if steps is None:
            steps = yield from settings.steps.listing(thread_id, invocation_of(namespace))
        several = yield from read_heads(settings, thread_id, grouped(steps), keep_values=False)
        heads = (one.head for one in several if one.head.namespace == namespace)
        resolved |= find_earlier(heads, {name: checkpoint.channels[name] for name in missing})
    if lacking := valueless(resolved):
        resolved |= supplied(checkpoint, lacking, supply, f"invocation {invocation_of(namespace)}")
    channels, values = placed(
        resolved, checkpoint.channels, settings.inline, lambda _, channel: (_value_name(channel), head.stamp)
    )
    yield from store(settings, thread_id, evolve(head, channels=channels), values.values())


def _value_name(channel: Channel) -> str:
    """Return the name of a value in the checkpoint's own step: the hash of its record."""
    assert channel.payload is not None
    return hash_of(pieces(value_record(channel.payload))[0])


def store(settings: Settings, thread_id: str, head: Head, values: Iterable[Payload]) -> Operation[Step]:
    """Store a checkpoint and its large values that are in no other step: one call.

    Returns:
        The step.
    """
    texts = _texts([head_record(head), *map(value_record, values)])
    step = step_of(head.namespace, head.checkpoint_id, texts, head.stamp)
    yield from settings.steps.put(thread_id, step, texts)
    settings.recent.keep((session_of(thread_id),), head.namespace, head.checkpoint_id, named(head.channels, step))
    return step


def named(channels: Channels, step: Step) -> Channels:
    """Name the values that are in a step as other steps name them."""
    return {
        name: evolve(channel, value=f"{step.id}/{channel.value}")
        if channel.value is not None and "/" not in channel.value
        else channel
        for name, channel in channels.items()
    }


def _texts(records: Sequence[Record]) -> list[str]:
    return [text for record in records for text in pieces(record)]


def put_writes(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
) -> Operation[None]:
    """Store pending writes: one call, whatever their number. Nothing is read before."""
    session = session_of(thread_id)
    if not writes:
        return
    stamp = settings.recent.next_stamp((session,), namespace, checkpoint_id)
    texts = _texts([writes_record(StoredWrites(namespace, checkpoint_id, writes, stamp))])
    step = step_of(namespace, checkpoint_id, texts, stamp, has_writes=True)
    yield from settings.steps.put(thread_id, step, texts)
