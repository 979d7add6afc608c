"""Sizes of threads: all keys of each are looked at, some hundred at a time."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from attrs import define, field, frozen

from .....domain import ThreadMeasure
from ....operation import Operation
from ...chunks import CHUNK, chunks
from ...keys import decode_text
from ...requests import Arg, Commands, Reply
from ...sizes import AT_ONCE, MANY, Basis, by_memory_or_lengths, usage
from ..keys import NamespaceKeys, thread_key
from ..settings import CheckpointSettings

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

PER_SPACE: Final = 8
"""Commands about a namespace in one request at most, besides those about its records."""

LENGTHS: Final = {True: ("metadata", "header", "channels"), False: ("value",)}
"""The fields of checkpoints, and of pending writes, whose lengths count. The others are ids."""


@define
class _Total:
    """The sums of a thread."""

    thread_id: str
    checkpoints: int = 0
    writes: int = 0
    bytes: int = 0
    ends: float = -math.inf
    namespaces: set[str] = field(factory=set)

    def add(self, record: _Record, ends: int, size: int) -> None:
        """Count a record that ends at a time in milliseconds, or never."""
        self.checkpoints += record.is_checkpoint
        self.writes += not record.is_checkpoint
        self.namespaces.add(record.space.keys.namespace)
        self.ends = max(self.ends, math.inf if ends == -1 else ends)
        self.bytes += size

    def measure(self, basis: Basis) -> ThreadMeasure:
        return ThreadMeasure(
            thread_id=self.thread_id,
            checkpoints=self.checkpoints,
            pending_writes=self.writes,
            namespaces=len(self.namespaces),
            bytes=self.bytes,
            basis=basis,
            expires_at=None if math.isinf(self.ends) else EPOCH + dt.timedelta(milliseconds=self.ends),
        )


@define(eq=False)
class _Space:
    """A namespace whose indexes are read, a page at a time.

    Attributes:
        total: the sums of its thread.
        keys: of the namespace.
        starts: where the next page of each index begins, checkpoints first; ``None``: there is none.
        is_new: whether nothing was read yet.
    """

    total: _Total
    keys: NamespaceKeys
    starts: list[Arg | None] = field(factory=lambda: ["-", "-"])
    is_new: bool = True

    @property
    def indexes(self) -> tuple[str, str]:
        return self.keys.checkpoints, self.keys.writes

    @property
    def is_read(self) -> bool:
        return self.starts == [None, None]

    def commands(self, basis: Basis) -> Iterator[Sequence[Arg]]:
        """Yield the commands that read on."""
        for index, start in zip(self.indexes, self.starts, strict=True):
            if start is not None:
                yield ("ZRANGEBYLEX", index, start, "+", "LIMIT", "0", str(CHUNK))
        if self.is_new and basis == "memory":
            keys = self.keys
            yield from (
                usage(key, MANY)
                for key in (keys.head, keys.values, keys.checkpoints, keys.writes, keys.expiry, keys.pending)
            )

    def learn(self, replies: Iterator[Reply], basis: Basis) -> Iterator[_Record]:
        """Take the answers, and yield the records that they name."""
        for position, is_checkpoint in enumerate((True, False)):
            if self.starts[position] is None:
                continue
            page = next(replies)
            self.starts[position] = b"(" + page[-1] if len(page) == CHUNK else None
            for member in page:
                name = decode_text(member, self.indexes[position])
                key = self.keys.checkpoint(name) if is_checkpoint else self.keys.write(name)
                yield _Record(self, key, is_checkpoint)
        if self.is_new and basis == "memory":
            self.total.bytes += sum(next(replies) or 0 for _ in range(6))
        self.is_new = False


@frozen
class _Record:
    space: _Space
    key: str
    is_checkpoint: bool

    def commands(self, basis: Basis) -> list[Sequence[Arg]]:
        """Return the commands about its end and its size."""
        if basis == "memory":
            return [("PEXPIRETIME", self.key), usage(self.key)]
        return [("PEXPIRETIME", self.key), *(("HSTRLEN", self.key, name) for name in LENGTHS[self.is_checkpoint])]


def measure(settings: CheckpointSettings, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
    """Measure threads: by memory, or by lengths if nobody may ask for that."""
    return (yield from by_memory_or_lengths(partial(_measure, settings, thread_ids)))


def _measure(
    settings: CheckpointSettings, thread_ids: Sequence[str], basis: Basis
) -> Operation[dict[str, ThreadMeasure]]:
    found: dict[str, ThreadMeasure] = {}
    for some in chunks(thread_ids, AT_ONCE // 2):
        totals = [_Total(thread_id) for thread_id in some]
        spaces = yield from _spaces(settings, totals, basis)
        if basis == "lengths":
            yield from _add_values(spaces)
        while spaces:
            for few in chunks(spaces, AT_ONCE // PER_SPACE):
                replies = iter((yield Commands([command for space in few for command in space.commands(basis)])))
                records = [record for space in few for record in space.learn(replies, basis)]
                yield from _add_records(records, basis)
            spaces = [space for space in spaces if not space.is_read]
        found.update((total.thread_id, total.measure(basis)) for total in totals if total.namespaces)
    return found


def _spaces(settings: CheckpointSettings, totals: Sequence[_Total], basis: Basis) -> Operation[list[_Space]]:
    """Find the namespaces of threads."""
    keys = [thread_key(settings.prefix, total.thread_id) for total in totals]
    commands: list[Sequence[Arg]] = [("ZRANGE", key, "0", "-1") for key in keys]
    if basis == "memory":
        commands += [usage(key, MANY) for key in keys]
    replies = yield Commands(commands)
    for total, size in zip(totals, replies[len(keys) :], strict=False):
        total.bytes += size or 0
    return [
        _Space(total, settings.keys(total.thread_id, decode_text(name, key)))
        for total, key, names in zip(totals, keys, replies, strict=False)
        for name in names
    ]


def _add_records(records: Sequence[_Record], basis: Basis) -> Operation[None]:
    """Add the sizes of records, as far as they are there."""
    for some in chunks(records, AT_ONCE // 2 if basis == "memory" else AT_ONCE // 4):
        commands = [record.commands(basis) for record in some]
        replies = iter((yield Commands([command for several in commands for command in several])))
        for record, several in zip(some, commands, strict=True):
            ends, *sizes = (next(replies) for _ in several)
            if ends != -2 and None not in sizes:
                record.space.total.add(record, ends, sum(sizes))


def _add_values(spaces: Iterable[_Space]) -> Operation[None]:
    """Add the lengths of the values that checkpoints share."""
    for few in chunks(list(spaces), AT_ONCE):
        listed = yield Commands([("HKEYS", space.keys.values) for space in few])
        fields = [(space, name) for space, names in zip(few, listed, strict=True) for name in names]
        for some in chunks(fields, AT_ONCE):
            sizes = yield Commands([("HSTRLEN", space.keys.values, name) for space, name in some])
            for (space, _), size in zip(some, sizes, strict=True):
                space.total.bytes += size
