"""Checkpoints and pending writes as records, and back.

Each record says in ``type`` what it is and in ``stamp`` when it was put. A service returns records in any order, so
stamps decide which of two is the later one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Self, TypeVar

from attrs import evolve, field, frozen

from ...domain import (
    Channel,
    ChannelHistory,
    Checkpoint,
    CorruptRecord,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    ValueSource,
    tagged_json,
)
from ...domain.checkpoints import encoded_metadata
from ...domain.lineage import Link, root_of, run_of
from ...domain.shown import shown
from ..validation import count, text
from .framing import Record

ResultT = TypeVar("ResultT")

_STORED: Final = (ValueSource.VALUE, ValueSource.EMPTY, ValueSource.REPLAYED)
"""Where values of stored channels can be."""

GREATEST_STAMP: Final = 2**63 - 1
"""Nanoseconds since 1970 that a stamp may have."""


@frozen
class StoredChannel:
    """A channel as it is stored: its value is here, or elsewhere under a name.

    Attributes:
        version: of the channel.
        carry: ``VALUE``, ``EMPTY`` or ``REPLAYED``.
        payload: the value, if it is here.
        value: the name under which the value is stored, if it is not here. The backend says what it means.
        stamp: when it was last stored there, since events do not live for ever.
    """

    version: str | int | float
    carry: ValueSource
    payload: Payload | None = field(default=None, repr=False)
    value: str | None = None
    stamp: int = 0

    def is_version(self, version: str | int | float) -> bool:
        """Return whether this is the channel at this version; ``1`` and ``1.0`` are two."""
        return type(self.version) is type(version) and self.version == version


@frozen
class Head:
    """A checkpoint without its pending writes."""

    namespace: str
    checkpoint_id: str
    parent_id: str | None
    created_at: dt.datetime
    metadata: str = field(repr=False)
    header: Payload | None = field(repr=False)
    channels: Mapping[str, StoredChannel]
    stamp: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, stamp: int) -> Self:
        """Make the head of a checkpoint that is put now, which ``stamp`` says.

        Its channels are added when it is known where their values are.

        Raises:
            InvalidInput: the metadata holds what exact JSON cannot.
        """
        return cls(
            namespace=checkpoint.namespace,
            checkpoint_id=checkpoint.checkpoint_id,
            parent_id=checkpoint.parent_id,
            created_at=checkpoint.created_at,
            metadata=encoded_metadata(checkpoint),
            header=checkpoint.header,
            channels={},
            stamp=stamp,
        )

    def decoded_metadata(self) -> dict[str, Any]:
        decoded: dict[str, Any] = tagged_json.loads(self.metadata)
        return decoded

    @cached_property
    def run_id(self) -> str | None:
        """The run that it belongs to, if its metadata names one."""
        return run_of(self.decoded_metadata())

    @property
    def root_id(self) -> str | None:
        """The root checkpoint under which it was made, if its metadata names one."""
        return root_of(self.decoded_metadata())

    @property
    def link(self) -> Link:
        """Its part in the rebuilding of its descendants."""
        return Link.of(self.parent_id, self.channels)

    @property
    def values(self) -> set[str]:
        """The names of the values that it refers to."""
        return {channel.value for channel in self.channels.values() if channel.value}


@frozen
class StoredWrites:
    """The pending writes of one ``put_writes``."""

    namespace: str
    checkpoint_id: str
    writes: Sequence[PendingWrite]
    stamp: int


@frozen
class Stored:
    """The records of a checkpoint.

    ``head`` is ``None`` when there are pending writes only; ``written`` is the stamp of the last of these, -1 without.
    ``stamp`` is the greatest of all its records.
    """

    namespace: str
    checkpoint_id: str
    head: Head | None
    writes: tuple[PendingWrite, ...] = ()
    written: int = -1
    stamp: int = -1

    def saved(self, thread_id: str, values: Mapping[str, Payload]) -> SavedCheckpoint:
        """Return the checkpoint, with the values that are stored elsewhere by their names."""
        head = self.head
        assert head is not None
        return SavedCheckpoint.trusted(
            thread_id=thread_id,
            namespace=head.namespace,
            checkpoint_id=head.checkpoint_id,
            parent_id=head.parent_id,
            created_at=head.created_at,
            metadata=head.decoded_metadata(),
            header=head.header,
            channels={
                name: Channel.trusted(
                    version=channel.version,
                    payload=values[channel.value] if channel.value else channel.payload,
                    carry=channel.carry,
                )
                for name, channel in head.channels.items()
            },
            pending_writes=self.writes,
        )


# -- to records


class _Blobs:
    """The byte strings of a record that is being made."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def add(self, payload: Payload | None) -> list[Any] | None:
        if payload is None:
            return None
        self.all.append(payload.data)
        return [payload.encoding, len(self.all) - 1]


def _where(channel: StoredChannel) -> dict[str, Any] | None:
    return {"value": channel.value, "stamp": channel.stamp} if channel.value else None


def head_record(head: Head) -> Record:
    """Return the record of a checkpoint."""
    blobs = _Blobs()
    return Record(
        {
            "type": "checkpoint",
            "stamp": head.stamp,
            "namespace": head.namespace,
            "checkpoint_id": head.checkpoint_id,
            "parent_id": head.parent_id,
            "created_at": head.created_at.isoformat(),
            "metadata": head.metadata,
            "header": blobs.add(head.header),
            "channels": [
                [name, channel.version, channel.carry.value, _where(channel) or blobs.add(channel.payload)]
                for name, channel in head.channels.items()
            ],
        },
        blobs.all,
    )


def writes_record(stored: StoredWrites) -> Record:
    """Return the record of pending writes."""
    blobs = _Blobs()
    return Record(
        {
            "type": "writes",
            "stamp": stored.stamp,
            "namespace": stored.namespace,
            "checkpoint_id": stored.checkpoint_id,
            "writes": [
                [write.task_id, write.task_path, write.idx, write.channel, blobs.add(write.payload)]
                for write in stored.writes
            ],
        },
        blobs.all,
    )


def value_record(payload: Payload) -> Record:
    """Return the record of a channel value.

    It has no stamp: the same value is the same record.
    """
    return Record({"type": "value", "encoding": payload.encoding}, [payload.data])


# -- and back


def decoded(record: Record, where: str, make: Callable[[Mapping[str, Any]], ResultT]) -> ResultT:
    """Return what ``make`` makes of a record; one that is damaged is an error."""
    try:
        return make(record.head)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, CorruptRecord):
            raise
        raise CorruptRecord(f"a record is damaged: {type(error).__name__}: {error}", key=where) from error


def stamp_of(found: Mapping[str, Any]) -> int:
    """Return the stamp of a record's head."""
    stamp = found["stamp"]
    if type(stamp) is not int or not 0 <= stamp <= GREATEST_STAMP:
        raise ValueError(f"not a stamp: {shown(stamp)}")
    return stamp


def _metadata(value: Any) -> str:
    found = text("metadata", value, is_id=False)
    if not isinstance(tagged_json.loads(found), dict):
        raise ValueError("metadata is no object")
    return found


def _time(value: Any) -> dt.datetime:
    time = dt.datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(f"a time without a zone: {shown(value)}")
    return time


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"not an integer: {shown(value)}")
    return value


def _version(value: Any) -> str | int | float:
    if type(value) is str:
        return text("version", value, empty=True)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        number: int | float = value
        return number
    raise ValueError(f"not a version: {shown(value)}")


def _channel(record: Record, version: Any, carry: Any, place: Any) -> StoredChannel:
    source = ValueSource(carry)
    if isinstance(place, dict):
        found = StoredChannel(_version(version), source, None, text("value", place["value"]), stamp_of(place))
    else:
        found = StoredChannel(_version(version), source, _payload(record, place))
    if (place is not None) is not (source is ValueSource.VALUE) or source not in _STORED:
        raise ValueError(f"a channel is {source.value} and has {'no ' if place is None else ''}value")
    return found


def _payload(record: Record, place: Any) -> Payload | None:
    if place is None:
        return None
    encoding, position = place
    return Payload.trusted(encoding=text("encoding", encoding), data=record.blobs[count("position", position)])


def _certain_payload(record: Record, place: Any) -> Payload:
    payload = _payload(record, place)
    if payload is None:
        raise ValueError("a payload is missing")
    return payload


def _head(record: Record) -> Callable[[Mapping[str, Any]], Head]:
    return lambda head: Head(
        namespace=text("namespace", head["namespace"], empty=True),
        checkpoint_id=text("checkpoint_id", head["checkpoint_id"]),
        parent_id=None if head["parent_id"] is None else text("parent_id", head["parent_id"]),
        created_at=_time(head["created_at"]),
        metadata=_metadata(head["metadata"]),
        header=_payload(record, head["header"]),
        channels={
            text("channel", name, empty=True): _channel(record, version, carry, place)
            for name, version, carry, place in head["channels"]
        },
        stamp=stamp_of(head),
    )


def _writes(record: Record) -> Callable[[Mapping[str, Any]], StoredWrites]:
    return lambda head: StoredWrites(
        text("namespace", head["namespace"], empty=True),
        text("checkpoint_id", head["checkpoint_id"]),
        [
            PendingWrite.trusted(
                task_id=text("task_id", task_id),
                task_path=text("task_path", path, empty=True),
                idx=_integer(idx),
                channel=text("channel", channel, empty=True),
                payload=_certain_payload(record, place),
            )
            for task_id, path, idx, channel, place in head["writes"]
        ],
        stamp_of(head),
    )


def stored(records: Iterable[Record], where: str) -> Stored | None:
    """Put together the records of a checkpoint.

    Args:
        records: in any order.
        where: where they are stored, for errors.

    Returns:
        ``None`` if there are none.

    Raises:
        CorruptRecord: one is damaged, or none of a checkpoint.
    """
    heads: list[tuple[int, str, Head]] = []
    writes: list[tuple[int, str, StoredWrites]] = []
    orphaned = -1
    for record in records:
        kind = record.head.get("type")
        if kind == "checkpoint":
            head = decoded(record, where, _head(record))
            heads.append((head.stamp, record.hash, head))
        elif kind == "writes":
            of_one_call = decoded(record, where, _writes(record))
            writes.append((of_one_call.stamp, record.hash, of_one_call))
        elif kind == "orphan":
            orphaned = max(orphaned, decoded(record, where, stamp_of))
        else:
            raise CorruptRecord(f"a record of a checkpoint is of type {shown(kind, 40)}", key=where)
    if not heads and not writes:
        return None
    newest = max(heads, key=lambda entry: entry[:2])[2] if heads else None
    if newest is not None and orphaned > newest.stamp:
        newest = evolve(newest, parent_id=None)
    some = newest or writes[0][2]
    written = max((stamp for stamp, *_ in writes), default=-1)
    stamp = max(orphaned, written, *(one for one, _, _ in heads))
    return Stored(some.namespace, some.checkpoint_id, newest, _merged(writes), written, stamp)


def _merged(writes: Sequence[tuple[int, str, StoredWrites]]) -> tuple[PendingWrite, ...]:
    """Merge writes.

    For ``idx >= 0`` the first one stays, for ``idx < 0`` the last one counts.
    """
    found: dict[tuple[str, int], PendingWrite] = {}
    for _, _, of_one_call in sorted(writes, key=lambda entry: entry[:2]):
        for write in of_one_call.writes:
            key = (write.task_id, write.idx)
            if write.idx < 0 or key not in found:
                found[key] = write
    return tuple(sorted(found.values(), key=lambda write: write.order))


def value_of(record: Record, where: str) -> Payload:
    """Return the payload of a value's record."""
    return decoded(record, where, lambda head: _certain_payload(record, [head["encoding"], 0]))


def history(chain: Sequence[Stored], name: str, seed: StoredChannel | None, value: Payload | None) -> ChannelHistory:
    """Return the contributions of a checkpoint's ancestors to a channel.

    Args:
        chain: the ancestors from the parent on, each with its head.
        name: the channel.
        seed: the nearest one that has a value, of one of them.
        value: that value.
    """
    steps = []
    for step in chain:
        steps.append([write for write in step.writes if write.channel == name])
        if seed is not None and step.head is not None and step.head.channels.get(name) is seed:
            break
    return ChannelHistory(writes=tuple(write for step in reversed(steps) for write in step), seed=value)
