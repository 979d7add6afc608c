"""Repositories of checkpoints: the contract of a backend, and two faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    InvalidInput,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    tagged_json,
)
from ..domain.model import is_plain
from .checkpoint_backend import EARLY_TTL, CheckpointBackend, ExpectedHead, Supply
from .encrypted_metadata import EncryptedMetadata
from .faces import Awaiting, Blocking, Pages, aiterating, awaiting, blocking, iterating
from .operation import Operation, Page
from .records.id_order import check_order
from .typed.of import AsyncOfThreads, OfThreads
from .upkeep.threads import ThreadUpkeep
from .validation import count, text, texts

__all__ = [
    "EARLY_TTL",
    "AsyncCheckpointRepository",
    "CheckpointBackend",
    "CheckpointRepository",
    "ExpectedHead",
    "Supply",
]


def _builtin(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint whose ids and metadata are of builtin types.

    They are not of subclasses of those.

    Raises:
        InvalidInput: an id is wrong, of a copy that was not checked, or the metadata holds what exact JSON cannot.
    """
    names = (
        checkpoint.thread_id,
        checkpoint.namespace or "-",
        checkpoint.checkpoint_id,
        checkpoint.parent_id or "-",
        *checkpoint.channels,
    )
    metadata = checkpoint.metadata
    if is_plain(*names) and tagged_json.is_simple(metadata):
        return checkpoint
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.model_fields}
    try:
        fields["metadata"] = tagged_json.decode(tagged_json.encode(metadata, tagged_json.as_builtin))
    except InvalidInput as error:
        error.field, error.operation = "metadata", "put"
        raise
    return Checkpoint(**fields)


def _builtin_write(write: PendingWrite) -> PendingWrite:
    """Return a write whose ids are of builtin types. See :func:`_builtin`."""
    if is_plain(write.task_id, write.task_path or "-", write.channel or "-") and type(write.idx) is int:
        return write
    return PendingWrite(**dict(write))


class _Operations(ThreadUpkeep):
    """The bodies of the methods: arguments in, operations out."""

    def __init__(self, backend: CheckpointBackend) -> None:
        super().__init__(backend)

    def _put(
        self, checkpoint: Checkpoint, *, supply: Supply | None = None, expected_head: ExpectedHead = ANY
    ) -> Operation[None]:
        """Store a checkpoint, whole or not at all; one with the same id is replaced.

        Channels marked ``earlier`` are not sent again.

        Args:
            checkpoint: what to store.
            supply: called with the names of ``earlier`` channels whose value is not stored; returns their
                payloads. A channel it leaves out becomes empty.
            expected_head: compare and set: the id of the checkpoint that must be the newest of the namespace;
                ``None``: there must be none; :data:`~statekeep.ANY`: whatever there is. If the checkpoint is the newest
                one itself, it is replaced: a put may be repeated.

        A checkpoint whose id is not greater than its parent's is stored, and is not the newest: the logger
        ``statekeep`` warns of it, once per thread.

        Raises:
            MissingChannels: an ``earlier`` value is not stored and there is no ``supply``. Nothing was written.
            InvalidInput: the metadata holds what exact JSON cannot.
            Conflict: another checkpoint than ``expected_head`` is the newest. Nothing was written.
            Unsupported: the service cannot compare and set, and ``expected_head`` is given. Nothing was written.
        """
        if not isinstance(checkpoint, Checkpoint):
            raise InvalidInput(f"checkpoint must be a Checkpoint, got {type(checkpoint).__name__}", field="checkpoint")
        if supply is not None and not callable(supply):
            raise InvalidInput("supply must be a function of channel names", field="supply")
        found = _builtin(checkpoint)
        check_order(found)
        if expected_head is ANY:
            return self.backend.put(found, supply)
        head = None if expected_head is None else text("expected_head", expected_head)
        return self.backend.put(found, supply, head)

    def _put_writes(
        self, thread_id: str, checkpoint_id: str, writes: Sequence[PendingWrite], *, namespace: str = ""
    ) -> Operation[None]:
        """Store pending writes of a checkpoint, all or none.

        The checkpoint need not be stored yet. Until it is, its writes live for a day at most, see :data:`EARLY_TTL`, so
        that those of a checkpoint that was deleted do not stay for ever. For ``idx >= 0`` a write that is there
        already stays; a write with a negative ``idx`` replaces it.

        Args:
            thread_id: the thread.
            checkpoint_id: the checkpoint that the writes belong to.
            writes: what to store.
            namespace: the checkpoint's namespace.
        """
        # Not any iterable: checking a generator would use it up, and nothing would be stored.
        if not isinstance(writes, Sequence):
            raise InvalidInput(f"writes must be a sequence, got {type(writes).__name__}", field="writes")
        for write in writes:
            if not isinstance(write, PendingWrite):
                raise InvalidInput(f"writes must be PendingWrite, got {type(write).__name__}", field="writes")
        return self.backend.put_writes(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            text("checkpoint_id", checkpoint_id),
            list(map(_builtin_write, writes)),
        )

    def _get(
        self, thread_id: str, *, namespace: str = "", checkpoint_id: str | None = None
    ) -> Operation[SavedCheckpoint | None]:
        """Return a checkpoint with its channel values and pending writes, or ``None``.

        Args:
            thread_id: the thread.
            namespace: ``""`` for the root.
            checkpoint_id: which one; ``None`` for the newest, which is the one with the greatest id.

        Raises:
            CorruptRecord: what is stored is damaged, or a channel value is gone.
        """
        return self.backend.get(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            None if checkpoint_id is None else text("checkpoint_id", checkpoint_id),
        )

    def _list(
        self,
        thread_id: str | None = None,
        *,
        namespace: str | None = None,
        checkpoint_id: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Pages[SavedCheckpoint]:
        """Iterate over checkpoints, newest first, reading page by page.

        Args:
            thread_id: only this thread; ``None`` for all, the most recently updated thread first.
            namespace: only this namespace; ``None`` for all of the thread.
            checkpoint_id: only this id.
            before: only smaller ids, compared as text; it need not be the id of anything.
            limit: at most so many.
            metadata: pairs that must be equal in the checkpoint's metadata; ``None`` matches a missing key. There are
                no operators: ``{"step": {"$gt": 1}}`` finds what has this very dict.
        """
        query = CheckpointQuery(
            thread_id=thread_id,
            namespace=namespace,
            checkpoint_id=checkpoint_id,
            before=before,
            limit=limit,
            metadata=metadata,
        )
        if isinstance(self.backend, EncryptedMetadata):
            self.backend.check_filter(query.metadata, "metadata")
        return partial(self.backend.list, query)

    def _ancestors(
        self, thread_id: str, channels: Sequence[str], *, namespace: str = "", checkpoint_id: str | None = None
    ) -> Operation[dict[str, ChannelHistory]]:
        """Return what ancestors wrote to ``channels`` since the nearest stored value.

        The checkpoint's own value and writes are left out; those of the ancestor that holds the value are in.

        Args:
            thread_id: the thread.
            channels: names of channels.
            namespace: ``""`` for the root.
            checkpoint_id: the checkpoint whose ancestors are walked; ``None`` for the newest.

        Returns:
            One history for each of ``channels``.
        """
        return self.backend.ancestors(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            None if checkpoint_id is None else text("checkpoint_id", checkpoint_id),
            texts("channels", channels, empty=True),
        )

    def _list_threads(
        self, *, prefix: str = "", after: Thread | None = None, limit: int | None = None
    ) -> Pages[Thread]:
        """Iterate over the threads that have a checkpoint.

        The most recently updated one is the first.

        A thread that is updated meanwhile moves to the front: what comes later may leave it out.

        Args:
            prefix: only threads whose id starts with this text.
            after: go on behind this thread of an earlier listing.
            limit: at most so many.
        """
        left = None if limit is None else count("limit", limit)
        if after is not None and not isinstance(after, Thread):
            raise InvalidInput(f"after must be a Thread, got {type(after).__name__}", field="after")
        start = text("prefix", prefix, empty=True, is_id=False)

        def list_threads(cursor: Thread | None) -> Operation[Page[Thread]]:
            nonlocal left
            page = yield from self.backend.list_threads(start, after if cursor is None else cursor, left)
            left = None if left is None else left - len(page.items)
            return Page(page.items) if left == 0 else page

        return list_threads

    def _delete(self, thread_id: str, checkpoint_id: str, *, namespace: str = "") -> Operation[bool]:
        """Delete one checkpoint with its pending writes.

        A checkpoint that was made from it has no parent any more. Namespaces of nested graphs that ran under it stay.

        Args:
            thread_id: the thread.
            checkpoint_id: which one.
            namespace: ``""`` for the root.

        Returns:
            Whether there was one.

        Raises:
            Conflict: another checkpoint rebuilds a ``replayed`` channel from it. Nothing was deleted.
            Unsupported: the service deletes whole threads only.

        Example:
            >>> import statekeep
            >>> keep = statekeep.connect("memory:").checkpoints
            >>> keep.put(statekeep.Checkpoint(thread_id="t", checkpoint_id="1"))
            >>> keep.delete("t", "1"), keep.delete("t", "1")
            (True, False)
        """
        return self.backend.delete(
            text("thread_id", thread_id),
            text("namespace", namespace, empty=True),
            text("checkpoint_id", checkpoint_id),
        )

    def _delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete every checkpoint and pending write of a thread, in all namespaces.

        Args:
            thread_id: the thread; one that does not exist is no error.
        """
        return self.backend.delete_thread(text("thread_id", thread_id))

    def _delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        """Delete the checkpoints of runs, with their pending writes.

        The metadata of a checkpoint name its run as ``run_id``. A checkpoint from whose writes a kept checkpoint
        rebuilds a ``replayed`` channel is kept.

        Args:
            run_ids: the runs; unknown ones are no error.
        """
        return self.backend.delete_runs(texts("run_ids", run_ids))

    def _copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        """Copy all checkpoints and pending writes of a thread to another one.

        What the target has already stays, unless it has the same id. A copy that was cut off can be repeated.

        Args:
            source_id: the thread to read; one that does not exist is no error.
            target_id: the thread to write.
        """
        return self.backend.copy_thread(text("source_id", source_id), text("target_id", target_id))

    def _prune(
        self,
        thread_ids: Sequence[str],
        policy: PrunePolicy | None = None,
        *,
        keep: int | None = None,
        namespace: str | None = None,
    ) -> Operation[int]:
        """Keep the newest checkpoints of each namespace, and delete others.

        Pending writes go with their checkpoint; those go, too, whose checkpoint is not there and would be older than
        the newest. Ancestors from whose writes a kept checkpoint rebuilds a ``replayed`` channel are kept too; a kept
        checkpoint whose parent was deleted has no parent any more. A
        namespace with ``":"`` in it (one call of a nested graph) goes with the root checkpoint that its metadata names
        in ``parents[""]``.

        Args:
            thread_ids: the threads; unknown ones are no error.
            policy: which to keep in each namespace, by number and age.
            keep: instead of a policy, how many to keep in each namespace: 1 if there is neither; 0 deletes the threads.
            namespace: only this one: nothing is deleted elsewhere. ``None`` for all of them.

        Returns:
            How many checkpoints were deleted.

        Raises:
            Unsupported: the service deletes whole threads only.

        Example:
            >>> import datetime as dt, statekeep
            >>> with statekeep.connect("memory:") as keep:
            ...     keep.checkpoints.prune(["t"], keep=10)
            ...     keep.checkpoints.prune(["t"], statekeep.PrunePolicy(keep=1, older_than=dt.timedelta(days=30)))
            0
            0
        """
        if policy is not None and not isinstance(policy, PrunePolicy):
            raise InvalidInput(f"policy must be a PrunePolicy, got {type(policy).__name__}", field="policy")
        if policy is not None and keep is not None:
            raise InvalidInput("keep is a part of the policy: give one of them", field="keep")
        if policy is None:
            policy = PrunePolicy(keep=1 if keep is None else count("keep", keep))
        threads = texts("thread_ids", thread_ids)
        if namespace is None:
            return self.backend.prune(threads, policy)
        return self.backend.prune(threads, policy, text("namespace", namespace, empty=True))

    def _reindex(self, thread_id: str) -> Operation[int]:
        """Rebuild what is derived from a thread's records.

        These are indexes and the copy of the newest checkpoint. Needed after records were added, changed or deleted by
        other means, such as redis-om. Pending writes are deleted whose checkpoint is not there and would be older than
        the newest.

        Args:
            thread_id: the thread.

        Returns:
            The number of checkpoints found.
        """
        return self.backend.reindex(text("thread_id", thread_id))


class CheckpointRepository(_Operations, Blocking[CheckpointBackend], OfThreads):
    """Checkpoints and pending writes, for blocking code.

    Get one from :func:`statekeep.connect`, or build it over a backend. It may be shared by threads.

    Args:
        backend: where the records are kept.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     checkpoint = statekeep.Checkpoint(thread_id="t")
        ...     keep.checkpoints.put(checkpoint)
        ...     keep.checkpoints.get("t").checkpoint_id == checkpoint.checkpoint_id
        True
    """

    put = blocking(_Operations._put)
    put_writes = blocking(_Operations._put_writes)
    get = blocking(_Operations._get)
    list = iterating(_Operations._list)
    ancestors = blocking(_Operations._ancestors)
    list_threads = iterating(_Operations._list_threads)
    delete = blocking(_Operations._delete)
    delete_thread = blocking(_Operations._delete_thread)
    delete_runs = blocking(_Operations._delete_runs)
    copy_thread = blocking(_Operations._copy_thread)
    prune = blocking(_Operations._prune)
    measure = blocking(_Operations._measure)
    expire = blocking(_Operations._expire)
    reindex = blocking(_Operations._reindex)


class AsyncCheckpointRepository(_Operations, Awaiting[CheckpointBackend], AsyncOfThreads):
    """Checkpoints and pending writes, for asyncio code.

    Get one from :func:`statekeep.aconnect`, or build it over a backend. It may be shared by tasks.

    Args:
        backend: where the records are kept.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> bool:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         checkpoint = statekeep.Checkpoint(thread_id="t")
        ...         await keep.checkpoints.put(checkpoint)
        ...         return (await keep.checkpoints.get("t")).checkpoint_id == checkpoint.checkpoint_id
        >>> asyncio.run(main())
        True
    """

    put = awaiting(_Operations._put)
    put_writes = awaiting(_Operations._put_writes)
    get = awaiting(_Operations._get)
    list = aiterating(_Operations._list)
    ancestors = awaiting(_Operations._ancestors)
    list_threads = aiterating(_Operations._list_threads)
    delete = awaiting(_Operations._delete)
    delete_thread = awaiting(_Operations._delete_thread)
    delete_runs = awaiting(_Operations._delete_runs)
    copy_thread = awaiting(_Operations._copy_thread)
    prune = awaiting(_Operations._prune)
    measure = awaiting(_Operations._measure)
    expire = awaiting(_Operations._expire)
    reindex = awaiting(_Operations._reindex)
