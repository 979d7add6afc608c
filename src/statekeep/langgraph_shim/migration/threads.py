"""Migration of threads: checkpoints in order, pending writes, and ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from ...domain import DEFAULT, CheckpointQuery, PendingWrite, SavedCheckpoint, Unsupported
from ...repositories.checkpoints import CheckpointBackend
from ...repositories.copy import SLACK, WINDOW, Known, supplier
from ...repositories.faces import Executor
from ...repositories.operation import Operation, Page
from .marks import Marks, has_changed, marks_of, settled
from .payloads import in_order_of
from .report import Tally, at
from .source import CheckpointSource, Key, asked, utc


@frozen
class ThreadTarget:
    """Where threads are put."""

    backend: CheckpointBackend
    executor: Executor

    def ask(self, operation: Operation[Any]) -> Operation[Any]:
        """Have the backend run an operation."""
        return (yield asked(self.executor, operation))


def migrated_threads(
    source: CheckpointSource,
    target: ThreadTarget,
    chosen: Sequence[str] | None,
    since: dt.datetime | None,
    tally: Tally,
) -> Operation[None]:
    """Put all threads, or those that were chosen."""
    threads = (yield from source.threads()) if chosen is None else chosen
    tally.add(of_threads=len(threads))
    for number, thread_id in enumerate(threads):
        with at("thread", thread_id):
            tally.add(place=thread_id)
            yield from _Move(source, target, thread_id, since, tally, tally.is_sampled(number)).made()
            tally.add(threads=1)


def _windows(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), WINDOW):
        yield keys[start : start + WINDOW]


@define
class _Move:
    """The migration of one thread.

    Oldest checkpoints come first: a child refers to values of its parent. Digests of all that the thread has are kept,
    but only a window of checkpoints.
    """

    source: CheckpointSource
    target: ThreadTarget
    thread_id: str
    since: dt.datetime | None
    tally: Tally
    is_verified: bool
    _known: Known = field(factory=Known)
    _there: dict[Key, Marks] = field(factory=dict)
    """What the target has already."""
    _expected: dict[Key, Marks] = field(factory=dict)
    _kept: dict[Key, SavedCheckpoint] = field(factory=dict)
    _has_put: bool = False

    def made(self) -> Operation[None]:
        keys = yield from self.source.keys(self.thread_id)
        if self.since is None:
            self._there = yield from self._surveyed()
            wanted: Sequence[Key] = keys
        else:
            wanted = yield from self._changed(keys, self.since)
        for window in _windows(wanted):
            if self.since is not None:
                self._there |= yield from self._looked_up(window)
            for saved in (yield from self._read(window)):
                yield from self._put(saved)
        yield from self._end(keys)
        if self.is_verified:
            yield from self._verify()

    def _changed(self, keys: Sequence[Key], since: dt.datetime) -> Operation[list[Key]]:
        """Choose what may have changed.

        That is what is new, what that was made from, and the newest of each namespace.

        The latter two may have got pending writes.
        """
        wanted = {key for key in keys if has_changed(key[1], since)}
        wanted |= dict(keys).items()
        parents: set[Key] = set()
        for window in _windows([key for key in keys if key in wanted]):
            for saved in (yield from self.source.read(self.thread_id, window)):
                if saved.parent_id is not None:
                    parents.add((saved.namespace, saved.parent_id))
                if len(wanted) <= WINDOW:
                    self._kept[saved.namespace, saved.checkpoint_id] = saved
        return [key for key in keys if key in wanted or key in parents]

    def _read(self, window: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        """Read checkpoints, but for those that were kept when they were looked at."""
        missing = [key for key in window if key not in self._kept]
        found = (yield from self.source.read(self.thread_id, missing)) if missing else []
        kept = [self._kept.pop(key) for key in window if key in self._kept]
        return in_order_of(window, [*found, *kept])

    def _put(self, saved: SavedCheckpoint) -> Operation[None]:
        """Put what the target lacks of a checkpoint."""
        key = (saved.namespace, saved.checkpoint_id)
        marks = self._expected[key] = marks_of(saved)
        lighter = self._known.lighter(saved)
        lacking = set(self._there[key].lacking(marks)) if key in self._there else None
        if lacking:
            lacking = yield from self._really_lacking(saved, marks)
        backend, writes = self.target.backend, saved.pending_writes
        if lacking is None or lacking & {"parent", "metadata", "header", "channels"}:
            yield from self.target.ask(backend.put(lighter, supplier(saved)))
            self._has_put = True
            self.tally.add(checkpoints_put=1)
        if lacking is not None:
            writes = tuple(write for write in writes if _named(write) in lacking)
        if writes:
            yield from self.target.ask(backend.put_writes(self.thread_id, *key, writes))
            self._has_put = True
        self.tally.add(checkpoints=1, pending_writes=len(saved.pending_writes), pending_writes_put=len(writes))

    def _really_lacking(self, saved: SavedCheckpoint, marks: Marks) -> Operation[set[str] | None]:
        """Look closer at a checkpoint whose bytes differ: the values may be equal."""
        stored = yield from self._got((saved.namespace, saved.checkpoint_id))
        if stored is None:
            return None
        return set(marks_of(settled(stored, saved, self.source.serde)).lacking(marks))

    def _surveyed(self) -> Operation[dict[Key, Marks]]:
        """Return the digests of all that the target has of the thread."""
        found: dict[Key, Marks] = {}
        cursor: Any = None
        query = CheckpointQuery(thread_id=self.thread_id)
        while True:
            page: Page[SavedCheckpoint] = yield from self.target.ask(self.target.backend.list(query, cursor))
            found.update(((saved.namespace, saved.checkpoint_id), marks_of(saved)) for saved in page.items)
            if (cursor := page.cursor) is None:
                return found

    def _looked_up(self, keys: Iterable[Key]) -> Operation[dict[Key, Marks]]:
        """Return the digests of those of some checkpoints that the target has."""
        found = {}
        for key in keys:
            saved = yield from self._got(key)
            if saved is not None:
                found[key] = marks_of(saved)
        return found

    def _got(self, key: Key) -> Operation[SavedCheckpoint | None]:
        saved: SavedCheckpoint | None = yield from self.target.ask(self.target.backend.get(self.thread_id, *key))
        return saved

    def _verify(self) -> Operation[None]:
        """Read back, and compare with what was read from the source."""
        there: Mapping[Key, Marks] = self._there
        if self._has_put:
            there = yield from (self._surveyed() if self.since is None else self._looked_up(self._expected))
        self.tally.add(verified=len(self._expected))
        for key, marks in self._expected.items():
            lacking = list(there[key].lacking(marks)) if key in there else ["all of it"]
            if lacking:
                for what in (yield from self._differing(key, marks)):
                    place = f"checkpoint {key[1]!r} of thread {self.thread_id!r}, namespace {key[0]!r}"
                    self.tally.differs(f"{place}: {what}")

    def _differing(self, key: Key, marks: Marks) -> Operation[list[str]]:
        """Look closer at a checkpoint that differs.

        Neither of both is at hand any more.
        """
        stored = yield from self._got(key)
        again = yield from self.source.read(self.thread_id, [key])
        if stored is None:
            return ["it is not there"] if again else []
        if again:
            stored = settled(stored, again[0], self.source.serde)
            marks = _merged(marks, marks_of(again[0]))
        return list(marks_of(stored).lacking(marks))

    def _end(self, keys: Sequence[Key]) -> Operation[None]:
        """Have the thread end when it ends in the source."""
        left = yield from self.source.left(self.thread_id, keys)
        if left is DEFAULT or left is None or not keys:
            return
        backend: Any = self.target.backend
        try:
            if not hasattr(backend, "expire"):
                raise Unsupported("the backend cannot set the end of a thread")
            if not self._has_put and hasattr(backend, "measure"):
                measures: Mapping[str, Any] = yield from self.target.ask(backend.measure([self.thread_id]))
                measure = measures.get(self.thread_id)
                if measure is not None and measure.expires_at is not None:
                    if abs(measure.expires_at - utc(left)) <= SLACK:
                        return
            yield from self.target.ask(backend.expire(self.thread_id, left))
        except Unsupported:
            self.tally.add(expiries_lost=1)
        else:
            self.tally.add(expiries_set=1)


def _named(write: PendingWrite) -> str:
    return f"the pending write {write.idx} of task {write.task_id!r}"


def _merged(first: Marks, again: Marks) -> Marks:
    """Return digests by the second reading of a source.

    They have the writes that the first one had.

    Bytes of one value may differ from reading to reading.
    """
    writes = {key: again.writes.get(key, mark) for key, mark in first.writes.items()}
    return Marks(again.parent, again.metadata, again.header, again.channels, writes)
