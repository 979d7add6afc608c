"""Where the values of a checkpoint's channels come from when it is put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ...domain import Channel, Checkpoint, MissingChannels, Payload, ValueSource
from ..checkpoints import Supply
from ..process.notices import healed
from .checkpoints import Head, StoredChannel
from .local_cache import Channels

LOOKED_FOR = (ValueSource.STORED, ValueSource.STORED_IF_ANY)
INHERITED = (*LOOKED_FOR, ValueSource.REPLAYED)

Resolved = dict[str, Channel | StoredChannel]
"""Channels as they were given, or as they are stored already."""


def needs_parent(checkpoint: Checkpoint) -> bool:
    """Return whether a value may have to be found in the checkpoint's parent."""
    return checkpoint.parent_id is not None and any(
        channel.carry in INHERITED for channel in checkpoint.channels.values()
    )


def inherit(channels: Mapping[str, Channel], inherited: Channels) -> tuple[Resolved, list[str]]:
    """Return the channels with those values that the parent has.

    With them come the names of those to look for elsewhere.

    A ``replayed`` channel is not looked for elsewhere: its value is rebuilt, and a search would read the whole
    namespace. Nor is one that the parent has without a value at the very version, if it may be without.
    """
    found: Resolved = {}
    missing = []
    for name, channel in channels.items():
        found[name] = channel
        if channel.carry not in INHERITED:
            continue
        of_parent = inherited.get(name)
        is_same = of_parent is not None and of_parent.is_version(channel.version)
        if of_parent is not None and is_same and of_parent.carry is ValueSource.VALUE:
            found[name] = of_parent
        elif channel.carry is ValueSource.STORED_IF_ANY and is_same:
            found[name] = Channel.empty(channel.version)
        elif channel.carry is not ValueSource.REPLAYED:
            missing.append(name)
    return found, missing


def find_earlier(heads: Iterable[Head], channels: Mapping[str, Channel]) -> Resolved:
    """Find values among checkpoints of the namespace.

    If forks have several under a version, the first that was stored.
    """
    found: Resolved = {}
    for head in sorted(heads, key=lambda head: head.stamp, reverse=True):
        for name, channel in channels.items():
            stored_channel = head.channels.get(name)
            if stored_channel is None or stored_channel.carry is not ValueSource.VALUE:
                continue
            if stored_channel.is_version(channel.version):
                found[name] = stored_channel
    return found


def valueless(resolved: Resolved) -> list[str]:
    """Return the names of the channels whose value is looked for, and was not found."""
    return [
        name
        for name, channel in resolved.items()
        if not isinstance(channel, StoredChannel) and channel.carry in LOOKED_FOR
    ]


def supplied(checkpoint: Checkpoint, names: Sequence[str], supply: Supply | None, where: str) -> Resolved:
    """Ask the caller for required values that are stored nowhere.

    The others are empty.

    Args:
        checkpoint: that is put.
        names: of the channels without a value.
        supply: the caller's function, if there is one.
        where: where values would be stored, for the error.

    Raises:
        MissingChannels: a value is required, and there is no ``supply``.
    """
    required = [name for name in names if checkpoint.channels[name].carry is ValueSource.STORED]
    payloads: Mapping[str, Payload] = {}
    if required:
        if supply is None:
            raise MissingChannels(required, key=where)
        payloads = supply(frozenset(required))
        healed(checkpoint.thread_id, checkpoint.checkpoint_id, [name for name in required if name in payloads])
    return {
        name: Channel.of(checkpoint.channels[name].version, payloads[name])
        if name in payloads
        else Channel.empty(checkpoint.channels[name].version)
        for name in names
    }


def placed(
    resolved: Resolved, order: Iterable[str], inline: int, place: Callable[[str, Channel], tuple[str, int]]
) -> tuple[dict[str, StoredChannel], dict[str, Payload]]:
    """Say for each channel where its value is stored.

    Args:
        resolved: the channels, none of them without its value.
        order: the names of all, in the order to store them.
        inline: bytes up to which a value is stored within its checkpoint.
        place: returns the name of a larger value, and the stamp of what is stored of it.

    Returns:
        The channels, and the values to store elsewhere by their names.
    """
    channels: dict[str, StoredChannel] = {}
    values: dict[str, Payload] = {}
    for name in order:
        channel = resolved[name]
        if isinstance(channel, StoredChannel):
            channels[name] = channel
        elif channel.payload is None or len(channel.payload.data) <= inline:
            channels[name] = StoredChannel(channel.version, channel.carry, channel.payload)
        else:
            value, stamp = place(name, channel)
            channels[name] = StoredChannel(channel.version, channel.carry, None, value, stamp)
            values[value] = channel.payload
    return channels, values
