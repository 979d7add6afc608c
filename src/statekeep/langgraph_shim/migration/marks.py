"""Digests of checkpoints.

By them, checkpoints of two places are compared without keeping them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from ...domain import Payload, PendingWrite, SavedCheckpoint, Serializer
from ...domain.checkpoints import ValueSource
from ...domain.fingerprint import fingerprint

WriteKey = tuple[str, int]
"""The task and the position of a pending write."""


def _digest(payload: Payload | None) -> bytes:
    if payload is None:
        return b""
    return hashlib.blake2b(payload.encoding.encode() + b"\x00" + payload.data, digest_size=12).digest()


@frozen
class Marks:
    """Digests of the parts of a checkpoint."""

    parent: str | None
    metadata: str
    header: bytes
    channels: bytes
    writes: Mapping[WriteKey, bytes]

    def lacking(self, expected: Marks) -> Iterator[str]:
        """Name the parts that are not as expected. Of pending writes there may be more."""
        for part in ("parent", "metadata", "header", "channels"):
            if getattr(self, part) != getattr(expected, part):
                yield part
        for key, mark in expected.writes.items():
            if self.writes.get(key) != mark:
                yield f"the pending write {key[1]} of task {key[0]!r}"


def marks_of(saved: SavedCheckpoint) -> Marks:
    """Return the digests of a checkpoint."""
    channels = hashlib.blake2b(digest_size=12)
    for name in sorted(saved.channels):
        channel = saved.channels[name]
        # A replayed channel may come back with the value that another checkpoint has for its version.
        value = b"replayed" if _is_replayed(saved, name) else _digest(channel.payload)
        channels.update(repr((name, channel.version, value)).encode())
    return Marks(
        saved.parent_id,
        fingerprint({"": saved.metadata}),
        _digest(saved.header),
        channels.digest(),
        {(write.task_id, write.idx): _write_mark(write) for write in saved.pending_writes},
    )


def _is_replayed(saved: SavedCheckpoint, name: str) -> bool:
    return saved.channels[name].carry is ValueSource.REPLAYED


def _write_mark(write: PendingWrite) -> bytes:
    return repr((write.task_path, write.channel)).encode() + _digest(write.payload)


def settled(saved: SavedCheckpoint, expected: SavedCheckpoint, serde: Serializer | None) -> SavedCheckpoint:
    """Return ``saved`` with the payloads of ``expected`` wherever both mean the same.

    Bytes of equal values may differ: encrypted ones always do, and those of sets between processes.

    Args:
        saved: as it was read back.
        expected: as the source has it.
        serde: reads both; ``None``: only equal bytes mean the same.
    """
    theirs = {(write.task_id, write.idx): write for write in expected.pending_writes}
    channels = {}
    for name, channel in saved.channels.items():
        other = expected.channels.get(name)
        if other is not None and other.version == channel.version:
            if other.carry is ValueSource.REPLAYED or _same(serde, channel.payload, other.payload):
                channel = other
        channels[name] = channel
    writes = []
    for write in saved.pending_writes:
        one = theirs.get((write.task_id, write.idx))
        if one is not None and _same(serde, write.payload, one.payload):
            write = write.model_copy(update={"payload": one.payload})
        writes.append(write)
    header = expected.header if _same(serde, saved.header, expected.header) else saved.header
    fields = {"channels": channels, "pending_writes": tuple(writes), "header": header}
    return saved.model_copy(update=fields)


def _same(serde: Serializer | None, one: Payload | None, other: Payload | None) -> bool:
    if one is None or other is None or serde is None:
        return one == other
    if one == other:
        return True
    try:
        left, right = (serde.loads_typed((each.encoding, each.data)) for each in (one, other))
        return type(left) is type(right) and bool(left == right)
    except Exception:  # what cannot be read, or compared, is not known to be the same
        return False


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-([67])[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
_GREGORIAN: Final = dt.datetime(1582, 10, 15, tzinfo=dt.UTC)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def made_at(checkpoint_id: str) -> dt.datetime | None:
    """Return the time in an id of a checkpoint; ``None`` if there is none in it.

    >>> made_at("1efabcde-0000-6000-8000-000000000000").year, made_at("step 1")
    (2024, None)
    """
    found = _UUID.match(checkpoint_id)
    if found is None:
        return None
    high = uuid.UUID(checkpoint_id).int >> 64
    try:
        if found[1] == "7":
            return _EPOCH + dt.timedelta(milliseconds=high >> 16)
        return _GREGORIAN + dt.timedelta(microseconds=((high >> 16 << 12) | (high & 0xFFF)) // 10)
    except OverflowError:
        return None


def has_changed(checkpoint_id: str, since: dt.datetime) -> bool:
    """Return whether a checkpoint may have been made since a time."""
    made: Any = made_at(checkpoint_id)
    return made is None or made >= since
