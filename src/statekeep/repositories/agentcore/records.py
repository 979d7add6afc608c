"""Checkpoints to records, and back.

Each record says in ``type`` what it is and in ``stamp`` when it was put. Events of one lane come in any order, so
stamps decide which of two is the later one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from ...domain import Channel, CorruptRecord, Payload, PendingWrite, SavedCheckpoint, ValueSource, tagged_json
from ...domain.lineage import Link, root_of, run_of
from ...domain.shown import shown
from ..records.framing import Record
from .ids import Lane

ResultT = TypeVar("ResultT")

INDEXED: int = 4_096
"""Characters of metadata in the index at most; longer ones are looked up in the checkpoint."""


@frozen
class StoredChannel:
    """A channel as it is stored: its value is here, or in a lane of its own.

    Attributes:
        version: of the channel.
        carry: ``VALUE``, ``EMPTY`` or ``REPLAYED``.
        payload: the value, if it is here.
        value: the name of the lane that has the value, if one has it.
        stamp: when it was last stored there, since events do not live for ever.
    """

    version: str | int | float
    carry: ValueSource
    payload: Payload | None = field(default=None, repr=False)
    value: str | None = None
    stamp: int = 0

    def is_version(self, version: str | int | float) -> bool:
        """Whether this is the channel at this version; ``1`` and ``1.0`` are two."""
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
        """The names of the value lanes that it refers to."""
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
    """The content of a checkpoint's lane; ``head`` is ``None`` when there are pending writes only."""

    namespace: str
    checkpoint_id: str
    head: Head | None
    writes: tuple[PendingWrite, ...] = ()

    def saved(self, thread_id: str, values: Mapping[str, Payload]) -> SavedCheckpoint:
        """Return the checkpoint, with the values of its value lanes by their names."""
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


@frozen
class IndexEntry:
    """An entry of the index. It is written first: a checkpoint exists only if its own lane has it."""

    namespace: str
    checkpoint_id: str
    order: str
    stamp: int
    run_id: str | None
    metadata: str | None = field(repr=False)
    values: Sequence[str]

    def may_match(self, fits: Callable[[Mapping[str, Any]], bool]) -> bool:
        return self.metadata is None or fits(tagged_json.loads(self.metadata))


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


def orphan_record(stamp: int) -> Record:
    """Return the record that says: the checkpoint has no parent any more."""
    return Record({"type": "orphan", "stamp": stamp})


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
    """Return the record of a channel value. It has no stamp: the same value is the same record."""
    return Record({"type": "value", "encoding": payload.encoding}, [payload.data])


def index_record(head: Head, run_id: str | None, order: str) -> Record:
    """Return the record by which an index names a checkpoint."""
    return Record(
        {
            "type": "index",
            "stamp": head.stamp,
            "order": order,
            "namespace": head.namespace,
            "checkpoint_id": head.checkpoint_id,
            "run_id": run_id,
            "metadata": head.metadata if len(head.metadata) <= INDEXED else None,
            "values": sorted(head.values),
        }
    )


def namespace_record(thread_id: str, namespace: str, order: str) -> Record:
    """Return the record that says: the thread has a namespace with ids of this order."""
    return Record({"type": "namespace", "thread_id": thread_id, "namespace": namespace, "order": order})


def update_record(thread_id: str, stamp: int) -> Record:
    """Return the record that says when a thread was updated, once the checkpoint that said so is gone."""
    return Record({"type": "update", "thread_id": thread_id, "stamp": stamp})


def actor_record(actor: str) -> Record:
    """Return the record that says: this actor has the thread."""
    return Record({"type": "actor", "actor": actor})


def run_record(actor: str, thread_id: str) -> Record:
    """Return the record that says: the run put a checkpoint there."""
    return Record({"type": "run", "actor": actor, "thread_id": thread_id})


# -- and back


def _decoded(record: Record, lane: Lane, make: Callable[[Mapping[str, Any]], ResultT]) -> ResultT:
    try:
        return make(record.head)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, CorruptRecord):
            raise
        where = f"{lane.actor} {lane.session}"
        raise CorruptRecord(f"a record is damaged: {type(error).__name__}: {error}", key=where) from error


def _stamp(found: Mapping[str, Any]) -> int:
    stamp = found["stamp"]
    if type(stamp) is not int or not 0 <= stamp < 2**63:
        raise ValueError(f"not a stamp: {shown(stamp)}")
    return stamp


def _payload(record: Record, place: Any) -> Payload | None:
    return None if place is None else Payload.trusted(encoding=place[0], data=record.blobs[place[1]])


def _certain_payload(record: Record, place: Any) -> Payload:
    payload = _payload(record, place)
    if payload is None:
        raise ValueError("a payload is missing")
    return payload


def _head(record: Record) -> Callable[[Mapping[str, Any]], Head]:
    return lambda head: Head(
        namespace=head["namespace"],
        checkpoint_id=head["checkpoint_id"],
        parent_id=head["parent_id"],
        created_at=dt.datetime.fromisoformat(head["created_at"]),
        metadata=head["metadata"],
        header=_payload(record, head["header"]),
        channels={
            name: StoredChannel(version, ValueSource(carry), None, place["value"], _stamp(place))
            if isinstance(place, dict)
            else StoredChannel(version, ValueSource(carry), _payload(record, place))
            for name, version, carry, place in head["channels"]
        },
        stamp=_stamp(head),
    )


def _writes(record: Record) -> Callable[[Mapping[str, Any]], StoredWrites]:
    return lambda head: StoredWrites(
        head["namespace"],
        head["checkpoint_id"],
        [
            PendingWrite.trusted(
                task_id=task_id, task_path=path, idx=idx, channel=channel, payload=_certain_payload(record, place)
            )
            for task_id, path, idx, channel, place in head["writes"]
        ],
        _stamp(head),
    )


def stored(records: Iterable[Record], lane: Lane) -> Stored | None:
    """Put together the records of a checkpoint's lane; ``None`` if there are none."""
    heads: list[tuple[int, str, Head]] = []
    writes: list[tuple[int, str, StoredWrites]] = []
    orphaned = -1
    for record in records:
        kind = record.head.get("type")
        if kind == "checkpoint":
            head = _decoded(record, lane, _head(record))
            heads.append((head.stamp, record.hash, head))
        elif kind == "writes":
            of_one_call = _decoded(record, lane, _writes(record))
            writes.append((of_one_call.stamp, record.hash, of_one_call))
        elif kind == "orphan":
            orphaned = max(orphaned, _decoded(record, lane, _stamp))
        else:
            raise CorruptRecord(
                f"a record of a checkpoint is of type {shown(kind, 40)}", key=f"{lane.actor} {lane.session}"
            )
    if not heads and not writes:
        return None
    newest = max(heads, key=lambda entry: entry[:2])[2] if heads else None
    if newest is not None and orphaned > newest.stamp:
        newest = evolve(newest, parent_id=None)
    some = newest or writes[0][2]
    return Stored(some.namespace, some.checkpoint_id, newest, _merged(writes))


def _merged(writes: Sequence[tuple[int, str, StoredWrites]]) -> tuple[PendingWrite, ...]:
    """Merge writes. For ``idx >= 0`` the first one stays, for ``idx < 0`` the last one counts."""
    found: dict[tuple[str, int], PendingWrite] = {}
    for _, _, of_one_call in sorted(writes, key=lambda entry: entry[:2]):
        for write in of_one_call.writes:
            key = (write.task_id, write.idx)
            if write.idx < 0 or key not in found:
                found[key] = write
    return tuple(sorted(found.values(), key=lambda write: write.order))


def value_of(record: Record, lane: Lane) -> Payload:
    """Return the payload of a value lane's record."""
    return _decoded(record, lane, lambda head: Payload.trusted(encoding=head["encoding"], data=record.blobs[0]))


def index_entry(record: Record, lane: Lane) -> IndexEntry:
    """Return the entry of an index record."""
    return _decoded(
        record,
        lane,
        lambda head: IndexEntry(
            head["namespace"],
            head["checkpoint_id"],
            head["order"],
            _stamp(head),
            head["run_id"],
            head["metadata"],
            head["values"],
        ),
    )


@frozen
class Known:
    """The list of a thread's namespaces.

    Attributes:
        thread_id: the thread; ``None`` if there is no list.
        orders: the orders of ids in each namespace.
        stamp: when a checkpoint was put that may be gone; -1 for never.
    """

    thread_id: str | None
    orders: Mapping[str, frozenset[str]]
    stamp: int


def known(records: Iterable[Record], lane: Lane) -> Known:
    """Read the list of a thread's namespaces."""
    thread_id, stamp = None, -1
    orders: dict[str, set[str]] = {}
    for record in records:
        thread_id = _decoded(record, lane, lambda head: str(head["thread_id"]))
        if record.head["type"] == "namespace":
            namespace, order = _decoded(record, lane, lambda head: (head["namespace"], head["order"]))
            orders.setdefault(namespace, set()).add(order)
        else:
            stamp = max(stamp, _decoded(record, lane, _stamp))
    return Known(thread_id, {name: frozenset(found) for name, found in orders.items()}, stamp)
