"""The checkpoints of one namespace of one thread.

There are also its pending writes and shared channel values.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from ...domain import Channel, Checkpoint, Payload, PendingWrite, PrunePolicy, SavedCheckpoint, ValueSource, tagged_json
from ...domain.lineage import Link, root_of, run_of, too_late

ValueKey = tuple[str, type, str | int | float]
"""A channel at a version. The type is part of it, because ``1 == 1.0`` and both hash alike."""


def _value_key(name: str, channel: Channel) -> ValueKey:
    return (name, type(channel.version), channel.version)


@frozen
class Record:
    """A stored checkpoint.

    Metadata is kept as text, so that nobody can change it from outside.
    """

    parent_id: str | None
    created_at: dt.datetime
    metadata: str
    header: Payload | None
    channels: dict[str, Channel]
    expires_at: float
    shares: tuple[ValueKey, ...] = ()

    def decoded_metadata(self) -> dict[str, Any]:
        decoded: dict[str, Any] = tagged_json.loads(self.metadata)
        return decoded

    @property
    def run_id(self) -> str | None:
        """The run that it belongs to, if its metadata names one."""
        return run_of(self.decoded_metadata())

    @property
    def root_id(self) -> str | None:
        """The root checkpoint under which it was made, if its metadata names one."""
        return root_of(self.decoded_metadata())


@define
class _Value:
    payload: Payload
    users: int = 0


@frozen
class _Write:
    write: PendingWrite
    expires_at: float


@define
class Namespace:
    """Checkpoints by id, writes by checkpoint id, and channel values.

    Of the values under one channel version the first one stays.

    ``expires_next`` is not later than the first expiry of anything in here.
    """

    records: dict[str, Record] = field(factory=dict)
    writes: dict[str, dict[tuple[str, int], _Write]] = field(factory=dict)
    _values: dict[ValueKey, _Value] = field(factory=dict)
    _expires_next: float = math.inf

    def __bool__(self) -> bool:
        return bool(self.records or self.writes)

    def newest(self) -> str | None:
        return max(self.records, default=None)

    def kept(self, policy: PrunePolicy) -> list[str]:
        return policy.kept(self.records, lambda checkpoint_id: self.records[checkpoint_id].created_at)

    # -- checkpoints

    def resolve(self, checkpoint: Checkpoint, supplied: dict[str, Channel]) -> tuple[dict[str, Channel], list[str]]:
        """Return the channels as they are to be stored.

        With them come the names of those whose value is not here.
        """
        parent = self.records.get(checkpoint.parent_id) if checkpoint.parent_id is not None else None
        channels = dict(checkpoint.channels)
        missing = []
        for name, channel in checkpoint.channels.items():
            if channel.carry in (ValueSource.VALUE, ValueSource.EMPTY):
                continue
            payload = self._value(name, channel, parent)
            if payload is not None:
                channels[name] = Channel.of(channel.version, payload)
            elif name in supplied:
                channels[name] = supplied[name]
            elif channel.carry is ValueSource.STORED:
                missing.append(name)
            elif channel.carry is ValueSource.STORED_IF_ANY:
                channels[name] = Channel.empty(channel.version)
        return channels, missing

    def _value(self, name: str, channel: Channel, parent: Record | None) -> Payload | None:
        key = _value_key(name, channel)
        if parent is not None:
            # A fork may have stored another value under this version: along a chain of parents it is its own.
            inherited = parent.channels.get(name)
            if inherited is not None and inherited.payload is not None and _value_key(name, inherited) == key:
                return inherited.payload
        value = self._values.get(key)
        return None if value is None else value.payload

    def store(self, checkpoint_id: str, record: Record) -> None:
        """Put a record in the place of the one with this id, if any."""
        shares = []
        for name, channel in record.channels.items():
            if channel.payload is None:
                continue
            key = _value_key(name, channel)
            value = self._values.get(key)
            if value is None:
                value = self._values[key] = _Value(channel.payload)
            if value.payload == channel.payload:
                value.users += 1
                shares.append(key)
        self.remove(checkpoint_id)
        self.records[checkpoint_id] = evolve(record, shares=tuple(shares))
        self._expires_next = min(self._expires_next, record.expires_at)

    def remove(self, checkpoint_id: str) -> None:
        """Remove a record, and the shared values that no other record uses.

        Its writes stay.
        """
        record = self.records.pop(checkpoint_id, None)
        if record is None:
            return
        for key in record.shares:
            value = self._values[key]
            value.users -= 1
            if not value.users:
                del self._values[key]

    def delete(self, checkpoint_ids: Collection[str]) -> None:
        """Remove checkpoints with their writes.

        A child of one of them has no parent any more.
        """
        for checkpoint_id in checkpoint_ids:
            self.remove(checkpoint_id)
            self.writes.pop(checkpoint_id, None)
        for checkpoint_id, record in self.records.items():
            if record.parent_id in checkpoint_ids:
                self.records[checkpoint_id] = evolve(record, parent_id=None)

    def ancestors(self, checkpoint_id: str) -> Iterator[tuple[str, Record]]:
        """Walk from the parent of a checkpoint to the oldest one that is stored."""
        # Ids come from outside, so a chain of parents may be a circle.
        seen = {checkpoint_id}
        record = self.records.get(checkpoint_id)
        while record is not None and record.parent_id is not None and record.parent_id not in seen:
            checkpoint_id = record.parent_id
            seen.add(checkpoint_id)
            record = self.records.get(checkpoint_id)
            if record is not None:
                yield checkpoint_id, record

    def link(self, checkpoint_id: str) -> Link | None:
        """Return the link of a checkpoint; ``None`` if it is not stored."""
        record = self.records.get(checkpoint_id)
        return None if record is None else Link.of(record.parent_id, record.channels)

    def read(self, thread_id: str, namespace: str, checkpoint_id: str) -> SavedCheckpoint:
        record = self.records[checkpoint_id]
        return SavedCheckpoint.model_construct(
            thread_id=thread_id,
            namespace=namespace,
            checkpoint_id=checkpoint_id,
            parent_id=record.parent_id,
            created_at=record.created_at,
            metadata=record.decoded_metadata(),
            header=record.header,
            channels=dict(record.channels),
            pending_writes=self.read_writes(checkpoint_id),
        )

    # -- pending writes

    def add_writes(self, checkpoint_id: str, writes: Sequence[PendingWrite], expires_at: float) -> None:
        """Add writes.

        For ``idx >= 0`` the first one stays, with a new TTL; for ``idx < 0`` the last one counts.
        """
        if not writes:
            return
        stored = self.writes.setdefault(checkpoint_id, {})
        for write in writes:
            key = (write.task_id, write.idx)
            kept = stored.get(key) if write.idx >= 0 else None
            stored[key] = (
                _Write(write, expires_at) if kept is None else evolve(kept, expires_at=max(kept.expires_at, expires_at))
            )
        self._expires_next = min(self._expires_next, expires_at)

    def read_writes(self, checkpoint_id: str) -> tuple[PendingWrite, ...]:
        stored = self.writes.get(checkpoint_id, {})
        return tuple(sorted((entry.write for entry in stored.values()), key=lambda write: write.order))

    def keep_writes(self, checkpoint_id: str, expires_at: float) -> None:
        """Let writes that came before their checkpoint live as long as it does."""
        entries = self.writes.get(checkpoint_id, {})
        for key, entry in entries.items():
            entries[key] = evolve(entry, expires_at=max(entry.expires_at, expires_at))

    def forget_late_writes(self) -> None:
        """Remove writes that came too late for their checkpoint."""
        for checkpoint_id in too_late(self.writes, self.records.keys()):
            del self.writes[checkpoint_id]

    def copy_to(self, target: Namespace, expires_at: float, early: float) -> None:
        """Copy all records and writes into ``target``.

        Args:
            target: another namespace.
            expires_at: when the copies end.
            early: when those of writes end whose checkpoint is in neither.
        """
        for key, value in self._values.items():
            # Each of them has a user, which is copied below; so the first values here are the first values there.
            target._values.setdefault(key, _Value(value.payload))
        for checkpoint_id, record in self.records.items():
            target.store(checkpoint_id, evolve(record, expires_at=expires_at))
        for checkpoint_id in self.writes:
            ends = expires_at if checkpoint_id in target.records else early
            target.add_writes(checkpoint_id, self.read_writes(checkpoint_id), ends)

    # -- expiry

    def refresh(self, checkpoint_id: str, expires_at: float, *, writes: bool) -> None:
        """Let a stored checkpoint live until then, if it would not live longer.

        With ``writes``, its pending writes live as long.
        """
        record = self.records.get(checkpoint_id)
        if record is not None:
            self.records[checkpoint_id] = evolve(record, expires_at=max(record.expires_at, expires_at))
        if writes:
            self.keep_writes(checkpoint_id, expires_at)

    def end_at(self, expires_at: float, early: float) -> None:
        """Have all end at a time, sooner or later than it would.

        Args:
            expires_at: when.
            early: when those writes end whose checkpoint is not stored.
        """
        for checkpoint_id, record in self.records.items():
            self.records[checkpoint_id] = evolve(record, expires_at=expires_at)
        for checkpoint_id, entries in self.writes.items():
            ends = expires_at if checkpoint_id in self.records else early
            self.writes[checkpoint_id] = {key: evolve(entry, expires_at=ends) for key, entry in entries.items()}
        self._expires_next = min(expires_at, early)

    def last_end(self) -> float:
        """Return when the last record ends."""
        return max(self._ends(), default=-math.inf)

    def size(self) -> int:
        """Return the bytes of what is kept. Values that are shared count once."""
        values = {(key, value.payload) for key, value in self._values.items()}
        total = 0
        for record in self.records.values():
            total += len(record.metadata.encode(errors="surrogatepass"))
            total += 0 if record.header is None else len(record.header.data)
            values.update(
                (_value_key(name, channel), channel.payload)
                for name, channel in record.channels.items()
                if channel.payload is not None
            )
        total += sum(len(payload.data) for _, payload in values)
        return total + sum(
            len(entry.write.payload.data) for entries in self.writes.values() for entry in entries.values()
        )

    def _ends(self) -> Iterator[float]:
        yield from (record.expires_at for record in self.records.values())
        yield from (entry.expires_at for entries in self.writes.values() for entry in entries.values())

    def expire(self, now: float) -> None:
        """Remove expired records and writes."""
        if now < self._expires_next:
            return
        for checkpoint_id in [id_ for id_, record in self.records.items() if record.expires_at <= now]:
            self.remove(checkpoint_id)
        for checkpoint_id, entries in list(self.writes.items()):
            live = {key: entry for key, entry in entries.items() if entry.expires_at > now}
            if live:
                self.writes[checkpoint_id] = live
            else:
                del self.writes[checkpoint_id]
        self._expires_next = min(self._ends(), default=math.inf)
