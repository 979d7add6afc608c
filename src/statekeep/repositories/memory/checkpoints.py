"""Checkpoints in this process."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from attrs import define, field, frozen

from ...domain import (
    ANY,
    Channel,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    MissingChannels,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ThreadMeasure,
)
from ...domain.checkpoints import encoded_metadata
from ...domain.ids import time_of
from ...domain.lineage import is_under_root, with_sources
from ...domain.shown import once_made
from ..checkpoint_backend import EARLY_TTL, ExpectedHead, Supply, needed, overtaken
from ..operation import Page
from ..process.notices import healed
from .at_once import AtOnce, at_once
from .namespaces import Namespace, Record

_PAGE = 20
_PAGE_OF_THREADS = 1000


@define
class _Thread:
    updated_at: dt.datetime
    namespaces: dict[str, Namespace] = field(factory=dict)

    @property
    def has_checkpoint(self) -> bool:
        return self.count > 0

    @property
    def count(self) -> int:
        return sum(len(namespace.records) for namespace in self.namespaces.values())


@frozen
class _Cursor:
    """The place where a listing goes on.

    It has the threads to read, the last result of the first of them, and the limit that is left.
    """

    threads: Sequence[str]
    last: tuple[str, str] | None
    limit: int | None

    def behind(self, saved: SavedCheckpoint, position: int, size: int) -> _Cursor | None:
        """Go on behind ``saved``, the last of ``size`` results.

        It is of the thread at ``position``.
        """
        if self.limit == size:
            return None
        limit = None if self.limit is None else self.limit - size
        return _Cursor(self.threads[position:], (saved.checkpoint_id, saved.namespace), limit)


class MemoryCheckpoints(AtOnce):
    """A backend that keeps checkpoints in this process.

    They are gone when it ends. Threads may share it.

    Args:
        ttl: seconds, with fractions, after which a checkpoint or pending write expires; ``None`` for never.
            Putting a pending write lets its checkpoint live that long anew.
        refresh_on_read: whether ``get`` lets the checkpoint and its writes live that long anew.
        clock: returns the time in seconds since the epoch.

    Raises:
        InvalidInput: ``ttl`` is not a finite number greater than 0.

    Example:
        >>> from statekeep import Checkpoint
        >>> from statekeep.repositories.checkpoints import CheckpointRepository
        >>> repository = CheckpointRepository(MemoryCheckpoints(ttl=3600))
        >>> repository.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        >>> repository.get("t").checkpoint_id
        '1'
    """

    def __init__(
        self, *, ttl: float | None = None, refresh_on_read: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(ttl, clock)
        self.refresh_on_read = refresh_on_read
        self._threads: dict[str, _Thread] = {}

    @once_made
    def __repr__(self) -> str:
        with self._lock:
            threads = sum(thread.has_checkpoint for thread in self._threads.values())
        return f"MemoryCheckpoints(ttl={self.ttl}, refresh_on_read={self.refresh_on_read}, threads={threads})"

    # -- expiry

    def _expires_at(self) -> float:
        return math.inf if self.ttl is None else self._clock() + self.ttl

    def _early_expires_at(self) -> float:
        """Return when pending writes end that have no checkpoint yet."""
        return min(self._expires_at(), self._clock() + EARLY_TTL)

    def _live(self, thread_id: str) -> _Thread | None:
        """Return the thread without whatever has expired; ``None`` if nothing is left."""
        thread = self._threads.get(thread_id)
        if thread is None:
            return None
        now = self._clock()
        for namespace in thread.namespaces.values():
            namespace.expire(now)
        thread.namespaces = {name: namespace for name, namespace in thread.namespaces.items() if namespace}
        if not thread.namespaces:
            del self._threads[thread_id]
            return None
        return thread

    def _namespace(self, thread_id: str, namespace: str) -> Namespace:
        """Return a live namespace; an empty one that is not stored if there is none."""
        thread = self._live(thread_id)
        return (thread.namespaces.get(namespace) if thread else None) or Namespace()

    def _writable(self, thread_id: str) -> _Thread:
        thread = self._live(thread_id)
        if thread is None:
            thread = self._threads[thread_id] = _Thread(self._now())
        return thread

    def _listed(self, prefix: str = "", after: Thread | None = None) -> Iterator[Thread]:
        """Iterate over threads that have a checkpoint, the most recently updated first.

        Whether one is there is found out no sooner than needed, as that takes longest.

        Args:
            prefix: only those whose ids begin with it.
            after: only those behind this one.
        """
        found = [
            (one.updated_at, thread_id) for thread_id, one in self._threads.items() if thread_id.startswith(prefix)
        ]
        if after is not None:
            behind = after.recency
            found = [recency for recency in found if recency < behind]
        for updated_at, thread_id in sorted(found, reverse=True):
            thread = self._live(thread_id)
            if thread is not None and thread.has_checkpoint:
                yield Thread.model_construct(thread_id=thread_id, updated_at=updated_at)

    # -- operations

    @at_once
    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> None:
        metadata = encoded_metadata(checkpoint)
        supplied: dict[str, Channel] = {}
        # The supplier is the caller's code, so it is not called under the lock.
        while missing := self._try_put(checkpoint, metadata, supplied, expected_head):
            if supply is None:
                raise MissingChannels(missing)
            payloads = supply(frozenset(missing))
            healed(checkpoint.thread_id, checkpoint.checkpoint_id, [name for name in missing if name in payloads])
            for name in missing:
                version = checkpoint.channels[name].version
                supplied[name] = Channel.of(version, payloads[name]) if name in payloads else Channel.empty(version)

    def _try_put(
        self, checkpoint: Checkpoint, metadata: str, supplied: dict[str, Channel], expected_head: ExpectedHead
    ) -> list[str]:
        with self._lock:
            here = self._namespace(checkpoint.thread_id, checkpoint.namespace)
            newest = here.newest()
            if expected_head is not ANY and newest not in (expected_head, checkpoint.checkpoint_id):
                raise overtaken(checkpoint, expected_head, newest)
            channels, missing = here.resolve(checkpoint, supplied)
            if missing:
                return missing
            thread = self._writable(checkpoint.thread_id)
            thread.updated_at = self._now()
            record = Record(
                parent_id=checkpoint.parent_id,
                created_at=checkpoint.created_at,
                metadata=metadata,
                header=checkpoint.header,
                channels=channels,
                expires_at=self._expires_at(),
            )
            namespace = thread.namespaces.setdefault(checkpoint.namespace, Namespace())
            if self.ttl is None or self.ttl > EARLY_TTL:
                namespace.keep_writes(checkpoint.checkpoint_id, record.expires_at)
            namespace.store(checkpoint.checkpoint_id, record)
            return []

    @at_once
    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]) -> None:
        with self._lock:
            expires_at = self._expires_at()
            target = self._writable(thread_id).namespaces.setdefault(namespace, Namespace())
            stored = target.records.get(checkpoint_id)
            if stored is None:
                target.add_writes(checkpoint_id, writes, self._early_expires_at())
            elif self.ttl is None:
                # Nothing begins anew: they end with their checkpoint, if somebody set an end.
                target.add_writes(checkpoint_id, writes, stored.expires_at)
            else:
                target.add_writes(checkpoint_id, writes, expires_at)
                target.refresh(checkpoint_id, expires_at, writes=False)

    @at_once
    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> SavedCheckpoint | None:
        with self._lock:
            source = self._namespace(thread_id, namespace)
            found = source.newest() if checkpoint_id is None else checkpoint_id
            if found is None or found not in source.records:
                return None
            if self.refresh_on_read and self.ttl is not None:
                source.refresh(found, self._expires_at(), writes=True)
            return source.read(thread_id, namespace, found)

    @at_once
    def list(self, query: CheckpointQuery, cursor: _Cursor | None) -> Page[SavedCheckpoint]:
        with self._lock:
            if cursor is None:
                # The order of the threads is that of the listing's begin, so that none is skipped or comes twice.
                ids = [thread.thread_id for thread in self._listed()] if query.thread_id is None else [query.thread_id]
                cursor = _Cursor(ids, None, query.limit)
            items: list[SavedCheckpoint] = []
            size = _PAGE if cursor.limit is None else min(cursor.limit, _PAGE)
            for position, thread_id in enumerate(cursor.threads if size else ()):
                for saved in self._matching(thread_id, query, cursor.last if position == 0 else None):
                    items.append(saved)
                    if len(items) == size:
                        return Page(items, cursor.behind(saved, position, size))
            return Page(items)

    def _matching(
        self, thread_id: str, query: CheckpointQuery, last: tuple[str, str] | None
    ) -> Iterator[SavedCheckpoint]:
        """Read the checkpoints of a thread that fulfil ``query``, in order.

        Only those behind ``last`` are read.
        """
        thread = self._live(thread_id)
        if thread is None:
            return
        for checkpoint_id, name in _in_order(thread, query, last):
            namespace = thread.namespaces[name]
            if query.metadata is None or query.matches(namespace.records[checkpoint_id].decoded_metadata()):
                yield namespace.read(thread_id, name, checkpoint_id)

    @at_once
    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> dict[str, ChannelHistory]:
        with self._lock:
            source = self._namespace(thread_id, namespace)
            newest = source.newest() if checkpoint_id is None else checkpoint_id
            ancestors = (
                []
                if newest is None
                else [(record, source.read_writes(ancestor_id)) for ancestor_id, record in source.ancestors(newest)]
            )
        return {name: _history(name, ancestors) for name in channels}

    @at_once
    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Page[Thread]:
        size = _PAGE_OF_THREADS if limit is None else min(limit, _PAGE_OF_THREADS)
        with self._lock:
            threads = list(islice(self._listed(prefix, after), size + 1))
        page = threads[:size]
        return Page(page, page[-1] if page and len(threads) > size else None)

    @at_once
    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> bool:
        with self._lock:
            here = self._namespace(thread_id, namespace)
            if checkpoint_id not in here.records:
                return False
            if checkpoint_id in with_sources(here.records.keys() - {checkpoint_id}, here.link):
                raise needed(checkpoint_id)
            here.delete([checkpoint_id])
            return True

    @at_once
    def delete_thread(self, thread_id: str) -> None:
        with self._lock:
            self._threads.pop(thread_id, None)

    @at_once
    def delete_runs(self, run_ids: Sequence[str]) -> None:
        with self._lock:
            for thread_id in list(self._threads):
                thread = self._live(thread_id)
                for namespace in thread.namespaces.values() if thread else ():
                    _keep(namespace, [id_ for id_, record in namespace.records.items() if record.run_id not in run_ids])

    @at_once
    def copy_thread(self, source_id: str, target_id: str) -> None:
        with self._lock:
            source = self._live(source_id)
            if source is None or source_id == target_id:
                return
            target = self._writable(target_id)
            if source.has_checkpoint:
                target.updated_at = self._now()
            expires_at = self._expires_at()
            for name, namespace in source.namespaces.items():
                namespace.copy_to(target.namespaces.setdefault(name, Namespace()), expires_at, self._early_expires_at())

    @at_once
    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> int:
        deleted = 0
        with self._lock:
            for thread_id in dict.fromkeys(thread_ids):
                thread = self._live(thread_id)
                if thread is None:
                    continue
                before = thread.count
                if namespace is not None:
                    here = thread.namespaces.get(namespace, Namespace())
                    here.forget_late_writes()
                    _keep(here, here.kept(policy))
                elif policy.is_deletion:
                    del self._threads[thread_id]
                    thread.namespaces.clear()
                else:
                    _prune(thread, policy)
                deleted += before - thread.count
        return deleted

    @at_once
    def measure(self, thread_ids: Sequence[str]) -> dict[str, ThreadMeasure]:
        with self._lock:
            threads = {thread_id: self._live(thread_id) for thread_id in thread_ids}
            return {thread_id: _measure(thread_id, thread) for thread_id, thread in threads.items() if thread}

    @at_once
    def expire(self, thread_id: str, ttl: float | None) -> bool:
        with self._lock:
            thread = self._live(thread_id)
            if thread is None:
                return False
            now = self._clock()
            expires_at = math.inf if ttl is None else now + ttl
            for namespace in thread.namespaces.values():
                namespace.end_at(expires_at, min(expires_at, now + EARLY_TTL))
            return True

    @at_once
    def reindex(self, thread_id: str) -> int:
        with self._lock:
            thread = self._live(thread_id)
            for namespace in thread.namespaces.values() if thread else ():
                namespace.forget_late_writes()
            return thread.count if thread else 0


def _measure(thread_id: str, thread: _Thread) -> ThreadMeasure:
    namespaces = thread.namespaces.values()
    ends = max(namespace.last_end() for namespace in namespaces)
    return ThreadMeasure(
        thread_id=thread_id,
        checkpoints=thread.count,
        pending_writes=sum(len(entries) for namespace in namespaces for entries in namespace.writes.values()),
        namespaces=len(namespaces),
        bytes=sum(namespace.size() for namespace in namespaces),
        basis="lengths",
        expires_at=None if math.isinf(ends) else time_of(round(ends * 1e6) * 1000),
    )


def _in_order(thread: _Thread, query: CheckpointQuery, last: tuple[str, str] | None) -> list[tuple[str, str]]:
    """Return (checkpoint id, namespace) by descending id, then ascending namespace."""
    found = [
        (checkpoint_id, name)
        for name, namespace in thread.namespaces.items()
        if query.namespace is None or name == query.namespace
        for checkpoint_id in namespace.records
        if (query.checkpoint_id is None or checkpoint_id == query.checkpoint_id)
        and (query.before is None or checkpoint_id < query.before)
        and (last is None or checkpoint_id < last[0] or (checkpoint_id == last[0] and name > last[1]))
    ]
    found.sort(key=lambda item: item[1])
    found.sort(key=lambda item: item[0], reverse=True)
    return found


def _history(name: str, ancestors: Sequence[tuple[Record, Sequence[PendingWrite]]]) -> ChannelHistory:
    steps = []
    seed = None
    for record, writes in ancestors:
        steps.append([write for write in writes if write.channel == name])
        channel = record.channels.get(name)
        if channel is not None and channel.payload is not None:
            seed = channel.payload
            break
    return ChannelHistory(writes=tuple(write for step in reversed(steps) for write in step), seed=seed)


def _keep(namespace: Namespace, checkpoint_ids: Collection[str]) -> set[str]:
    """Delete all checkpoints but these and their sources.

    The ids of those kept are returned.
    """
    kept = with_sources(checkpoint_ids, namespace.link)
    namespace.delete(namespace.records.keys() - kept)
    return kept


def _prune(thread: _Thread, policy: PrunePolicy) -> None:
    for namespace in thread.namespaces.values():
        namespace.forget_late_writes()
    root = thread.namespaces.get("", Namespace())
    before = set(root.records)
    kept = _keep(root, root.kept(policy))
    for name, namespace in list(thread.namespaces.items()):
        if name == "":
            continue
        newest = namespace.newest()
        if is_under_root(name) and newest is not None and namespace.records[newest].root_id in before - kept:
            del thread.namespaces[name]
        else:
            _keep(namespace, namespace.kept(policy))
