"""The bodies of restores: lines in, operations of the target's repositories out."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from ..domain import (
    CacheEntry,
    Channel,
    Checkpoint,
    CorruptRecord,
    Item,
    LogEntry,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    Unsupported,
)
from ..domain.errors import Portable
from ..domain.json_values import dumps
from ..repositories.copy import PARENTS, Step
from ..repositories.operation import Operation
from .exporting import Local
from .lines import CheckpointLine, Line, LogLine, ThreadLine, ValueLine, WriteLine, digest_of
from .reading import Reader
from .report import Report, at

MOST: Final = 500
"""Items, values of a log, writes or cache entries that are stored at once."""

MOST_BYTES: Final = 4 << 20
"""About how many bytes of them."""

KEPT_BYTES: Final = 64 << 20
"""Bytes of values of a thread that are kept for checkpoints to come. Others are read from the target again."""

_DONE: Final = "restored; what came before it is there, and a restore may be repeated"

_KIND: Final[Mapping[type[Any], str]] = {
    ThreadLine: "checkpoints",
    ValueLine: "checkpoints",
    CheckpointLine: "checkpoints",
    WriteLine: "checkpoints",
    Item: "items",
    LogLine: "logs",
    LogEntry: "logs",
    CacheEntry: "cache",
}


def restore_all(
    parts: Mapping[str, Any], reader: Reader, report: Report, kinds: Collection[str] | None
) -> Operation[None]:
    """Store what an archive has.

    Args:
        parts: the target's repositories, by kind.
        reader: of the archive.
        report: of what was stored.
        kinds: those that are restored; ``None`` for all.
    """
    state = _State(parts, report)
    while True:
        batch: list[Line] = yield Local(reader.batch)
        if not batch:
            yield from state.finish()
            return
        for one in batch:
            kind = _KIND.get(type(one))
            if kind is None or (kinds is not None and kind not in kinds):
                continue
            if kind not in parts:
                raise Unsupported(f"the target keeps no {kind}; leave them out by kinds=")
            yield from state.take(kind, one)


@define
class _State:
    """Lines that were read and are not stored yet: of one kind, and one thread or log."""

    parts: Mapping[str, Any]
    report: Report
    kind: str = ""
    thread: _Thread | None = None
    log: _Log | None = None
    many: list[Any] = field(factory=list)
    size: int = 0

    def take(self, kind: str, one: Any) -> Operation[None]:
        """Take a line."""
        if kind != self.kind:
            yield from self.finish()
            self.kind = kind
        if kind == "checkpoints":
            if isinstance(one, ThreadLine):
                yield from self.finish()
                self.thread = _Thread(self.parts[kind], one, self.report)
            assert self.thread is not None
            yield from self.thread.take(one)
        elif kind == "logs":
            if isinstance(one, LogLine):
                yield from self.finish()
                self.log = _Log(self.parts[kind], one, self.report)
            else:
                assert self.log is not None
                yield from self.log.take(one)
        else:
            size = len(one.payload.data) if isinstance(one, CacheEntry) else _size(one.value)
            if len(self.many) >= MOST or (self.many and self.size + size > MOST_BYTES):
                yield from self.finish()
            self.many.append(one)
            self.size += size

    def finish(self) -> Operation[None]:
        """Store what is held back."""
        if self.thread is not None:
            yield from self.thread.finish()
        if self.log is not None:
            yield from self.log.finish()
        self.thread = self.log = None
        many, self.many, self.size = self.many, [], 0
        if not many:
            return
        place = many[0].namespace
        with at("namespace", place, _DONE):
            target = self.parts[self.kind]
            now = _now()
            there = [one for one in many if one.expires_at is None or one.expires_at > now]
            if there:
                yield Step(target, target._restore(there))  # noqa: SLF001 - the body of both faces
        self.report.ended += len(many) - len(there)
        name = "items" if self.kind == "items" else "cache_entries"
        self.report.add(many[-1].namespace, **{name: len(there)})


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _size(value: Any) -> int:
    if isinstance(value, Payload):
        return len(value.data)
    return len(value) if isinstance(value, str) else 8 if isinstance(value, int | float | None) else len(dumps(value))


# -- checkpoints


class _LackingError(Portable):
    """Values that the target lacks, and that are not kept here any more."""


Known = Mapping[str, tuple[str, Any, str]]
"""Type and value of the version, and digest, of each value of a checkpoint, by channel."""


@define
class _Thread:
    """A thread that is restored, oldest checkpoint first, as its lines come.

    Attributes:
        payloads: values by digest; those that were used last are the last.
        origins: by digest the namespace and id of a stored checkpoint that has the value.
        fresh: digests of values that no stored checkpoint has yet.
        known: what the last checkpoints have, so that children need not send equal values.
    """

    target: Any
    begin: ThreadLine
    report: Report
    payloads: OrderedDict[str, Payload] = field(factory=OrderedDict)
    origins: dict[str, tuple[str, str]] = field(factory=dict)
    fresh: set[str] = field(factory=set)
    known: OrderedDict[tuple[str, str], Known] = field(factory=OrderedDict)
    kept: int = 0
    checkpoint: Checkpoint | None = None
    writes: list[PendingWrite] = field(factory=list)
    digests: list[str] = field(factory=list)
    size: int = 0

    @property
    def has_ended(self) -> bool:
        return self.begin.expires_at is not None and self.begin.expires_at <= _now()

    def take(self, one: ThreadLine | ValueLine | CheckpointLine | WriteLine) -> Operation[None]:
        """Take a line; what it says is stored at once, or with the next ones."""
        if self.has_ended:
            return
        with at("thread", self.begin.thread_id, _DONE):
            match one:
                case ValueLine():
                    self._keep(one.digest, one.payload)
                    self.fresh.add(one.digest)
                case CheckpointLine():
                    yield from self._put_writes()
                    yield from self._put(one)
                case WriteLine():
                    yield from self._add(one)

    def finish(self) -> Operation[None]:
        """Store what is held back, and say when the thread ends."""
        if self.has_ended:
            self.report.ended += 1
            return
        thread_id, end = self.begin.thread_id, self.begin.expires_at
        with at("thread", thread_id, _DONE):
            yield from self._put_writes()
            if end is not None or getattr(self.target.backend, "ttl", None) is not None:
                seconds = None
                if end is not None:
                    now = yield Step(self.target, self.target.backend.now())
                    seconds = max((end - now).total_seconds(), 0.001)
                try:
                    yield Step(self.target, self.target._expire(thread_id, seconds))  # noqa: SLF001 - the body of both
                except Unsupported:
                    self.report.endless += seconds is not None
        self.report.add(thread_id, threads=1)

    # -- values

    def _keep(self, digest: str, payload: Payload) -> None:
        if digest not in self.payloads:
            self.kept += len(payload.data)
        self.payloads[digest] = payload
        self.payloads.move_to_end(digest)

    def _stored(self, digests: Collection[str]) -> None:
        """Note that the target has values now, and drop some that it can be asked for."""
        assert self.checkpoint is not None
        place = (self.checkpoint.namespace, self.checkpoint.checkpoint_id)
        for digest in digests:
            self.origins.setdefault(digest, place)
            self.fresh.discard(digest)
        for _ in range(len(self.payloads)):
            if self.kept <= KEPT_BYTES:
                return
            digest, payload = self.payloads.popitem(last=False)
            if digest in self.fresh:
                self.payloads[digest] = payload
            else:
                self.kept -= len(payload.data)

    def _have(self, digests: Collection[str]) -> Operation[None]:
        """Read values from the target that are not kept here."""
        for digest in digests:
            if digest in self.payloads:
                self.payloads.move_to_end(digest)
                continue
            namespace, checkpoint_id = self.origins[digest]
            thread_id = self.begin.thread_id
            saved: SavedCheckpoint | None = yield Step(
                self.target, self.target.backend.get(thread_id, namespace, checkpoint_id)
            )
            for payload in _payloads(saved):
                if (found := digest_of(payload)) == digest:
                    self._keep(found, payload)
            if digest not in self.payloads:
                raise CorruptRecord(
                    f"the target lost a value of the checkpoint {checkpoint_id!r} while its thread was restored",
                    key=thread_id,
                )

    # -- checkpoints and writes

    def _put(self, one: CheckpointLine) -> Operation[None]:
        checkpoint = self.checkpoint = one.checkpoint
        of_parent = self.known.get((checkpoint.namespace, checkpoint.parent_id or ""), {})
        mine: Known = {
            name: (type(checkpoint.channels[name].version).__name__, checkpoint.channels[name].version, digest)
            for name, digest in one.digests.items()
        }
        sent = {name: digest for name, digest in one.digests.items() if mine[name] != of_parent.get(name)}
        while True:
            yield from self._have(sent.values())
            channels = {
                name: Channel.of(channel.version, self.payloads[sent[name]]) if name in sent else channel
                for name, channel in checkpoint.channels.items()
            }
            whole = checkpoint.model_copy(update={"channels": channels})
            lacking: dict[str, str] = {}

            def supply(names: Collection[str], lacking: dict[str, str] = lacking) -> Mapping[str, Payload]:
                lacking |= {name: one.digests[name] for name in names if one.digests[name] not in self.payloads}
                if lacking:
                    raise _LackingError
                return {name: self.payloads[one.digests[name]] for name in names}

            try:
                yield Step(self.target, self.target.backend.put(whole, supply))
                break
            except _LackingError:
                sent |= lacking
        self.known[checkpoint.namespace, checkpoint.checkpoint_id] = mine
        if len(self.known) > PARENTS:
            self.known.popitem(last=False)
        self._stored(set(one.digests.values()))
        self.report.add(self.begin.thread_id, checkpoints=1)

    def _add(self, one: WriteLine) -> Operation[None]:
        yield from self._have([one.digest])
        payload = self.payloads[one.digest]
        if len(self.writes) >= MOST or (self.writes and self.size + len(payload.data) > MOST_BYTES):
            yield from self._put_writes()
        self.writes.append(one.write.model_copy(update={"payload": payload}))
        self.digests.append(one.digest)
        self.size += len(payload.data)

    def _put_writes(self) -> Operation[None]:
        if not self.writes:
            return
        assert self.checkpoint is not None
        to = self.checkpoint
        put = self.target.backend.put_writes(to.thread_id, to.namespace, to.checkpoint_id, tuple(self.writes))
        yield Step(self.target, put)
        self.report.add(self.begin.thread_id, pending_writes=len(self.writes))
        self._stored(self.digests)
        self.writes, self.digests, self.size = [], [], 0


def _payloads(saved: SavedCheckpoint | None) -> Sequence[Payload]:
    if saved is None:
        return []
    values = [channel.payload for channel in saved.channels.values() if channel.payload is not None]
    return [*values, *(write.payload for write in saved.pending_writes)]


# -- logs


@define
class _Log:
    """A log that is restored in parts, the first of which replaces what was there."""

    target: Any
    begin: LogLine
    report: Report
    entries: list[LogEntry] = field(factory=list)
    size: int = 0
    after: int = 0
    is_counted: bool = False

    @property
    def has_ended(self) -> bool:
        return self.begin.expires_at is not None and self.begin.expires_at <= _now()

    def take(self, entry: LogEntry) -> Operation[None]:
        """Take a value of the log."""
        size = _size(entry.value)
        if len(self.entries) >= MOST or (self.entries and self.size + size > MOST_BYTES):
            yield from self.finish()
        self.entries.append(entry)
        self.size += size

    def finish(self) -> Operation[None]:
        """Store what is held back."""
        entries, self.entries, self.size = self.entries, [], 0
        if self.has_ended:
            self.report.ended += 0 if self.is_counted else 1
            self.is_counted = True
            return
        if not entries:
            return
        name = self.begin.name
        with at("log", name, _DONE):
            restore = self.target._restore  # noqa: SLF001 - the body of both faces
            yield Step(self.target, restore(name, entries, expires_at=self.begin.expires_at, after=self.after))
        self.after = entries[-1].position
        self.report.add(name, logs=0 if self.is_counted else 1, entries=len(entries))
        self.is_counted = True
