"""A checkpoint with all that it holds, as JSON."""

from __future__ import annotations

from typing import Any

from ..domain.checkpoints import SavedCheckpoint
from ..domain.payload import Payload
from .decoding import LIMITS, as_tree, decode, decode_raw
from .limits import Limits
from .tasks import next_nodes


def as_document(saved: SavedCheckpoint, limits: Limits = LIMITS, *, raw: bool = False) -> dict[str, Any]:
    """Return a checkpoint as JSON: names, metadata, channels, pending writes.

    Nothing of it is executed; see ``decode``.

    Args:
        saved: the checkpoint.
        limits: how much of each value is shown.
        raw: values as they are stored, as ``decode_raw`` shows them, rather than decoded.

    Example:
        >>> from statekeep import Channel, Payload
        >>> counted = Channel.of("1", Payload(encoding="json", data=b"7"))
        >>> as_document(SavedCheckpoint(thread_id="t", channels={"n": counted}))["channels"]["n"]
        {'version': '1', 'source': 'value', 'encoding': 'json', 'size': 1, 'value': 7, 'is_cut': False}
    """

    def value(payload: Payload | None) -> dict[str, Any]:
        if payload is None:
            return {}
        if raw:
            return decode_raw(payload)
        found = decode(payload, limits)
        about = ("value", "is_cut") if found.problem is None else ("problem", "sha256")
        return {name: getattr(found, name) for name in ("encoding", "size", *about)}

    return {
        "thread_id": saved.thread_id,
        "namespace": saved.namespace,
        "checkpoint_id": saved.checkpoint_id,
        "parent_id": saved.parent_id,
        "created_at": saved.created_at.isoformat(),
        "next": list(next_nodes(saved)),
        "metadata": as_tree(saved.metadata, limits),
        "header": value(saved.header) or None,
        "channels": {
            name: {"version": channel.version, "source": channel.carry.value, **value(channel.payload)}
            for name, channel in saved.channels.items()
        },
        "pending_writes": [
            {
                "task_id": write.task_id,
                "task_path": write.task_path,
                "idx": write.idx,
                "channel": write.channel,
                **value(write.payload),
            }
            for write in saved.pending_writes
        ],
    }
